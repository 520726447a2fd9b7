"""rliable's statistics with stratified bootstrap intervals, vectorized over resamples.

The scores of one algorithm are an array of shape ``(n_runs, n_environments, ...)``; the axes after
the second, such as evaluation steps, are kept separate. A statistic reduces the first two axes and
keeps the others, so it can be applied in one call to many resamples stacked on a last axis.

The definitions, the resamples (the same draws from the same seed) and the percentile intervals are
rliable's. ``rliable.library.get_interval_estimates`` processes one resample at a time, which takes
minutes for a table of ten algorithms.

Source: Agarwal et al. 2021, *Deep Reinforcement Learning at the Edge of the Statistical Precipice*.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rliable import metrics

Array = NDArray[np.float64]
Statistic = Callable[..., Array]

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


def iqm(scores: Array) -> Array:
    """Compute the interquartile mean of all scores, with runs and environments pooled.

    :param scores: Array of shape ``(n_runs, n_environments, ...)``
    :return: Mean of the middle half of the scores
    """
    pooled = scores.reshape(-1, *scores.shape[2:])
    first, last = len(pooled) // 4, len(pooled) - len(pooled) // 4 - 1
    return np.asarray(np.partition(pooled, (first, last), axis=0)[first : last + 1].mean(axis=0))


def median(scores: Array) -> Array:
    """Compute the median over environments of the mean over runs.

    :param scores: Array of shape ``(n_runs, n_environments, ...)``
    :return: Median of the environments' mean scores
    """
    return np.asarray(metrics.aggregate_median(scores))


def mean(scores: Array) -> Array:
    """Compute the mean over environments of the mean over runs.

    :param scores: Array of shape ``(n_runs, n_environments, ...)``
    :return: Mean of the environments' mean scores
    """
    return np.asarray(metrics.aggregate_mean(scores))


def optimality_gap(scores: Array) -> Array:
    """Compute the mean amount by which scores fall short of 1; lower is better.

    :param scores: Array of shape ``(n_runs, n_environments, ...)``
    :return: ``1 - E[min(score, 1)]``
    """
    return np.asarray(1.0 - np.minimum(scores, 1.0).mean(axis=(0, 1)))


STATISTICS: dict[str, Statistic] = {
    "IQM": iqm,
    "Median": median,
    "Mean": mean,
    "Optimality gap": optimality_gap,
}
"""The aggregates, by the names that tables and figures use."""


def aggregates(scores: Array) -> Array:
    """Compute all of :data:`STATISTICS`, in their order.

    :param scores: Array of shape ``(n_runs, n_environments, ...)``
    :return: Array of shape ``(n_statistics, ...)``
    """
    return np.stack([statistic(scores) for statistic in STATISTICS.values()])


def performance_profile(scores: Array, thresholds: Array) -> Array:
    """Compute the performance profile: the fraction of scores above each threshold.

    :param scores: Array of shape ``(n_runs, n_environments, ...)``
    :param thresholds: Array of shape ``(n_thresholds,)``
    :return: Array of shape ``(n_thresholds, ...)``
    """
    return np.stack([(scores > threshold).mean(axis=(0, 1)) for threshold in thresholds])


def probability_of_improvement(x: Array, y: Array) -> Array:
    """Compute the probability that a run of X scores higher than a run of Y.

    The probability is averaged over environments.

    :param x: Array of shape ``(n_runs_x, n_environments, ...)``
    :param y: Array of shape ``(n_runs_y, n_environments, ...)``
    :return: ``P(X > Y) + P(X = Y) / 2``, the Mann-Whitney statistic divided by the number of pairs
    """
    x, y = x[:, np.newaxis], y[np.newaxis]
    return np.asarray((0.5 * (x > y) + 0.5 * (x >= y)).mean(axis=(0, 1)).mean(axis=0))


def difference(x: Array, y: Array) -> Array:
    """Compute the interquartile mean of X minus that of Y.

    :param x: Array of shape ``(n_runs_x, n_environments, ...)``
    :param y: Array of shape ``(n_runs_y, n_environments, ...)``
    :return: Difference of the two interquartile means
    """
    return iqm(x) - iqm(y)


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
