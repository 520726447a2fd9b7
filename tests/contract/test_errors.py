"""Bad parameters, spaces and experience are refused in a line that names them."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.contract.helpers import BOX, CLASSES, copy_parameters, every_class, small_model, takes
from tests.worlds import Scripted

BAD_PARAMETERS = [
    ({"gamma": 1.5}, "gamma must be a number from 0 to 1, got 1.5"),
    ({"gae_lambda": -1}, "gae_lambda must be a number from 0 to 1, got -1"),
    ({"ent_coef": float("nan")}, "ent_coef must be a finite number, got nan"),
    ({"max_grad_norm": 0}, "max_grad_norm must be a positive number or None, got 0"),
    ({"learning_rate": -1.0}, "learning_rate must be a number of at least 0 or a schedule"),
    ({"n_critic_updates": 0}, "n_critic_updates must be a whole number of at least 1, got 0"),
    ({"batch_size": 1.5}, "batch_size must be a whole number of at least 1 or None, got 1.5"),
    ({"n_steps": 0}, "n_steps must be a whole number of at least 1, got 0"),
    ({"policy_kwargs": {"use_sde": True}}, "use_sde is not supported"),
    ({"policy_kwargs": "x"}, "policy_kwargs must be a dict, got 'x'"),
]


@pytest.mark.parametrize(
    ("algorithm", "kwargs", "message"),
    [
        pytest.param(algorithm, kwargs, message, id=f"{algorithm.__name__}-{next(iter(kwargs))}")
        for algorithm in CLASSES
        for kwargs, message in BAD_PARAMETERS
        if takes(algorithm, *kwargs)
    ],
)
def test_a_bad_parameter_is_named_with_what_is_allowed(algorithm, kwargs, message):
    with pytest.raises(ValueError, match=message):
        algorithm("MlpPolicy", "CartPole-v1", **kwargs)


class Noisy(ActorCriticPolicy):
    """Uses gSDE by itself."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs | {"use_sde": True})


class InColumns(DummyVecEnv):
    """Returns rewards or dones of shape (N, 1)."""

    which = 0

    def step_wait(self):
        obs, *values, infos = super().step_wait()
        values[self.which] = values[self.which][:, None]
        return obs, *values, infos


@every_class
def test_a_policy_with_noise_of_its_own_is_refused(algorithm):
    with pytest.raises(ValueError, match="Noisy: use_sde is not supported"):
        algorithm(Noisy, "Pendulum-v1")


@every_class
@pytest.mark.parametrize(("which", "name"), [(0, "rewards"), (1, "dones")])
@pytest.mark.parametrize("n", [1, 2])
def test_rewards_and_dones_in_columns_are_refused(algorithm, which, name, n):
    env = InColumns([Scripted] * n)
    env.which = which
    with pytest.raises(ValueError, match=rf"{name} of shape \({n}, 1\); allowed: \({n},\)"):
        small_model(algorithm, env).learn(10)


@every_class
@pytest.mark.parametrize(
    ("env", "message"),
    [(None, "got None$"), ([Scripted], "got \\[<class"), (Scripted, "to be called first")],
)
def test_what_is_no_environment_is_refused(algorithm, env, message, tmp_path):
    with pytest.raises(ValueError, match=f"env must be an environment.* or a .* id, .*{message}"):
        algorithm("MlpPolicy", env)
    model = small_model(algorithm, Scripted())
    with pytest.raises(ValueError, match=f"env must be an environment.*{message}"):
        model.set_env(env)
    model.save(tmp_path / "model")
    if env is not None:  # which means none here
        with pytest.raises(ValueError, match=f"env must be an environment.*{message}"):
            algorithm.load(tmp_path / "model", env=env)


@every_class
def test_what_is_no_policy_is_refused(algorithm):
    for policy, given in ((lambda: None, "function object"), (dict, "dict")):
        with pytest.raises(ValueError, match=f"a subclass of ActorCriticPolicy, got {given}$"):
            algorithm(policy, "CartPole-v1")


@every_class
def test_learning_needs_an_environment(algorithm, tmp_path):
    small_model(algorithm, Scripted()).save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"no environment to learn in: .* to set_env\(\)"):
        algorithm.load(tmp_path / "model").learn(1)


@every_class
def test_a_terminal_observation_that_is_not_finite_is_not_used(algorithm):
    env = DummyVecEnv([lambda: Scripted(observations=[0.0, 1.0, 2.0, np.nan])] * 2)
    model = small_model(algorithm, env).learn(100)
    assert all(th.isfinite(p).all() for p in copy_parameters(model).values())


@every_class
def test_action_spaces_without_bounds_and_unknown_ones_are_refused(algorithm):
    env = Scripted(space=spaces.Box(-np.inf, np.inf, (1,)))
    with pytest.raises(ValueError, match="action space must have finite bounds, got Box"):
        algorithm("MlpPolicy", env)
    with pytest.raises(ValueError, match="action space must be Box, Discrete, .* got Tuple"):
        algorithm("MlpPolicy", Scripted(space=spaces.Tuple([BOX])))


@every_class
@pytest.mark.parametrize("what", ["reward", "observation"])
def test_non_finite_experience_stops_learning_before_it_is_used(algorithm, what):
    script = {"rewards": (1.0, np.nan, 1.0)} if what == "reward" else {}
    script |= {"observations": [0.0, 1.0, np.nan, 0.0]} if what == "observation" else {}
    env = DummyVecEnv([Scripted, lambda: Scripted(**script)])
    model = small_model(algorithm, env)
    with pytest.raises(FloatingPointError, match=rf"{what} of environment 1 is nan at .*step \d"):
        model.learn(100)
    assert all(th.isfinite(p).all() for p in copy_parameters(model).values())


@every_class
@pytest.mark.parametrize("at", ["reset", "step"])
def test_an_observation_that_float32_does_not_hold_meets_no_policy(algorithm, at):
    class Large(Scripted):
        def __init__(self):
            super().__init__()
            self.observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
            self.actions = []

        def _obs(self):
            large = at == "reset" or self.t > 0
            return np.array([1e39 if large else 0.0])

        def step(self, action):
            self.actions.append(action)
            return super().step(action)

    env = Large()
    with pytest.raises(FloatingPointError, match=r"is 1e\+39 at .* which float32 does not hold"):
        small_model(algorithm, env).learn(100)
    assert len(env.actions) == (at == "step")


@every_class
def test_overflow_stops_learning_before_it_reaches_the_networks(algorithm):
    env = DummyVecEnv([lambda: Scripted(rewards=(3e38, -3e38, 3e38))] * 2)
    model = small_model(algorithm, env, gamma=1.0)
    with pytest.raises(FloatingPointError, match="look at the scale of the rewards"):
        model.learn(100)
    assert all(th.isfinite(p).all() for p in copy_parameters(model).values())
