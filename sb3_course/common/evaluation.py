"""Measure a policy during its training without disturbing the training."""

import random
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_course.collection.collector import step_wait

SEED_OFFSET, SEEDS_PER_RUN = 1_000_000, 1_000
"""Evaluation episodes of run ``seed`` start from ``SEED_OFFSET + SEEDS_PER_RUN * seed`` upwards,
so that no two seeds share an episode and none is shared with training."""


def evaluation_seed(seed: int) -> int:
    """Return the seed of the first evaluation episode of a run.

    :param seed: the run's seed
    """
    return SEED_OFFSET + SEEDS_PER_RUN * seed


def make_env(env_id: str, **settings: Any) -> gymnasium.Env[Any, Any]:
    """Make Gymnasium's own environment; that its version is an old one is meant, and not warned of.

    :param env_id: Gymnasium name
    :param settings: of the environment, as ``render_mode``, which not every one takes
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*out of date.*")
        return gymnasium.make(env_id, disable_env_checker=True, **settings)


def evaluation_envs(env_id: str, episodes: int) -> DummyVecEnv:
    """Make the environments that policies are measured in: Gymnasium's own, one an episode.

    :param env_id: Gymnasium name
    :param episodes: how many
    """
    return DummyVecEnv([partial(make_env, env_id)] * episodes)


def evaluate(
    model: BaseAlgorithm, envs: VecEnv, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Measure a model's deterministic policy over one episode of every environment.

    Each environment counts with its first episode, however long, so that short episodes are not
    over-represented. Observations are normalized with the statistics of the model's training
    environment, which are read and not updated; rewards stay raw. The result depends on policy,
    statistics and seed alone.

    :param model: the model
    :param envs: environments, neither normalized nor shared with training
    :param seed: environment ``i`` is seeded with ``seed + i``
    :return: undiscounted returns and lengths of the episodes, each of shape ``(envs.num_envs,)``
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
    """Put back the global random states and the policy's mode as they were.

    :param model: the model in training
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


class EvaluationCallback(BaseCallback):
    """Measure the policy in training at declared environment steps.

    The measurement of a step is made at the first vector step that reaches it, of the policy that
    acts then. So a measurement never profits from more experience than its step allows, whatever
    an algorithm's batch size.

    :param env_id: Gymnasium name of the environment
    :param steps: environment steps at which to measure, ascending; 0 is before training
    :param episodes: episodes of each measurement
    :param seed: the run's seed
    :param clock: time in seconds
    :raises ValueError: in training, if a return is not finite
    """

    def __init__(
        self,
        env_id: str,
        steps: list[int],
        episodes: int,
        seed: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__()
        self.measurements: list[Measurement] = []
        self._env_id, self._episodes = env_id, episodes
        self._pending = list(steps)
        self._seed = evaluation_seed(seed)
        self._clock = clock
        self._started = 0.0

    def _on_training_start(self) -> None:
        with undisturbed(self.model):
            self._envs = evaluation_envs(self._env_id, self._episodes)
        self._started = self._clock()
        self._on_step()

    def _on_step(self) -> bool:
        while self._pending and self.num_timesteps >= self._pending[0]:
            before = self._clock()
            with undisturbed(self.model):
                returns, lengths = evaluate(self.model, self._envs, self._seed)
            if not np.isfinite(returns).all():
                raise ValueError(
                    f"the evaluation at environment step {self._pending[0]} gave the returns "
                    f"{returns.tolist()}; they have to be finite"
                )
            self.measurements.append(
                Measurement(
                    step=self._pending.pop(0),
                    num_timesteps=self.num_timesteps,
                    wall_time=before - self._started,
                    returns=returns.tolist(),
                    lengths=lengths.tolist(),
                )
            )
            self._started += self._clock() - before
        return True

    def _on_training_end(self) -> None:
        self._envs.close()
        if self._pending:
            raise RuntimeError(
                f"training ended at environment step {self.num_timesteps}, "
                f"before the measurements due at {self._pending}"
            )


@dataclass(frozen=True)
class Measurement:
    """One evaluation of a policy.

    :param step: the declared environment step of this evaluation
    :param num_timesteps: the environment steps that had been taken when it was made
    :param wall_time: seconds of training until then, without those spent on evaluation
    :param returns: undiscounted raw return of each episode
    :param lengths: steps of each episode
    """

    step: int
    num_timesteps: int
    wall_time: float
    returns: list[float]
    lengths: list[int]
