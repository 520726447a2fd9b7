"""EnvPoolVecEnv in SB3's wrappers and algorithms."""

import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    is_vecenv_wrapped,
)

from sb3_course.envs import EnvPoolVecEnv
from tests.worlds import random_actions, rollout

pytest.importorskip("envpool")
pytest.importorskip("mujoco")


def test_vec_normalize_is_that_of_the_raw_values() -> None:
    raw = EnvPoolVecEnv("Hopper-v4", 4, seed=0)
    wrapped = VecNormalize(EnvPoolVecEnv("Hopper-v4", 4, seed=0), clip_obs=1e6)
    statistics = RunningMeanStd(shape=(11,))
    actions = random_actions(raw, 60)
    for ours, theirs in zip(rollout(raw, actions), rollout(wrapped, actions), strict=True):
        statistics.update(ours[0])
        scale = np.sqrt(statistics.var + wrapped.epsilon)
        np.testing.assert_allclose(theirs[0], (ours[0] - statistics.mean) / scale, rtol=1e-5)
        for mine, normal in zip(ours[3] or [], theirs[3] or [], strict=True):
            if mine:
                last = (mine["terminal_observation"] - statistics.mean) / scale
                np.testing.assert_allclose(normal["terminal_observation"], last, rtol=1e-5)
                assert normal["episode"]["r"] == mine["episode"]["r"]  # raw rewards
    np.testing.assert_array_equal(wrapped.get_original_obs(), ours[0])
    np.testing.assert_array_equal(wrapped.get_original_reward(), ours[1])


def test_vec_monitor_counts_the_same_once() -> None:
    raw = EnvPoolVecEnv("Hopper-v4", 4, seed=0)
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
        wrapped = VecMonitor(EnvPoolVecEnv("Hopper-v4", 4, seed=0))
    actions, count = random_actions(raw, 80), 0
    for ours, theirs in zip(rollout(raw, actions)[1:], rollout(wrapped, actions)[1:], strict=True):
        for mine, other in zip(ours[3], theirs[3], strict=True):
            assert mine.keys() == other.keys()
            if mine:
                count += 1
                assert other["episode"]["r"] == pytest.approx(mine["episode"]["r"], rel=1e-5)
                assert other["episode"]["l"] == mine["episode"]["l"]
    assert wrapped.episode_count == count > 0
    assert is_vecenv_wrapped(wrapped, VecMonitor)


def test_vec_frame_stack_starts_anew_with_each_episode() -> None:
    raw = EnvPoolVecEnv("CartPole-v1", 2, seed=0)
    wrapped = VecFrameStack(EnvPoolVecEnv("CartPole-v1", 2, seed=0), n_stack=2)
    actions, before, ended = random_actions(raw, 60), np.zeros((2, 4)), 0
    for ours, theirs in zip(rollout(raw, actions), rollout(wrapped, actions), strict=True):
        obs, _, dones, infos = ours
        for i in range(2):
            new_episode = dones is None or dones[i]
            older = np.zeros(4) if new_episode else before[i]
            np.testing.assert_array_equal(theirs[0][i], np.concatenate([older, obs[i]]))
            if dones is not None and dones[i]:
                ended += 1
                last = np.concatenate([before[i], infos[i]["terminal_observation"]])
                np.testing.assert_array_equal(theirs[3][i]["terminal_observation"], last)
        before = obs
    assert ended > 0


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Hopper-v4"])
def test_a2c_learns_evaluates_and_loads_on_gymnasium(env_id: str, tmp_path: Path) -> None:
    venv = EnvPoolVecEnv(env_id, 4)
    model = A2C("MlpPolicy", venv, seed=0, device="cpu").learn(1000)
    assert len(model.ep_info_buffer) > 0
    assert model.ep_info_buffer[0].keys() == {"r", "l", "t"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        returns, lengths = evaluate_policy(model, venv, 6, return_episode_rewards=True)
    assert len(returns) == len(lengths) == 6
    if env_id == "CartPole-v1":
        assert returns == lengths
    model.save(tmp_path / "model")
    loaded = A2C.load(tmp_path / "model", env=gym.make(env_id), device="cpu")
    obs = venv.reset()
    expected, _ = model.predict(obs, deterministic=True)
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], expected)


def test_a2c_with_one_seed_learns_one_policy() -> None:
    parameters = []
    for _ in range(2):
        model = A2C("MlpPolicy", EnvPoolVecEnv("CartPole-v1", 4), seed=1, device="cpu").learn(200)
        parameters.append(model.policy.state_dict()["action_net.weight"].numpy())
    np.testing.assert_array_equal(parameters[0], parameters[1])
