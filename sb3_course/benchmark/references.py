"""Measure the return of random actions, the zero of normalized scores."""

from contextlib import suppress
from dataclasses import replace
from typing import cast

import numpy as np

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.statistics import metrics
from sb3_course.benchmark.statistics.bootstrap import estimate
from sb3_course.benchmark.statistics.metrics import Array
from sb3_course.benchmark.statistics.scores import shipped_reference
from sb3_course.benchmark.storage.references import MeasuredReference, described
from sb3_course.collection.collector import MAX_EPISODE_STEPS
from sb3_course.common.errors import UserError, in_words
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
    :raises UserError: If an episode does not end
    """
    inner = replace(env, wrappers=()).make(OwnEpisodes, disable_env_checker=True)
    own, made = cast(OwnEpisodes, inner), env.wrap(inner)
    while (i := len(own.ended)) < episodes:
        made.reset(seed=seed + i)
        made.action_space.seed(seed + i)
        steps = 0
        while len(own.ended) == i:
            if (steps := steps + 1) > MAX_EPISODE_STEPS:
                raise UserError(
                    f"an episode of random actions did not end within {MAX_EPISODE_STEPS:,} "
                    "steps; set a `time_limit` of the environment"
                )
            _, _, terminated, truncated, _ = made.step(made.action_space.sample())
            if (terminated or truncated) and len(own.ended) == i:
                made.reset()  # ends what a wrapper has cut off, and not what it divides
    with suppress(Exception):  # all episodes have been measured
        made.close()
    return np.array([total for total, _ in own.ended[:episodes]])


def measured(env: EnvConfig, episodes: int, seed: int) -> MeasuredReference:
    """Measure the mean return of random actions.

    :param env: Environment, with its settings
    :param episodes: Number of episodes
    :param seed: Seed of the first episode
    :return: Mean with its interval, and Gymnasium's reward threshold if the task has one
    :raises UserError: If a return is not finite, an episode does not end, or the environment raises
    """
    try:
        returns = random_returns(env, episodes, seed)
        threshold = env.reward_threshold
    except (Exception, SystemExit) as error:
        raise UserError(f"random actions on {env.name}: {in_words(error)}") from error
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
        threshold=threshold,
        env=described(env),
    )


def unknown_random(grid: Grid) -> list[str]:
    """Return the environments of a grid that have no return of random actions, shipped or declared.

    :param grid: Grid
    :return: Names of environments
    """
    return [
        name
        for name in grid.environments
        if (
            declared.random is None
            if (declared := grid.references.get(name))
            else shipped_reference(grid, name) is None
        )
    ]
