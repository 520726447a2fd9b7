"""Stratified bootstrap intervals of statistics, vectorized over resamples.

The resamples (the same draws from the same seed) and the percentile intervals are rliable's, of
which ``library.get_interval_estimates`` processes one resample at a time: minutes for a table of
ten algorithms. Scores and statistics have the shapes of :mod:`.metrics`.

Source: Agarwal et al. 2021, *Deep Reinforcement Learning at the Edge of the Statistical Precipice*.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sb3_course.benchmark.statistics.metrics import Array, Statistic

REPS = 10_000
"""Bootstrap replications of an interval of final scores."""
CURVE_REPS = 2_000
"""Bootstrap replications of each point of a curve."""
CONFIDENCE = 0.95
_CHUNK = 100  # resamples at a time; fastest when they fit the processor's cache


class Estimate(NamedTuple):
    """A statistic and the bounds of its 95% percentile interval.

    With a single run the bounds are NaN, because one run holds no information about the spread of
    runs.
    """

    point: Array
    low: Array
    high: Array


def estimate(statistic: Statistic, *scores: Array, reps: int = REPS, seed: int = 0) -> Estimate:
    """Apply a statistic to scores and to bootstrap resamples of them.

    Runs are drawn with replacement within each environment (and each step of a curve); several
    arrays are resampled independently of each other. Every call draws from the same seed, so an
    algorithm's interval does not depend on which others are in the table.

    :param statistic: Function of one or more arrays of shape ``(n_runs, n_environments, ...)``
    :param *scores: Array of shape ``(n_runs, n_environments, ...)`` for each argument of the
        statistic
    :param reps: Number of bootstrap replications
    :param seed: Seed of the resamples
    :return: Statistic of the scores with the bounds of its interval
    """
    point = statistic(*scores)
    if any(len(array) == 1 for array in scores):
        return Estimate(point, np.full_like(point, np.nan), np.full_like(point, np.nan))
    values = [statistic(*chunk) for chunk in resamples(scores, reps, seed)]
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.quantile(np.concatenate(values, axis=-1), tails, axis=-1)
    return Estimate(point, low, high)


def estimate_over_environments(
    statistic: Statistic, *runs: Sequence[Array], reps: int = REPS, seed: int = 0
) -> Estimate:
    """Estimate the mean over environments of a statistic; each may have its own number of runs.

    :param statistic: Function of one or more arrays of shape ``(n_runs, 1, ...)``
    :param *runs: For each argument of the statistic, an array of shape ``(n_runs,)`` for each
        environment
    :param reps: Number of bootstrap replications
    :param seed: Seed of the resamples
    :return: Mean of the statistic with the bounds of its interval
    """
    by_environment = [
        [array[:, np.newaxis] for array in arrays] for arrays in zip(*runs, strict=True)
    ]
    point = np.mean([statistic(*arrays) for arrays in by_environment], axis=0)
    if any(len(array) == 1 for arrays in by_environment for array in arrays):
        return Estimate(point, np.full_like(point, np.nan), np.full_like(point, np.nan))
    values = np.mean(
        [
            np.concatenate([statistic(*chunk) for chunk in resamples(arrays, reps, seed + i)], -1)
            for i, arrays in enumerate(by_environment)
        ],
        axis=0,
    )
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.quantile(values, tails, axis=-1)
    return Estimate(point, low, high)


def resamples(scores: Sequence[Array], reps: int, seed: int) -> Iterator[list[Array]]:
    """Draw stratified resamples, in the order in which rliable draws them.

    :param scores: Arrays of shape ``(n_runs, n_environments, ...)``
    :param reps: Number of resamples
    :param seed: Seed of NumPy's legacy generator, which rliable uses
    :yield: For each chunk of resamples, one array ``(n_runs, n_environments, ..., chunk)`` per
        input
    """
    generator = np.random.RandomState(seed)
    sizes = [array.size for array in scores]
    n_runs = np.repeat([len(array) for array in scores], sizes)
    for start in range(0, reps, _CHUNK):
        chunk = min(_CHUNK, reps - start)
        drawn = generator.randint(n_runs, size=(chunk, sum(sizes))).T
        rows = np.split(drawn, np.cumsum(sizes)[:-1])
        yield [
            np.take_along_axis(array[..., np.newaxis], row.reshape(*array.shape, chunk), axis=0)
            for array, row in zip(scores, rows, strict=True)
        ]
