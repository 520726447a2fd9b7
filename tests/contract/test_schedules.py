"""Schedules: the remaining progress ends at 0, and what a schedule returns is checked."""

import math

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env

import sb3_course
from sb3_course import BC, NPG, REINFORCE, DAgger, OnlineActorCritic

SCHEDULED = [
    (getattr(sb3_course, name), parameter)
    for name in sb3_course.ALGORITHMS
    for parameter in ("learning_rate", "critic_learning_rate", "target_kl", "step_size")
    if parameter in getattr(sb3_course, name).__init__.__code__.co_varnames
]
every_schedule = pytest.mark.parametrize(("algorithm", "parameter"), SCHEDULED)


def make(algorithm, **kwargs):
    size = {} if algorithm is OnlineActorCritic else {"n_steps": 200}
    env = make_vec_env("CartPole-v1", 2, seed=0)
    return algorithm("MlpPolicy", env, seed=0, device="cpu", **size, **kwargs)


@every_schedule
def test_progress_is_from_one_to_zero_however_far_the_last_batch_goes(algorithm, parameter):
    asked = []

    def linear(progress):
        asked.append(progress)
        return 1e-2 * progress

    make(algorithm, **{parameter: linear}).learn(450)
    assert max(asked) == 1 or parameter in ("target_kl", "step_size")  # asked in updates alone
    assert min(asked) == 0


def test_the_last_step_of_a_linear_schedule_is_none_and_not_one_backwards():
    model = make(REINFORCE, learning_rate=lambda progress: 1e-2 * progress, baseline=None)
    model.learn(450)
    assert model.actor_optimizer.param_groups[0]["lr"] == 0


@every_schedule
@pytest.mark.parametrize("value", [-1e-3, math.nan, math.inf, (-1.0) ** 0.5, None, "fast"])
def test_a_value_that_is_no_rate_is_an_error_that_names_the_parameter(algorithm, parameter, value):
    with pytest.raises(ValueError, match=rf"^{parameter}: its schedule must return a finite"):
        make(algorithm, **{parameter: lambda progress: value}).learn(450)


def test_a_schedule_that_turns_bad_is_told_with_the_progress():
    with pytest.raises(ValueError, match=r"target_kl: .* got nan at progress 0\.\d+"):
        make(NPG, target_kl=lambda p: 0.02 if p > 0.9 else math.nan).learn(2000)


def demonstrations(n=64):
    obs = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    return {"obs": obs, "acts": (obs[:, 2] > 0).astype(int)}


@pytest.mark.parametrize("algorithm", [BC, DAgger])
def test_imitation_checks_its_learning_rate_too(algorithm):
    kwargs = {"demonstrations": demonstrations(), "seed": 0, "device": "cpu"}
    if algorithm is DAgger:
        kwargs |= {"gradient_steps": 5, "n_eval_episodes": 0}
    asked = []
    model = algorithm(
        "MlpPolicy", "CartPole-v1", learning_rate=lambda p: asked.append(p) or 1e-3 * p, **kwargs
    )
    model.learn(0 if algorithm is DAgger else 250)
    assert 0 <= min(asked) < max(asked) == 1
    with pytest.raises(ValueError, match="learning_rate: its schedule"):
        algorithm("MlpPolicy", "CartPole-v1", learning_rate=lambda p: -p, **kwargs).learn(250)
