"""Evaluation of policies, also during their training and without disturbing it."""

import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.wrappers import NormalizeObservation
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, unwrap_vec_normalize

from sb3_course.collection.collector import MAX_EPISODE_STEPS, step_wait, unending
from sb3_course.common.checkpoint import wrappers_above
from sb3_course.common.errors import UserError
from sb3_course.envs.config import EnvConfig, EnvId
from sb3_course.envs.gymnasium_env import layers_of

SEED_OFFSET, SEEDS_PER_RUN = 1_000_000, 1_000
"""Evaluation episodes of run ``seed`` have the seeds ``SEED_OFFSET + SEEDS_PER_RUN * seed`` and
up, so that no two runs share an episode, of up to 1,000, and none is shared with training."""
SEEDED_RUNS = (2**32 - SEED_OFFSET) // SEEDS_PER_RUN
"""Number of runs whose episodes have seeds below 2³², which some environments demand."""


def evaluation_seed(seed: int) -> int:
    """Return the seed of the first evaluation episode of a run.

    :param seed: Seed of the run
    :return: Seed of the episode
    """
    return SEED_OFFSET + SEEDS_PER_RUN * seed


Env = gymnasium.Env[Any, Any]


class OwnEpisodes(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Wrapper that records an environment's own episodes, below the wrappers that change them.

    An episode that a wrapper cuts off ends when the environment is reset. One that a wrapper only
    divides, as SB3's ``EpisodicLifeEnv`` does, goes on; such a wrapper does not reset the
    environment in the middle of one, unless the environment says that it has ended.

    :param env: Environment without wrappers
    """

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self.ended: list[tuple[float, int]] = []
        self.seeded = False
        """Whether the running episode has begun with a seed."""
        self._return, self._length = 0.0, 0
        self._is_to_end = False

    def forget(self) -> None:
        """Forget the episodes that have ended."""
        self.ended = []

    def end(self) -> None:
        """Make the next step end the episode."""
        self._is_to_end = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment, which ends an episode that is still running."""
        self._end()
        self.seeded = seed is not None
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment, and add up its rewards as SB3 rounds them."""
        obs, reward, terminated, truncated, info = super().step(action)
        self._return += float(np.float32(reward))
        self._length += 1
        terminated, self._is_to_end = terminated or self._is_to_end, False
        if terminated or truncated:
            self._end()
        return obs, reward, terminated, truncated, info

    def _end(self) -> None:
        if self._length:
            self.ended.append((self._return, self._length))
        self._return, self._length = 0.0, 0


def evaluation_env(
    env: EnvConfig | EnvId, inside: Callable[[Env], Env] | None = None, **settings: Any
) -> Env:
    r"""Make one of Gymnasium's own environments for an evaluation.

    :param env: Environment, with its settings
    :param inside: Further wrapper, below all others
    :param \**settings: Further keyword arguments of ``gymnasium.make``
    :return: Environment, without stacked frames
    :raises UserError: If one of its wrappers normalizes observations
    """
    config = EnvConfig.of(env)

    def below(made: Env) -> Env:
        made = made if inside is None else inside(made)
        return OwnEpisodes(made) if config.wrappers else made

    made = config.make(below, disable_env_checker=True, **settings)
    if any(isinstance(layer, NormalizeObservation) for layer in layers_of(made)):
        made.close()
        raise UserError(
            "NormalizeObservation has statistics of its own, which an evaluation has not seen; "
            "allowed: normalize=True, SB3's VecNormalize, whose statistics are the training's"
        )
    return made


def evaluation_envs(env: EnvConfig | EnvId, episodes: int) -> VecEnv:
    """Make Gymnasium's own environments for an evaluation, one per episode.

    :param env: Environment, with the settings that it is trained with
    :param episodes: Number of episodes
    :return: Vector environment, not normalized
    """
    envs = DummyVecEnv([partial(evaluation_env, env)] * episodes)
    return EnvConfig.of(env).stack(envs)


@dataclass(frozen=True)
class Episodes:
    """Episodes of an evaluation.

    :param returns: Undiscounted raw returns, of shape (n_episodes,)
    :param lengths: Lengths in steps, of shape (n_episodes,)
    :param infos: Info of each episode's last step
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    infos: list[dict[str, Any]]


def evaluate(
    model: BaseAlgorithm, envs: VecEnv, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Evaluate a model's deterministic policy over one episode of every environment.

    :param model: Model to evaluate
    :param envs: Environments, as in :func:`play_episodes`
    :param seed: Seed of the first environment; environment ``i`` is seeded with ``seed + i``
    :return: Undiscounted returns and lengths of the episodes, each of shape ``(envs.num_envs,)``
    """
    episodes = play_episodes(model, envs, seed)
    return episodes.returns, episodes.lengths


def check_evaluation(model: BaseAlgorithm) -> None:
    """Check that other environments than a model's own can be observed as it does.

    :param model: Model
    :raises UserError: If it normalizes observations below another wrapper
    """
    normalizer = model.get_vec_normalize_env()
    if normalizer is None or not normalizer.norm_obs:
        return
    if above := wrappers_above(model.get_env(), normalizer):
        raise UserError(
            f"its observations are normalized below {', '.join(above)}, which only its own "
            "environment can do; allowed: VecNormalize as the outermost wrapper"
        )


def play_episodes(model: BaseAlgorithm, envs: VecEnv, seed: int) -> Episodes:
    """Play one episode of every environment with a model's deterministic policy.

    The first episode of each environment counts, however long it is, so that short episodes are
    not over-represented. Observations are normalized with the statistics of the model's training
    environment, which are not updated; rewards stay raw. The result depends only on the policy,
    the statistics and the seed.

    In environments of :func:`evaluation_envs` the returns and lengths are those of the environment
    below its wrappers, as in RL Zoo: a wrapper that changes rewards changes what is learned from,
    but not what is measured. A policy of sb3-contrib that takes action masks has those of the
    environment's ``action_masks()``, as there.

    :param model: Model to evaluate
    :param envs: Environments, neither normalized nor shared with training
    :param seed: Seed of the first environment; environment ``i`` is seeded with ``seed + i``
    :return: Episodes, one of each environment
    :raises RuntimeError: An episode is longer than ``MAX_EPISODE_STEPS``
    :raises UserError: The model normalizes observations below another wrapper
    """
    check_evaluation(model)
    masked = takes_masks(model) and envs.has_attr("action_masks")
    normalizer = model.get_vec_normalize_env()
    returns = np.zeros(envs.num_envs, dtype=np.float64)
    lengths = np.zeros(envs.num_envs, dtype=np.int64)
    last: list[dict[str, Any]] = [{} for _ in range(envs.num_envs)]
    running = np.ones(envs.num_envs, dtype=bool)
    starts = np.ones(envs.num_envs, dtype=bool)
    state = None
    envs.seed(seed)
    obs: Any = envs.reset()
    own = _own_episodes(envs)
    if not all(env.seeded for env in own):  # in the middle of an episode of the last evaluation
        for env in own:
            env.end()
        envs.step(np.array([envs.action_space.sample() for _ in range(envs.num_envs)]))
        envs.seed(seed)
        obs = envs.reset()
    for env in own:
        env.forget()
    while running.any():
        if normalizer is not None:
            obs = normalizer.normalize_obs(obs)
        masks = {"action_masks": np.stack(envs.env_method("action_masks"))} if masked else {}
        actions, state = model.predict(obs, state, starts, deterministic=True, **masks)
        envs.step_async(actions)
        obs, rewards, starts, infos = step_wait(envs)
        returns[running] += rewards[running]
        lengths[running] += 1
        if lengths.max() > MAX_EPISODE_STEPS:
            raise RuntimeError(unending(int(lengths.argmax()), MAX_EPISODE_STEPS))
        for i in np.flatnonzero(running & starts):
            if own:
                if not own[i].ended:
                    continue  # a wrapper has divided the episode
                returns[i], lengths[i] = own[i].ended[0]
            running[i], last[i] = False, infos[i]
    return Episodes(returns, lengths, last)


def _own_episodes(envs: VecEnv) -> list[OwnEpisodes]:
    """Return what records the environments' own episodes, found by its class: a wrapper above it
    may have attributes of the same names.
    """
    inner = envs.unwrapped
    singles = inner.envs if isinstance(inner, DummyVecEnv) else []
    return [layer for env in singles for layer in layers_of(env) if isinstance(layer, OwnEpisodes)]


def takes_masks(model: Any) -> bool:
    """Return whether a model takes action masks, as sb3-contrib's MaskablePPO does.

    :param model: Model or policy, of SB3 or sb3-contrib
    :return: Whether its ``predict`` does
    """
    return "action_masks" in inspect.signature(model.predict).parameters


@contextmanager
def unnormalized(envs: VecEnv) -> Iterator[None]:
    """Make a ``VecNormalize`` pass raw observations and rewards, and keep its statistics.

    :param envs: Environments, with or without one, at any depth
    :yield: Nothing
    """
    venv = unwrap_vec_normalize(envs)
    if venv is None:
        yield
        return
    kept = venv.training, venv.norm_obs, venv.norm_reward
    venv.training = venv.norm_obs = venv.norm_reward = False
    try:
        yield
    finally:
        venv.training, venv.norm_obs, venv.norm_reward = kept


@contextmanager
def undisturbed(model: BaseAlgorithm) -> Iterator[None]:
    """Restore the global random states and the policy's mode on exit.

    :param model: Model in training
    :yield: Nothing
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    training = model.policy.training
    try:
        with forked_rng(model.device):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        model.policy.train(training)


def forked_rng(device: torch.device) -> AbstractContextManager[None]:
    """Restore PyTorch's random states on exit: the CPU's, and that of a device.

    :param device: Device of a model
    :return: Context manager
    """
    if device.type == "cpu":
        return torch.random.fork_rng(devices=[])
    return torch.random.fork_rng([device], device_type=device.type)
