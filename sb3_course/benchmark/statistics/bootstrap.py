"""Stratified bootstrap intervals of statistics, vectorized over resamples.

The resamples (the same draws from the same seed) and the percentile intervals are rliable's, of
which ``library.get_interval_estimates`` processes one resample at a time: minutes for a table of
ten algorithms. Scores and statistics have the shapes of :mod:`.metrics`.

Source: Agarwal et al. 2021, *Deep Reinforcement Learning at the Edge of the Statistical Precipice*.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sb3_course.benchmark.statistics.metrics import Array, Statistic, rounded

REPS = 10_000
"""Bootstrap replications of an interval of final scores."""
CURVE_REPS = 2_000
"""Bootstrap replications of each point of a curve."""
CONFIDENCE = 0.95
_CHUNK = 50_000  # numbers of the resamples at a time; fastest when they fit the processor's cache


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
    return estimates(statistic, [scores], reps, seed)[0]


def estimates(
    statistic: Statistic, samples: Sequence[Sequence[Array]], reps: int = REPS, seed: int = 0
) -> list[Estimate]:
    """Estimate a statistic of several samples, as :func:`estimate` does of each.

    Samples of equal shapes share their resamples, which are drawn and put in place once.

    :param statistic: Function of one or more arrays of shape ``(n_runs, n_environments, ...)``
    :param samples: For each estimate, the arguments of the statistic
    :param reps: Number of bootstrap replications
    :param seed: Seed of the resamples
    :return: Estimates in the order of the samples
    """
    points = [rounded(statistic(*scores)) for scores in samples]
    found = [Estimate(p, np.full_like(p, np.nan), np.full_like(p, np.nan)) for p in points]
    alike: dict[tuple[tuple[int, ...], ...], list[int]] = defaultdict(list)
    for i, scores in enumerate(samples):
        if all(len(array) > 1 for array in scores):
            alike[tuple(array.shape for array in scores)].append(i)
    for members in alike.values():
        stacked = [
            np.stack(arrays, axis=-1) for arrays in zip(*(samples[i] for i in members), strict=True)
        ]
        values = [statistic(*chunk) for chunk in resamples(stacked, reps, seed)]
        low, high = map(rounded, bounds(np.concatenate(values, axis=-2), axis=-2))
        for place, i in enumerate(members):
            found[i] = Estimate(points[i], low[..., place], high[..., place])
    return found


def improvements(
    pairs: Iterable[tuple[Sequence[Array], Sequence[Array]]], reps: int = REPS, seed: int = 0
) -> list[Estimate]:
    r"""Estimate the mean over environments of P(X > Y); each may have its own numbers of runs.

    If a resample draws run i of X c_i times and run j of Y d_j times, it has

    .. math:: P(X > Y) = \frac{1}{n m} \sum_{i, j} c_i d_j W_{ij}, \qquad
        W_{ij} = 1 \text{ if } x_i > y_j, \ \tfrac 1 2 \text{ if } x_i = y_j \text{, else } 0

    which is exact, since all terms are multiples of one half. The c and d are drawn once for all
    pairs with the same numbers of runs.

    :param pairs: For each estimate, the X and the Y: arrays of shape ``(n_runs,)``, one for each
        environment
    :param reps: Number of bootstrap replications
    :param seed: Seed of the resamples on the first environment; one higher on each that follows
    :return: Estimates in the order of the pairs
    """

    @cache
    def draws(n: int, m: int, environment: int) -> tuple[Array, Array]:
        (drawn,) = drawn_runs([(n,), (m,)], reps, seed + environment, reps)
        return _times_drawn(drawn[:, :n], n), _times_drawn(drawn[:, n:], m)

    return [_improvement(x, y, draws) for x, y in pairs]


def _improvement(
    x: Sequence[Array], y: Sequence[Array], draws: Callable[[int, int, int], tuple[Array, Array]]
) -> Estimate:
    wins = [
        0.5 * (a[:, np.newaxis] > b) + 0.5 * (a[:, np.newaxis] >= b)
        for a, b in zip(x, y, strict=True)
    ]
    point = np.mean([won.mean() for won in wins], axis=0)
    if any(min(won.shape) == 1 for won in wins):
        return Estimate(point, np.full_like(point, np.nan), np.full_like(point, np.nan))
    values = []
    for i, won in enumerate(wins):
        c, d = draws(len(won), won.shape[1], i)
        values.append(np.einsum("rj,rj->r", c @ won, d) / won.size)
    low, high = bounds(np.mean(values, axis=0))
    return Estimate(point, low, high)


def _times_drawn(drawn: NDArray[np.int32], n: int) -> Array:
    """Count how often each of n runs is drawn in each resample."""
    places = drawn + n * np.arange(len(drawn))[:, np.newaxis]
    counts = np.bincount(places.ravel(), minlength=n * len(drawn))
    return counts.reshape(len(drawn), n).astype(np.float64)


def bounds(values: Array, axis: int = -1) -> Array:
    """Compute the bounds of the percentile interval.

    :param values: Values of a statistic of the resamples
    :param axis: Axis of the resamples
    :return: Lower and upper bounds; the other axes follow
    """
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    return np.asarray(np.quantile(values, tails, axis=axis))


def resamples(scores: Sequence[Array], reps: int, seed: int) -> Iterator[list[Array]]:
    """Draw stratified resamples, in the order in which rliable draws them.

    :param scores: Arrays of shape ``(n_runs, n_environments, ..., n_samples)``; the same runs are
        drawn of all samples along the last axis
    :param reps: Number of resamples
    :param seed: Seed of NumPy's legacy generator, which rliable uses
    :yield: For each chunk of resamples, one array
        ``(n_runs, n_environments, ..., chunk, n_samples)`` per input
    """
    shapes = [array.shape[:-1] for array in scores]
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
    by_sample = [np.moveaxis(array, -1, 0).reshape(array.shape[-1], -1) for array in scores]
    chunk = max(1, _CHUNK // (ends[-1] * scores[0].shape[-1]))
    for drawn in drawn_runs(shapes, reps, seed, chunk):
        runs = np.split(drawn, ends[:-1], axis=1)
        # All numbers of a resample are beside each other, where statistics reduce them fastest.
        yield [
            np.moveaxis(
                np.take(values, _places(run, shape), axis=1).reshape(-1, len(run), *shape),
                (0, 1),
                (-1, -2),
            )
            for values, run, shape in zip(by_sample, runs, shapes, strict=True)
        ]


def drawn_runs(
    shapes: Sequence[tuple[int, ...]], reps: int, seed: int, chunk: int
) -> Iterator[NDArray[np.int32]]:
    """Draw one of the runs for each place of some arrays.

    :param shapes: Shapes ``(n_runs, ...)`` of the arrays
    :param reps: Number of resamples
    :param seed: Seed of NumPy's legacy generator
    :param chunk: Number of resamples at a time
    :yield: Indices of runs, an array ``(chunk, n_places)`` with the places of all arrays in turn
    """
    generator = np.random.RandomState(seed)
    sizes = [int(np.prod(shape)) for shape in shapes]
    lengths = {shape[0] for shape in shapes}
    # 32 bits and a single bound take the same draws from the generator in a quarter of the time.
    n_runs = lengths.pop() if len(lengths) == 1 else np.repeat([s[0] for s in shapes], sizes)
    for start in range(0, reps, chunk):
        size = (min(chunk, reps - start), sum(sizes))
        yield generator.randint(n_runs, size=size, dtype=np.int32)


def _places(runs: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the places of drawn runs in a flat array, those after the first axis as they were."""
    n_runs, size = shape[0], runs.shape[1]
    within = np.tile(np.arange(size // n_runs), n_runs)
    return np.asarray(runs * np.int64(size // n_runs) + within)
