"""rliable's statistics of scores: aggregates, performance profile, probability of improvement.

The scores of one algorithm are an array of shape ``(n_runs, n_environments, ...)``; the axes after
the second, such as evaluation steps, are kept separate. A statistic reduces the first two axes and
keeps the others, so it can be applied in one call to many resamples stacked on a last axis. A new
aggregate is a function here and an entry of :data:`STATISTICS`.

Source: Agarwal et al. 2021, *Deep Reinforcement Learning at the Edge of the Statistical Precipice*.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rliable import metrics

Array = NDArray[np.float64]
Statistic = Callable[..., Array]


def rounded(values: Array) -> Array:
    """Round to twelve significant digits, so that equal runs have equal means in whatever order.

    :param values: Numbers
    :return: Array of the same shape
    """
    values = np.asarray(values, dtype=float)
    sound = np.isfinite(values) & (values != 0)
    exponents = np.zeros(values.shape)
    np.log10(np.abs(values), out=exponents, where=sound)
    scale = 10.0 ** np.clip(11 - np.floor(exponents), -300, 300)
    return np.where(sound, np.round(values * scale) / scale, values)


def iqm(scores: Array) -> Array:
    """Compute the interquartile mean of all scores, with runs and environments pooled.

    :param scores: Array of shape ``(n_runs, n_environments, ...)``
    :return: Mean of the middle half of the scores
    """
    pooled = scores.reshape(-1, *scores.shape[2:])
    first, last = len(pooled) // 4, len(pooled) - len(pooled) // 4 - 1
    # Sorted, which NumPy does with vector instructions: in a sixth of the time of a partition.
    return np.asarray(np.sort(pooled, axis=0)[first : last + 1].mean(axis=0))


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
