"""Evaluation of policies, also during their training and without disturbing it."""

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

SEED_OFFSET, SEEDS_PER_RUN = 1_000_000, 1_000
"""Evaluation episodes of run ``seed`` have the seeds ``SEED_OFFSET + SEEDS_PER_RUN * seed`` and
up, so that no two runs share an episode and none is shared with training."""


def evaluation_seed(seed: int) -> int:
    """Return the seed of the first evaluation episode of a run.

    :param seed: Seed of the run
    :return: Seed of the episode
    """
    return SEED_OFFSET + SEEDS_PER_RUN * seed


def make_env(env_id: str, **settings: Any) -> gymnasium.Env[Any, Any]:
    r"""Make Gymnasium's own environment, without its warning about old versions.

    :param env_id: Gymnasium id
    :param \**settings: Keyword arguments of the environment, such as ``render_mode``, which not
        every environment takes
    :return: Environment
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*out of date.*")
        return gymnasium.make(env_id, disable_env_checker=True, **settings)


def evaluation_envs(env_id: str, episodes: int) -> DummyVecEnv:
    """Make Gymnasium's own environments for an evaluation, one per episode.

    :param env_id: Gymnasium id
    :param episodes: Number of episodes
    :return: Vector environment, not normalized
    """
    return DummyVecEnv([partial(make_env, env_id)] * episodes)


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
        obs, rewards, starts, _ = envs.step(actions)
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


class EvaluationCallback(BaseCallback):
    """Callback that evaluates the policy in training at declared environment steps.

    The evaluation for a step is made at the first vector step that reaches it, with the policy
    that acts then. It therefore never benefits from more experience than its step allows, whatever
    the algorithm's batch size is.

    :param env_id: Gymnasium id
    :param steps: Environment steps at which to evaluate, ascending; 0 is before training
    :param episodes: Number of episodes per evaluation
    :param seed: Seed of the run
    :param clock: Function that returns the time in seconds
    :raises ValueError: If a return is not finite, during training
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
                    f"{returns.tolist()}, which must be finite"
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

    :param step: Declared environment step of the evaluation
    :param num_timesteps: Environment steps that had been taken when it was made
    :param wall_time: Seconds of training until then, without the time spent on evaluation
    :param returns: Undiscounted raw return of each episode
    :param lengths: Number of steps in each episode
    """

    step: int
    num_timesteps: int
    wall_time: float
    returns: list[float]
    lengths: list[int]
