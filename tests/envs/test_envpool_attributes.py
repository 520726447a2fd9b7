"""Attributes of environments that are out of Python's reach."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor

from sb3_course.envs import EnvPoolVecEnv

pytest.importorskip("envpool")
pytest.importorskip("mujoco")


def test_attributes() -> None:
    venv = EnvPoolVecEnv("CartPole-v1", 3)
    assert venv.render_mode is None
    assert venv.get_attr("render_mode") == [None] * 3
    assert venv.get_attr("spec", indices=1)[0].id == "CartPole-v1"
    assert venv.get_attr("action_space", indices=[0, 2]) == [venv.action_space] * 2
    assert venv.has_attr("observation_space")
    assert not venv.has_attr("gravity")
    assert venv.env_is_wrapped(Monitor) == [True] * 3
    assert venv.env_is_wrapped(gym.wrappers.TimeLimit, indices=[0]) == [False]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda venv: venv.get_attr("gravity"), AttributeError),
        (lambda venv: venv.set_attr("gravity", 1.0), NotImplementedError),
        (lambda venv: venv.env_method("seed", 1), NotImplementedError),
        (lambda venv: venv.render(), NotImplementedError),
        (lambda venv: venv.get_images(), NotImplementedError),
        (lambda venv: venv.set_options({"low": 0.0}), NotImplementedError),
        (lambda venv: venv.set_options([{}, {"low": 0.0}]), NotImplementedError),
    ],
)
def test_what_envpool_cannot_do_names_the_backend_that_can(
    call: Callable[[EnvPoolVecEnv], Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match='backend="dummy"'):
        call(EnvPoolVecEnv("CartPole-v1"))


@pytest.mark.parametrize("options", [None, {}, [], [{}, {}]])
def test_no_options_are_no_error(options) -> None:
    venv = EnvPoolVecEnv("CartPole-v1", seed=0)
    venv.set_options(options)
    np.testing.assert_array_equal(venv.reset(), EnvPoolVecEnv("CartPole-v1", seed=0).reset())
