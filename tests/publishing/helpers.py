"""Small models of every kind of policy, with weights as large as those of trained ones."""

import copy

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from sb3_course import NPG, REINFORCE, OnlineActorCritic
from tests.contract.helpers import ACTIONS, OBSERVATIONS
from tests.worlds import RandomSpaces

BOX = spaces.Box(-np.inf, np.inf, (3,))
IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)
MIXED = spaces.Dict(
    {
        "camera/left": IMAGE,
        "arm": BOX,
        "which": spaces.Discrete(3),
        "switches": spaces.MultiBinary(2),
        "grid": spaces.MultiDiscrete([2, 3]),
    }
)
NARROW = spaces.Box(np.array([-0.1, 0.2]), np.array([0.3, 0.7]), dtype=np.float64)
"""Bounds that float32 does not hold exactly."""

SMALL_CNN = {"features_extractor_kwargs": {"features_dim": 16}}
SQUASHED = {"use_sde": True, "policy_kwargs": {"squash_output": True}}
ALL = {"normalize": {"clip_obs": 1.5}}
ARM = {"normalize": {"norm_obs_keys": ["arm"], "clip_obs": 1.5}}

# Name: class, policy, observation space, action space, further arguments.
KINDS = {
    **{f"mlp {name}": (NPG, "MlpPolicy", BOX, space, {}) for name, space in ACTIONS.items()},
    **{
        f"of {name}": (REINFORCE, "MlpPolicy", space, spaces.Discrete(3), {})
        for name, space in OBSERVATIONS.items()
        if name != "dict"
    },
    "whole numbers": (NPG, "MlpPolicy", BOX, spaces.Box(0, 10, (2,), np.int32), {}),
    "bytes": (NPG, "MlpPolicy", BOX, spaces.Box(0, 10, (2,), np.uint8), {}),
    "float64 actions": (NPG, "MlpPolicy", BOX, NARROW, {}),
    "normalized mlp": (NPG, "MlpPolicy", BOX, ACTIONS["box"], ALL),
    "normalized float64": (NPG, "MlpPolicy", OBSERVATIONS["box64"], spaces.Discrete(3), ALL),
    "normalized, frames": (A2C, "MlpPolicy", BOX, ACTIONS["box"], {**ALL, "frames": 4}),
    "frames of images": (OnlineActorCritic, "CnnPolicy", IMAGE, spaces.Discrete(4), {"frames": 2}),
    "cnn box": (NPG, "CnnPolicy", IMAGE, ACTIONS["box"], {"policy_kwargs": SMALL_CNN}),
    "dict": (NPG, "MultiInputPolicy", MIXED, ACTIONS["multidiscrete"], {}),
    "normalized dict": (PPO, "MultiInputPolicy", MIXED, ACTIONS["box"], ARM),
    "rewards normalized": (
        NPG,
        "MlpPolicy",
        BOX,
        ACTIONS["box"],
        {"normalize": {"norm_obs": False}},
    ),
    "a2c": (A2C, "MlpPolicy", BOX, ACTIONS["multibinary"], {}),
    "ppo, squashed gSDE": (PPO, "MlpPolicy", BOX, ACTIONS["box"], SQUASHED),
    "sac": (SAC, "MlpPolicy", BOX, ACTIONS["box"], {"buffer_size": 10}),
    "dqn": (DQN, "MlpPolicy", BOX, spaces.Discrete(3), {"buffer_size": 10}),
}


def make(kind):
    """Make a model of a kind, with statistics far from 0 and 1 and actions across the bounds."""
    algorithm, policy, observations, actions, more = KINDS[kind]
    more = copy.deepcopy(more)
    frames, normalize = more.pop("frames", None), more.pop("normalize", None)
    env = DummyVecEnv([lambda: RandomSpaces(copy.deepcopy(observations), copy.deepcopy(actions))])
    if frames is not None:
        env = VecFrameStack(env, frames)
    if normalize is not None:
        env = VecNormalize(env, **normalize)
        if env.norm_obs:
            rms = env.obs_rms
            for one in rms.values() if isinstance(rms, dict) else [rms]:
                generator = np.random.default_rng(0)
                one.mean = generator.normal(50, 9, one.mean.shape)
                one.var = generator.uniform(1e-4, 30, one.var.shape)
            env.training = False
    model = algorithm(policy, env, seed=0, device="cpu", **more)
    grow(model.policy)
    return model


def grow(policy):
    """Replace the last layers' weights, which SB3 starts close to 0."""
    generator = th.Generator().manual_seed(1)
    with th.no_grad():
        for name, value in policy.named_parameters():
            if name.startswith(("action_net.weight", "actor.mu.weight")):
                value.copy_(th.randn(value.shape, generator=generator))
