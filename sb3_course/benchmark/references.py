"""Measure the return of random actions, the zero of normalized scores."""

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import numpy as np

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.statistics import metrics
from sb3_course.benchmark.statistics.bootstrap import estimate
from sb3_course.benchmark.statistics.scores import shipped_reference
from sb3_course.benchmark.storage.references import MeasuredReference
from sb3_course.collection.observations import Array
from sb3_course.common.errors import UserError
from sb3_course.common.evaluation import OwnEpisodes
from sb3_course.envs.config import EnvConfig


def random_returns(env: EnvConfig, episodes: int, seed: int = 0) -> Array:
    """Play episodes of actions that are uniformly random within their bounds.

    Episode i resets the environment with seed ``seed + i`` and samples from an action space with
    the same seed, so that each episode is the same in every measurement. Returns are those below
    the wrappers, as in an evaluation.

    :param env: Environment, with its settings
    :param episodes: Number of episodes
    :param seed: Seed of the first episode
    :return: Undiscounted returns of shape ``(episodes,)``
    """
    inner = replace(env, wrappers=()).make(OwnEpisodes, disable_env_checker=True)
    own, made = cast(OwnEpisodes, inner), env.wrap(inner)
    while (i := len(own.ended)) < episodes:
        made.reset(seed=seed + i)
        made.action_space.seed(seed + i)
        while len(own.ended) == i:
            _, _, terminated, truncated, _ = made.step(made.action_space.sample())
            if (terminated or truncated) and len(own.ended) == i:
                made.reset()  # ends what a wrapper has cut off, and not what it divides
    made.close()
    return np.array([total for total, _ in own.ended[:episodes]])


def measured(env: EnvConfig, episodes: int, seed: int) -> MeasuredReference:
    """Measure the mean return of random actions.

    :param env: Environment, with its settings
    :param episodes: Number of episodes
    :param seed: Seed of the first episode
    :return: Mean with its interval, and Gymnasium's reward threshold if the task has one
    :raises UserError: If a return is not finite
    """
    returns = random_returns(env, episodes, seed)
    if not np.isfinite(returns).all():
        raise UserError(
            f"a return of random actions on {env.name} is {returns[~np.isfinite(returns)][0]}"
        )
    interval = estimate(metrics.mean, returns[:, np.newaxis])
    low, high = interval.low, interval.high
    return MeasuredReference(
        random=float(interval.point),
        low=float(low if np.isfinite(low) else returns[0]),
        high=float(high if np.isfinite(high) else returns[0]),
        episodes=episodes,
        seed=seed,
        threshold=env.reward_threshold,
    )


def measure(grid: Grid, episodes: int, seed: int) -> Iterator[tuple[str, MeasuredReference]]:
    """Measure random actions on every environment of a grid that has no reference return for them.

    :param grid: Grid
    :param episodes: Number of episodes on each
    :param seed: Seed of the first episode
    :yield: Environment and what was measured
    """
    for name, environment in grid.environments.items():
        declared = grid.references.get(name)
        if declared.random is None if declared else shipped_reference(grid, name) is None:
            yield name, measured(environment.config(name), episodes, seed)
