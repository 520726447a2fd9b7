import random

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course.benchmark.execution.evaluation_callback import EvaluationCallback
from sb3_course.common.evaluation import (
    evaluate,
    evaluation_envs,
    evaluation_seed,
    undisturbed,
)
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
