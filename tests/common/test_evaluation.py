import random

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from sb3_course.benchmark.execution.evaluation_callback import EvaluationCallback
from sb3_course.common import evaluation
from sb3_course.common.callbacks import EvaluateEvery
from sb3_course.common.errors import UserError
from sb3_course.common.evaluation import (
    evaluate,
    evaluation_envs,
    evaluation_seed,
    play_episodes,
    undisturbed,
)
from sb3_course.envs.config import EnvConfig
from sb3_course.envs.gymnasium_env import make_env
from tests.benchmark.helpers import HERE


class Countdown(gymnasium.Env):
    """Ends after a number of steps drawn at its reset; each step is rewarded with 1."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 60))
        self.drawn = [*getattr(self, "drawn", []), self.left]
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(1, np.float32), 1.0, self.left == 0, False, {}


def trained(callback):
    env = VecNormalize(make_vec_env("CartPole-v1", n_envs=2, seed=3))
    model = A2C("MlpPolicy", env, seed=3, device="cpu")
    return model.learn(300, callback=callback)


def test_evaluation_leaves_training_and_statistics_as_they_were():
    callback = EvaluationCallback("CartPole-v1", [0, 50, 100, 300], 4, seed=3)
    measured, plain = trained(callback), trained(None)
    assert [m.step for m in callback.measurements] == [0, 50, 100, 300]
    for a, b in zip(measured.policy.parameters(), plain.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    ours, theirs = measured.get_env().obs_rms, plain.get_env().obs_rms
    assert np.array_equal(ours.mean, theirs.mean)
    assert np.array_equal(ours.var, theirs.var)
    assert ours.count == theirs.count


def test_evaluation_uses_the_training_statistics():
    model = trained(None)
    envs = evaluation_envs("CartPole-v1", 5)
    before, _ = evaluate(model, envs, seed=0)
    again, _ = evaluate(model, envs, seed=0)
    model.get_env().obs_rms.mean += 5.0
    after, _ = evaluate(model, envs, seed=0)
    assert np.array_equal(before, again)
    assert not np.array_equal(before, after)


def test_each_environment_counts_with_its_first_episode_alone():
    envs = DummyVecEnv([Countdown] * 50)
    model = A2C("MlpPolicy", envs, device="cpu")
    returns, lengths = evaluate(model, envs, seed=11)
    first = [env.drawn[0] for env in envs.envs]
    assert any(len(env.drawn) > 2 for env in envs.envs)  # the short ones went on
    assert returns.tolist() == first
    assert lengths.tolist() == first


def test_wall_time_leaves_evaluation_out():
    now = [0.0]

    class Step(BaseCallback):
        def _on_step(self):
            now[0] += 1.0
            return True

    def clock():
        now[0] += 100.0  # each look at the clock stands for a slow evaluation
        return now[0]

    callback = EvaluationCallback("CartPole-v1", [0, 100, 200], 2, seed=0, clock=clock)
    model = A2C("MlpPolicy", make_vec_env("CartPole-v1", n_envs=2), device="cpu")
    model.learn(200, callback=[Step(), callback])
    times = [m.wall_time for m in callback.measurements]
    # 50 and 100 vector steps of 1 s, and a look at the clock between two measurements.
    assert np.diff(times).tolist() == [150.0, 150.0]


def test_training_that_ends_early_is_an_error():
    class Stop(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 100

    callback = EvaluationCallback("CartPole-v1", [0, 200], 2, seed=0)
    model = A2C("MlpPolicy", make_vec_env("CartPole-v1"), device="cpu")
    with pytest.raises(RuntimeError, match="measurements due at"):
        model.learn(200, callback=[callback, Stop()])


def test_returns_that_are_no_numbers_stop_the_run():
    callback = EvaluationCallback(f"{HERE}:NaNRewards-v0", [0], 2, seed=0)
    with pytest.raises(ValueError, match=r"at environment step 0 gave the returns \[nan, nan\]"):
        trained(callback)


def test_runs_share_no_evaluation_seeds():
    starts = [evaluation_seed(seed) for seed in range(100)]
    assert starts[0] >= 1_000_000  # beyond the seeds of training
    assert min(np.diff(starts)) >= 1_000  # episodes of an evaluation


def test_old_versions_are_made_without_a_warning(recwarn):
    env = make_env("CartPole-v0", render_mode="rgb_array")
    assert env.spec.id == "CartPole-v0"
    assert env.render_mode == "rgb_array"
    assert not [warning for warning in recwarn if "out of date" in str(warning.message)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_random_states_and_mode_are_restored(training, fails):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    model = A2C("MlpPolicy", "CartPole-v1", device="cpu", seed=0)
    model.policy.train(training)
    before = states()
    try:
        with undisturbed(model):
            model.policy.train(not training)
            random.random(), np.random.rand(), torch.rand(1)
            assert all(a != b for a, b in zip(states(), before, strict=True))
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert states() == before
    assert model.policy.training is training


class Remember(A2C):
    """Keeps the starts of episodes and the states that ``predict`` is called with."""

    def predict(self, obs, state=None, episode_start=None, deterministic=False):
        self.seen = [*getattr(self, "seen", []), (state, episode_start.copy(), deterministic)]
        actions, _ = super().predict(obs, state, episode_start, deterministic)
        return actions, len(self.seen)


def test_recurrent_policies_get_their_state_and_the_starts_of_episodes():
    envs = DummyVecEnv([Countdown] * 3)
    model = Remember("MlpPolicy", envs, device="cpu")
    _, lengths = evaluate(model, envs, seed=0)
    states, starts, deterministic = zip(*model.seen, strict=True)
    assert list(states) == [None, *range(1, max(lengths))]
    assert starts[0].all() and not starts[1].all()
    assert [np.flatnonzero(np.array(starts)[1:, i])[:1].tolist() for i in range(3)] == [
        [n - 1] if n < max(lengths) else [] for n in lengths
    ]
    assert all(deterministic)


class Scales(gymnasium.RewardWrapper):
    """Changes what is learned from."""

    def reward(self, reward):
        return 100 * reward


class Cuts(gymnasium.Wrapper):
    """Ends the episode early."""

    def reset(self, **kwargs):
        self.left = 7
        return super().reset(**kwargs)

    def step(self, action):
        self.left -= 1
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward, terminated, truncated or self.left == 0, {**info, "left": self.left}


class Lives(gymnasium.Wrapper):
    """Divides the episode into parts of 5 steps, as EpisodicLifeEnv does."""

    over = True

    def reset(self, **kwargs):
        self.steps = 0
        return super().reset(**kwargs) if self.over else (self.last, {})

    def step(self, action):
        self.steps += 1
        self.last, reward, terminated, truncated, info = super().step(action)
        self.over = terminated or truncated
        return self.last, reward, terminated or self.steps == 5, truncated, info


class Repeats(gymnasium.Wrapper):
    """Repeats every action."""

    def step(self, action):
        for _ in range(4):
            outcome = super().step(action)
            if outcome[2] or outcome[3]:
                break
        return outcome


class PassesAll(gymnasium.Wrapper):
    """Changes nothing."""


class NamesAlike(gymnasium.Wrapper):
    """Has attributes of the names that what records episodes has."""

    ended = seeded = False
    forget = end = None


@pytest.mark.parametrize("wrapper", [PassesAll, NamesAlike, Scales, Lives])
def test_the_environments_own_return_is_measured_below_its_wrappers(wrapper):
    """Over its own episode, whatever a wrapper makes of it."""
    model = trained(None)
    plain = evaluate(model, evaluation_envs("CartPole-v1", 6), seed=2)
    config = EnvConfig("CartPole-v1", wrappers=(wrapper,))
    for _ in range(2):  # the second with the same environments as the first
        envs = evaluation_envs(config, 6)
        assert np.array_equal(plain, evaluate(model, envs, seed=2))
        assert np.array_equal(plain, evaluate(model, envs, seed=2))
    assert len(set(plain[1])) > 1


def test_pendulums_rewards_are_added_up_as_without_wrappers():
    model = A2C("MlpPolicy", "Pendulum-v1", seed=3, device="cpu")
    plain, wrapped = (
        evaluate(model, evaluation_envs(EnvConfig("Pendulum-v1", wrappers=w), 3), seed=0)[0]
        for w in ((), (PassesAll,))
    )
    assert plain.tolist() == wrapped.tolist()  # to the last bit


def test_an_episode_that_a_wrapper_cuts_ends_there():
    model = trained(None)
    envs = evaluation_envs(EnvConfig("CartPole-v1", wrappers=(Cuts, Scales)), 4)
    played = play_episodes(model, envs, seed=2)
    assert played.returns.tolist() == played.lengths.tolist() == [7] * 4
    assert [info["left"] for info in played.infos] == [0] * 4


def test_steps_of_a_repeated_action_are_the_environments():
    envs = evaluation_envs(EnvConfig("CartPole-v1", wrappers=(Repeats,), time_limit=10), 3)
    returns, lengths = evaluate(trained(None), envs, seed=0)
    assert returns.tolist() == lengths.tolist()
    assert max(lengths) <= 10
    assert min(lengths) > 2  # of the policy's steps there are at most three


def test_frames_are_stacked_as_in_training():
    config = EnvConfig("CartPole-v1", frame_stack=3)
    model = A2C("MlpPolicy", evaluation_envs(config, 2), seed=3, device="cpu")
    assert model.observation_space.shape == (12,)
    envs = evaluation_envs(config, 4)
    before = evaluate(model, envs, seed=0)
    assert np.array_equal(before, evaluate(model, envs, seed=0))


def test_an_episode_without_an_end_is_told(monkeypatch):
    monkeypatch.setattr(evaluation, "MAX_EPISODE_STEPS", 300)
    env = make_vec_env("Pendulum-v1", 1, wrapper_class=lambda env: env.unwrapped)
    model = A2C("MlpPolicy", "Pendulum-v1", device="cpu")
    with pytest.raises(RuntimeError, match="environment 0 has not ended its episode within 300"):
        play_episodes(model, env, seed=0)


class OneIsValid(gymnasium.Env):
    """One action is valid at a time; another one ends the episode."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        self.valid = int(self.np_random.integers(5))
        return np.zeros(1, np.float32), {}

    def action_masks(self):
        return np.arange(5) == self.valid

    def step(self, action):
        self.left -= 1
        right, self.valid = int(action) == self.valid, int(self.np_random.integers(5))
        return np.zeros(1, np.float32), float(right), not right or not self.left, False, {}


