"""Algorithms, spaces and small models that the tests of the common contract share."""

import copy
import inspect

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnvWrapper, VecNormalize

import sb3_course
from tests.worlds import RandomSpaces

CLASSES = [getattr(sb3_course, name) for name in sb3_course.ALGORITHMS]
VARIANTS = [
    (sb3_course.REINFORCE, {"baseline": None, "reward_to_go": False}),
    (sb3_course.REINFORCE, {"baseline": "mean"}),
    (sb3_course.REINFORCE, {"baseline": "optimal"}),
    (sb3_course.REINFORCE, {"baseline": "value"}),
    (sb3_course.ISPG, {"ratio": "per_decision"}),
    (sb3_course.ISPG, {"ratio": "step", "n_batches": 2, "baseline": "optimal"}),
    (sb3_course.ISPG, {"ratio": "prefix", "n_batches": 3, "balance_heuristic": True}),
    (sb3_course.NPG, {}),
    (sb3_course.NPG, {"line_search": True, "sub_sampling_factor": 2}),
    (sb3_course.NPG, {"step_size": 0.1}),
    (sb3_course.BatchActorCritic, {"critic_target": "mc"}),
    (sb3_course.BatchActorCritic, {"critic_target": "td", "gae_lambda": 0.0}),
    (sb3_course.OnlineActorCritic, {}),
]


def _variant_id(algorithm, kwargs):
    return "-".join([algorithm.__name__, *(f"{name}={value}" for name, value in kwargs.items())])


every_class = pytest.mark.parametrize("algorithm", CLASSES)
every_variant = pytest.mark.parametrize(
    ("algorithm", "kwargs"), [pytest.param(*v, id=_variant_id(*v)) for v in VARIANTS]
)

BOX = spaces.Box(-1, 1, (3,))
ACTIONS = {
    "box()": spaces.Box(-1, 1, ()),
    "matrix": spaces.Box(-1, 1, (2, 3)),
    "box": spaces.Box(np.array([-1.0, 0.0], "f4"), np.array([2.0, 3.0], "f4")),
    "discrete": spaces.Discrete(3),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary(3),
}
OBSERVATIONS = {
    "box64": spaces.Box(-1, 1, (3,), dtype=np.float64),
    "matrix": spaces.Box(-1, 1, (2, 3)),
    "bytes": spaces.Box(0, 255, (8,), dtype=np.uint8),
    "discrete": spaces.Discrete(4),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary(3),
    "dict": spaces.Dict({"box": BOX, "discrete": spaces.Discrete(3)}),
}


def any_env(observation_space=BOX, action_space=ACTIONS["discrete"], n_envs=2):
    """Make environments with random observations in the given spaces."""

    def make():
        return RandomSpaces(copy.deepcopy(observation_space), copy.deepcopy(action_space))

    return make_vec_env(make, n_envs, seed=0)


def normalized_pendulum(n_envs=2, **kwargs):
    """Make Pendulum environments inside ``VecNormalize``."""
    return VecNormalize(make_vec_env("Pendulum-v1", n_envs, seed=0), **kwargs)


def small_model(algorithm, env, policy="MlpPolicy", **kwargs):
    """Make a model with a small batch."""
    if isinstance(env, str):
        env = make_vec_env(env, 2)
    small = {"n_steps": 16} if takes(algorithm, "n_steps") else {}
    return algorithm(policy, env, **small | {"seed": 0, "device": "cpu"} | kwargs)


def takes(algorithm, *names):
    """Whether the algorithm's constructor takes these parameters."""
    return set(names) <= inspect.signature(algorithm).parameters.keys()


def copy_parameters(model):
    """Copy the policy's parameters and buffers by name."""
    return {key: value.clone() for key, value in model.policy.state_dict().items()}


def equal_tensors(one, other):
    """Whether two dicts of tensors are equal bit for bit."""
    return one.keys() == other.keys() and all(th.equal(one[k], other[k]) for k in one)


class WritesActions(VecEnvWrapper):
    """Writes into the actions that it is given, as an environment in place may."""

    def reset(self):
        return self.venv.reset()

    def step_async(self, actions):
        self.venv.step_async(actions.copy())
        actions *= 0

    def step_wait(self):
        return self.venv.step_wait()
