"""rliable's statistics with stratified bootstrap intervals, all resamples in one array.

Scores of one algorithm are an array of shape ``(n_runs, n_environments, ...)``, where the axes
after the second, such as evaluation steps, are kept apart. A statistic reduces the first two axes
and keeps the others, so that it takes many resamples, side by side on a last axis, in one call.

The definitions, the resamples (the same draws from the same seed) and the percentile intervals are
rliable's; ``rliable.library.get_interval_estimates`` takes one resample at a time, which for a
table of ten algorithms means minutes.

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
_CHUNK = 100  # resamples at a time: what fits a processor's cache is fastest


class Estimate(NamedTuple):
    """A statistic and the bounds of its 95% percentile interval.

    With a single run the bounds are NaN: one run says nothing about the spread of runs.
    """

    point: Array
    low: Array
    high: Array


def iqm(scores: Array) -> Array:
    """Mean of the middle half of all scores, runs and environments pooled.

    :param scores: array ``(n_runs, n_environments, ...)``
    """
    pooled = scores.reshape(-1, *scores.shape[2:])
    first, last = len(pooled) // 4, len(pooled) - len(pooled) // 4 - 1
    return np.asarray(np.partition(pooled, (first, last), axis=0)[first : last + 1].mean(axis=0))


def median(scores: Array) -> Array:
    """Median over environments of the mean over runs.

    :param scores: array ``(n_runs, n_environments, ...)``
    """
    return np.asarray(metrics.aggregate_median(scores))


def mean(scores: Array) -> Array:
    """Mean over environments of the mean over runs.

    :param scores: array ``(n_runs, n_environments, ...)``
    """
    return np.asarray(metrics.aggregate_mean(scores))


def optimality_gap(scores: Array) -> Array:
    """Mean amount by which scores fall short of 1: ``1 - E[min(score, 1)]``; less is better.

    :param scores: array ``(n_runs, n_environments, ...)``
    """
    return np.asarray(1.0 - np.minimum(scores, 1.0).mean(axis=(0, 1)))


STATISTICS: dict[str, Statistic] = {
    "IQM": iqm,
    "Median": median,
    "Mean": mean,
    "Optimality gap": optimality_gap,
}
"""The aggregates, by the names that tables and figures give them."""


def aggregates(scores: Array) -> Array:
    """All of :data:`STATISTICS`, in their order.

    :param scores: array ``(n_runs, n_environments, ...)``
    :return: array ``(n_statistics, ...)``
    """
    return np.stack([statistic(scores) for statistic in STATISTICS.values()])


def performance_profile(scores: Array, thresholds: Array) -> Array:
    """Performance profile: the fraction of scores above each threshold.

    :param scores: array ``(n_runs, n_environments, ...)``
    :param thresholds: array ``(n_thresholds,)``
    :return: array ``(n_thresholds, ...)``
    """
    return np.stack([(scores > threshold).mean(axis=(0, 1)) for threshold in thresholds])


def probability_of_improvement(x: Array, y: Array) -> Array:
    """Probability that a run of X scores higher than one of Y, averaged over environments.

    ``P(X > Y) + P(X = Y) / 2``, the Mann-Whitney statistic over the number of pairs.

    :param x: array ``(n_runs_x, n_environments, ...)``
    :param y: array ``(n_runs_y, n_environments, ...)``
    """
    x, y = x[:, np.newaxis], y[np.newaxis]
    return np.asarray((0.5 * (x > y) + 0.5 * (x >= y)).mean(axis=(0, 1)).mean(axis=0))


def difference(x: Array, y: Array) -> Array:
    """By how much the interquartile mean of X is above that of Y.

    :param x: array ``(n_runs_x, n_environments, ...)``
    :param y: array ``(n_runs_y, n_environments, ...)``
    """
    return iqm(x) - iqm(y)


def estimate(statistic: Statistic, *scores: Array, reps: int = REPS, seed: int = 0) -> Estimate:
    """Apply a statistic to scores and to bootstrap resamples of them.

    Runs are drawn with replacement within each environment (and each step of a curve); several
    arrays are resampled independently of each other. Every call draws from the same seed, so that
    no algorithm's interval depends on which others are in the table.

    :param statistic: of arrays of this module's shape
    :param scores: an array ``(n_runs, n_environments, ...)``, or one for each of its arguments
    :param reps: bootstrap replications
    :param seed: of the resamples
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

    :param scores: arrays ``(n_runs, n_environments, ...)``
    :param reps: how many
    :param seed: of NumPy's legacy generator, which rliable uses
    :return: for each chunk of resamples and each array, ``(n_runs, n_environments, ..., chunk)``
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