@pytest.mark.parametrize("wrappers", [(), (PassesAll,)])
def test_masked_policies_get_the_masks(wrappers):
    model = MaskablePPO("MlpPolicy", OneIsValid(), n_steps=8, batch_size=8, device="cpu")
    config = EnvConfig(OneIsValid, wrappers=wrappers)
    assert evaluate(model, evaluation_envs(config, 4), seed=0)[0].tolist() == [5.0] * 4
    assert not evaluation.takes_masks(A2C("MlpPolicy", "CartPole-v1", device="cpu").policy)


def test_statistics_that_no_evaluation_has_seen_are_refused():
    config = EnvConfig("CartPole-v1", wrappers=("NormalizeObservation",))
    with pytest.raises(UserError, match="has statistics of its own.*normalize=True"):
        evaluation_envs(config, 2)
    evaluation_envs(EnvConfig("CartPole-v1", wrappers=("NormalizeReward",)), 2)


def test_normalization_below_other_wrappers_is_refused_before_training():
    def model(**kwargs):
        return A2C(
            "MlpPolicy",
            VecFrameStack(VecNormalize(make_vec_env("CartPole-v1"), **kwargs), 2),
            device="cpu",
        )

    callback = EvaluateEvery(5, EnvConfig("CartPole-v1", frame_stack=2), 1, 0)
    refused = model()
    with pytest.raises(UserError, match="normalized below VecFrameStack, .*outermost"):
        refused.learn(5, callback)
    assert refused.num_timesteps == 0
    model(norm_obs=False).learn(5, callback)
