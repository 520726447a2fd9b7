"""Measure the return of random actions, the zero of normalized scores."""

from collections.abc import Iterator

import gymnasium
import numpy as np

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.statistics import metrics
from sb3_course.benchmark.statistics.bootstrap import estimate
from sb3_course.benchmark.statistics.scores import load_references
from sb3_course.benchmark.storage.references import MeasuredReference
from sb3_course.collection.observations import Array
from sb3_course.common.errors import UserError
from sb3_course.envs.gymnasium_env import make_env

Env = gymnasium.Env[object, object]


def random_returns(env: Env, episodes: int, seed: int = 0) -> Array:
    """Play episodes of actions that are uniformly random within their bounds.

    Episode i resets the environment with seed ``seed + i`` and samples from an action space with
    the same seed, so that each episode is the same in every measurement.

    :param env: Environment
    :param episodes: Number of episodes
    :param seed: Seed of the first episode
    :return: Undiscounted returns of shape ``(episodes,)``
    """
    returns = np.zeros(episodes)
    for i in range(episodes):
        env.reset(seed=seed + i)
        env.action_space.seed(seed + i)
        done = False
        while not done:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            returns[i] += float(reward)
            done = terminated or truncated
    return returns


def measured(env: Env, episodes: int, seed: int) -> MeasuredReference:
    """Measure the mean return of random actions.

    :param env: Environment
    :param episodes: Number of episodes
    :param seed: Seed of the first episode
    :return: Mean with its interval, and Gymnasium's reward threshold if there is one
    :raises UserError: If a return is not finite
    """
    returns = random_returns(env, episodes, seed)
    if not np.isfinite(returns).all():
        raise UserError(f"a return of random actions is {returns[~np.isfinite(returns)][0]}")
    interval = estimate(metrics.mean, returns[:, np.newaxis])
    low, high = interval.low, interval.high
    return MeasuredReference(
        random=float(interval.point),
        low=float(low if np.isfinite(low) else returns[0]),
        high=float(high if np.isfinite(high) else returns[0]),
        episodes=episodes,
        seed=seed,
        threshold=None if env.spec is None else env.spec.reward_threshold,
    )


def measure(grid: Grid, episodes: int, seed: int) -> Iterator[tuple[str, MeasuredReference]]:
    """Measure random actions on every environment of a grid that has no reference return for them.

    :param grid: Grid
    :param episodes: Number of episodes on each
    :param seed: Seed of the first episode
    :yield: Environment and what was measured
    """
    shipped = load_references().environments
    for name in grid.environments:
        declared = grid.references.get(name)
        if declared.random is None if declared else name not in shipped:
            env = make_env(name, disable_env_checker=True)
            try:
                yield name, measured(env, episodes, seed)
            finally:
                env.close()
