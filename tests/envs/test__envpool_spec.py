"""What EnvPool and Gymnasium have in common, and what is refused."""

import sys
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from sb3_course.envs import EnvPoolVecEnv
from sb3_course.envs._envpool_spec import UnsupportedEnvError, _agree, _cleaned, read_spec
from tests.worlds import random_actions, rollout

needs_envpool = pytest.mark.skipif(find_spec("envpool") is None, reason="needs EnvPool")
BOX = spaces.Box(-1, 1, (3,), np.float32)


@needs_envpool
@pytest.mark.parametrize(
    "env_id",
    [
        "CartPole-v1",
        "Acrobot-v1",
        "MountainCarContinuous-v0",
        "FrozenLake-v1",
        "HalfCheetah-v4",
        "Hopper-v4",
        "Walker2d-v4",
        "Ant-v4",
        "Humanoid-v4",
    ],
)
def test_spaces_equal_gymnasiums(env_id: str) -> None:
    if env_id.endswith("-v4"):
        pytest.importorskip("mujoco")
    venv, env = EnvPoolVecEnv(env_id), gym.make(env_id)
    assert venv.observation_space == env.observation_space
    assert venv.action_space == env.action_space


@needs_envpool
def test_spaces_without_gymnasium_are_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mujoco")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise gym.error.DependencyNotInstalled("Box2D")

    expected = gym.make("HalfCheetah-v4").action_space
    monkeypatch.setattr(gym, "make", fail)
    lander = EnvPoolVecEnv("LunarLander-v3", 2, seed=0)
    assert lander.observation_space == spaces.Box(-np.inf, np.inf, (8,), np.float32)
    assert lander.action_space == spaces.Discrete(4)
    assert lander.max_episode_steps == 1000
    assert lander.get_attr("spec") == [None, None]
    steps = rollout(lander, random_actions(lander, 150))
    assert any(step[2].any() for step in steps[1:])
    assert all(lander.observation_space.contains(row) for step in steps for row in step[0])
    assert EnvPoolVecEnv("HalfCheetah-v4").action_space == expected  # float32


@needs_envpool
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"env_id": "HalfChetah-v4"}, r"'HalfChetah-v4'; near matches: .*HalfCheetah-v4"),
        ({"env_id": "HalfChetah-v4"}, 'backend="dummy"'),
        ({"env_id": "NoSuchThing"}, "does not have 'NoSuchThing'"),
        ({"env_id": "Blackjack-v1"}, "observation space .* does not fit"),
        ({"env_id": "IntersectionMultiAgent-v0"}, "more than one player"),
        ({"env_id": "FrankaKitchen-v1"}, "nested Dict"),
        ({"n_envs": 0}, "n_envs must be at least 1, got 0"),
        ({"num_threads": 0}, "num_threads must be at least 1"),
        ({"batch_size": 1, "n_envs": 2}, "synchronous"),
        ({"num_envs": 2}, "use n_envs"),
        ({"env_seed": [1]}, "seed"),
        ({"max_num_players": 2}, "single-player"),
        ({"render_mode": "rgb_array"}, "does not render"),
        ({"nonsense": 1}, "does not take env_kwargs"),
        ({"reward_threshold": 1.0}, "Gymnasium's CartPole-v1 does not take"),
    ],
)
def test_bad_construction(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EnvPoolVecEnv(**{"env_id": "CartPole-v1", **kwargs})


@needs_envpool
@pytest.mark.parametrize(
    ("env_id", "kwargs", "limit", "keys"),
    [
        ("CartPole-v1", {}, 500, {""}),
        ("CartPole-v1", {"max_episode_steps": 7}, 7, {""}),
        ("MountainCar-v0", {"render_mode": None}, 200, {""}),
        ("Parking-v0", {}, None, {"observation", "achieved_goal", "desired_goal"}),
    ],
)
def test_a_spec_holds_spaces_limit_and_layout(
    env_id: str, kwargs: dict[str, Any], limit: int | None, keys: set[str]
) -> None:
    spec = read_spec(env_id, kwargs)
    if limit is not None:
        assert spec.max_episode_steps == limit
    assert spec.obs_index.keys() == keys
    assert isinstance(spec.observation_space, spaces.Dict) == (keys != {""})
    assert {"reward", "done", "trunc", "info:env_id"} <= spec.index.keys()
    places = {*spec.obs_index.values(), spec.index["reward"], spec.index["done"]}
    assert len(places) == len(keys) + 2
    assert spec.action_dtype.kind in "if"


@needs_envpool
def test_pools_are_not_built_to_read_a_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    import envpool

    def fail(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a pool was built")

    monkeypatch.setattr(envpool, "make_gymnasium", fail)
    assert read_spec("CartPole-v1", {}).gym_spec.id == "CartPole-v1"


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"num_envs": 2}, ValueError, "use n_envs"),
        ({"render_mode": "human"}, UnsupportedEnvError, 'backend="dummy"'),
        ({}, ImportError, r"pip install 'sb3-course\[envpool\]'"),
    ],
)
def test_arguments_are_checked_before_envpool_is_imported(
    monkeypatch: pytest.MonkeyPatch, kwargs: dict[str, Any], error: type, message: str
) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(error, match=message):
        read_spec("CartPole-v1", kwargs)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (spaces.Box(-np.inf, np.inf, (3,), np.float64), True),
        (spaces.Box(-1, 1, (4,), np.float32), False),
        (spaces.Discrete(3), False),
        (spaces.Dict({"a": BOX}), False),
    ],
)
def test_boxes_agree_by_shape(other: spaces.Space, expected: bool) -> None:
    assert _agree(other, BOX) is expected


@pytest.mark.parametrize(
    ("pool", "gymnasium", "expected"),
    [
        (spaces.Discrete(3), spaces.Discrete(3), True),
        (spaces.Discrete(4), spaces.Discrete(3), False),
        (spaces.Discrete(3, start=1), spaces.Discrete(3), False),
        (spaces.Dict({"a": BOX}), spaces.Dict({"a": BOX}), True),
        (spaces.Dict({"b": BOX}), spaces.Dict({"a": BOX}), False),
        (spaces.Dict({"a": spaces.Discrete(3)}), spaces.Dict({"a": BOX}), False),
        (BOX, spaces.Dict({"a": BOX}), False),
    ],
)
def test_discrete_and_dict_spaces_agree_by_values_and_keys(
    pool: spaces.Space, gymnasium: spaces.Space, expected: bool
) -> None:
    assert _agree(pool, gymnasium) is expected


def test_bounds_that_mean_none_become_infinite() -> None:
    limits = np.finfo(np.float64)
    low = np.array([limits.min, limits.tiny, -1.0])
    high = np.array([limits.max, limits.max, 1.0])
    box = spaces.Box(low, high, dtype=np.float64)
    expected = spaces.Box(np.array([-np.inf, -np.inf, -1]), np.array([np.inf, np.inf, 1]))
    assert _cleaned(box).dtype == np.float64
    for cleaned in (_cleaned(box), _cleaned(spaces.Dict({"a": box}))["a"], _cleaned(box, True)):
        np.testing.assert_array_equal(cleaned.low, expected.low)
        np.testing.assert_array_equal(cleaned.high, expected.high)
    assert _cleaned(box, action=True).dtype == np.float32
    bytes_ = spaces.Box(0, 255, (2,), np.uint8)
    assert _cleaned(bytes_) is bytes_
