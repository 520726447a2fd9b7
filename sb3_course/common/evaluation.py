"""Evaluation of policies, also during their training and without disturbing it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_course.collection.collector import step_wait
from sb3_course.envs.gymnasium_env import make_env

SEED_OFFSET, SEEDS_PER_RUN = 1_000_000, 1_000
"""Evaluation episodes of run ``seed`` have the seeds ``SEED_OFFSET + SEEDS_PER_RUN * seed`` and
up, so that no two runs share an episode and none is shared with training."""


def evaluation_seed(seed: int) -> int:
    """Return the seed of the first evaluation episode of a run.

    :param seed: Seed of the run
    :return: Seed of the episode
    """
    return SEED_OFFSET + SEEDS_PER_RUN * seed


def evaluation_envs(env_id: str, episodes: int) -> DummyVecEnv:
    """Make Gymnasium's own environments for an evaluation, one per episode.

    :param env_id: Gymnasium id
    :param episodes: Number of episodes
    :return: Vector environment, not normalized
    """
    return DummyVecEnv([partial(make_env, env_id, disable_env_checker=True)] * episodes)


def evaluate(
    model: BaseAlgorithm, envs: VecEnv, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Evaluate a model's deterministic policy over one episode of every environment.

    The first episode of each environment counts, however long it is, so that short episodes are
    not over-represented. Observations are normalized with the statistics of the model's training
    environment, which are not updated; rewards stay raw. The result depends only on the policy,
    the statistics and the seed.

    :param model: Model to evaluate
    :param envs: Environments, neither normalized nor shared with training
    :param seed: Seed of the first environment; environment ``i`` is seeded with ``seed + i``
    :return: Undiscounted returns and lengths of the episodes, each of shape ``(envs.num_envs,)``
    """
    normalizer = model.get_vec_normalize_env()
    returns = np.zeros(envs.num_envs, dtype=np.float64)
    lengths = np.zeros(envs.num_envs, dtype=np.int64)
    running = np.ones(envs.num_envs, dtype=bool)
    starts = np.ones(envs.num_envs, dtype=bool)
    state = None
    envs.seed(seed)
    obs: Any = envs.reset()
    while running.any():
        if normalizer is not None:
            obs = normalizer.normalize_obs(obs)
        actions, state = model.predict(obs, state, starts, deterministic=True)
        envs.step_async(actions)
        obs, rewards, starts, _ = step_wait(envs)
        returns[running] += rewards[running]
        lengths[running] += 1
        running &= ~starts
    return returns, lengths


@contextmanager
def undisturbed(model: BaseAlgorithm) -> Iterator[None]:
    """Restore the global random states and the policy's mode on exit.

    :param model: Model in training
    :yield: Nothing
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    training = model.policy.training
    devices = [] if model.device.type == "cpu" else [model.device]
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        model.policy.train(training)
