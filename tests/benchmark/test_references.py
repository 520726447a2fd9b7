from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.toy_text import FrozenLakeEnv

from sb3_course.benchmark.references import measured, random_returns, unknown_random
from sb3_course.common.errors import UserError
from sb3_course.envs.config import EnvConfig
from tests.benchmark import made_up


class Coin(gymnasium.Env):
    """Ends at once with a reward of 1 for one of two actions."""

    observation_space = gymnasium.spaces.Discrete(1)
    action_space = gymnasium.spaces.Discrete(2)
    reward = 1.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, self.reward * action, True, False, {}


def test_random_actions_have_the_return_of_the_uniform_policy():
    reference = measured(EnvConfig(Coin), episodes=400, seed=0)
    assert reference.low < 0.5 < reference.high
    assert reference.high - reference.low == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.1)
    assert (reference.episodes, reference.seed, reference.threshold) == (400, 0, None)


def test_an_episode_depends_on_its_own_seed_alone():
    env = EnvConfig(FrozenLakeEnv, {"is_slippery": True})
    whole, rest = random_returns(env, 40), random_returns(env, 10, seed=30)
    np.testing.assert_array_equal(whole[30:], rest)
    assert 0 < random_returns(env, 400).mean() < 0.1  # 0.0139 in the limit


def test_returns_that_are_not_finite_are_told():
    coin = EnvConfig(type("Broken", (Coin,), {"reward": float("nan")}))
    with pytest.raises(UserError, match="a return of random actions on Broken is nan"):
        measured(coin, episodes=20, seed=0)


class Endless(Coin):
    """Never ends."""

    def step(self, action):
        return 0, 0.0, False, False, {}


def test_an_episode_that_does_not_end_is_told(monkeypatch):
    monkeypatch.setattr("sb3_course.benchmark.references.MAX_EPISODE_STEPS", 100)
    with pytest.raises(UserError, match="on Endless: an episode .* not end within 100 steps; set"):
        measured(EnvConfig(Endless), episodes=2, seed=0)
    assert random_returns(EnvConfig(Endless, time_limit=100), 2).tolist() == [0, 0]


@pytest.mark.parametrize("error", [RuntimeError("no display"), SystemExit(3)])
@pytest.mark.parametrize("where", ["reset", "step"])
def test_an_environment_that_raises_is_named(error, where):
    def fails(*_, **__):
        raise error

    with pytest.raises(UserError, match=f"random actions on Broken: {type(error).__name__}"):
        measured(EnvConfig(type("Broken", (Coin,), {where: fails})), episodes=2, seed=0)


def test_only_what_is_missing_is_measured():
    environments = {
        name: {"total_timesteps": 100} for name in ("CartPole-v1", "Blackjack-v1", "FrozenLake-v1")
    }
    declared = {
        "CartPole-v1": {"expert": 400},  # declared without a return of random actions
        "FrozenLake-v1": {"random": 0, "expert": 1},
    }
    grid = made_up.grid(environments=environments, references=declared)
    assert unknown_random(grid) == ["CartPole-v1", "Blackjack-v1"]
    without = made_up.grid(environments=environments)
    assert unknown_random(without) == ["Blackjack-v1", "FrozenLake-v1"]


class Half(gymnasium.RewardWrapper):
    """Halves the rewards."""

    def reward(self, reward):
        return reward / 2


def test_returns_are_those_below_the_wrappers():
    plain, halved = EnvConfig(Coin), EnvConfig(Coin, wrappers=(Half,))
    np.testing.assert_array_equal(random_returns(plain, 50), random_returns(halved, 50))


def test_a_task_with_settings_has_no_shipped_reference_and_no_threshold():
    environments = {
        "Short": {"id": "CartPole-v1", "time_limit": 10, "total_timesteps": 100},
        "The same": {"id": "CartPole-v1", "total_timesteps": 100},
    }
    grid = made_up.grid(environments=environments)
    assert unknown_random(grid) == ["Short"]
    reference = measured(grid.environments["Short"].config("Short"), 5, 0)
    assert reference.threshold is None
    assert reference.env == {"id": "CartPole-v1", "time_limit": 10}
    assert reference.random <= 10
    assert EnvConfig("FrozenLake-v1").reward_threshold == 0.7


class Cuts(gymnasium.Wrapper):
    """Ends an episode after two steps, or divides it there."""

    def __init__(self, env, divides):
        super().__init__(env)
        self.divides, self.over = divides, True

    def reset(self, **kwargs):
        self.left = 2
        return super().reset(**kwargs) if self.over or not self.divides else (self.last, {})

    def step(self, action):
        self.left -= 1
        self.last, reward, terminated, truncated, info = super().step(action)
        self.over = terminated or truncated
        return self.last, reward, terminated, truncated or self.left == 0, info


@pytest.mark.parametrize(("divides", "steps"), [(False, 2), (True, 7)])
def test_random_episodes_end_where_those_of_an_evaluation_do(divides, steps):
    """Each has its own seed, and the actions of one without wrappers."""
    wrapped = EnvConfig("Pendulum-v1", {}, (partial(Cuts, divides=divides),), time_limit=7)
    plain = EnvConfig("Pendulum-v1", time_limit=steps)
    expected = random_returns(plain, 4)
    assert len(set(expected)) == 4
    np.testing.assert_array_equal(random_returns(wrapped, 4), expected)
