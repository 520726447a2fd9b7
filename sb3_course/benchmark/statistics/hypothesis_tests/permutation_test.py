r"""Exact stratified permutation test of two algorithms, and Holm's correction for many pairs.

On each environment e, with n_e runs of X and m_e runs of Y,

.. math::
    \hat P_e = \frac{\#\{x_i > y_j\} + \#\{x_i = y_j\} / 2}{n_e m_e}, \qquad
    T = \sum_e (\hat P_e - 1/2)

so that T divided by the number of environments is P(X > Y) - 1/2, the number that reports show. If
X and Y have the same law on every environment, every choice of the runs that are called X is
equally likely there. The law of T is then a matter of counting, ties included: n_e m_e P̂_e is the
sum of the midranks of X less n_e (n_e + 1) / 2, and the environments are independent. No scale of
the returns is needed and nothing is assumed about their distribution. Counting takes
n_e^2 m_e (n_e + m_e) steps, where n_e is the smaller number: above about 150 runs of each, the sum
of midranks is taken for normal, with its exact mean and variance, by which a p-value changes by
less than 0.001.

===============  ============================================================================
symbol           variable
===============  ============================================================================
x, y             ``x``, ``y``: for each environment, the returns of the runs
2 n_e m_e P̂_e    :func:`doubled_wins`, an integer
P(abs T >= t)    :func:`p_value`
===============  ============================================================================

Sources: van Elteren 1960 and Lehmann 1975, *Nonparametrics*, section 3.3 (rank tests in blocks);
Holm 1979, *A Simple Sequentially Rejective Multiple Test Procedure*.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import comb, gcd, lcm

import numpy as np
from scipy.signal import fftconvolve
from scipy.stats import norm, rankdata

from sb3_course.benchmark.statistics.metrics import Array

LEVEL = 0.05
"""Probability of a false alarm, of all comparisons of a family together."""
FINEST = 100_000
"""Most values of P̂_e that are told apart; with more, which takes hundreds of runs, they are rounded
and the test errs on the side of no difference."""
MOST_STEPS = 10**9
"""Most steps of counting, which take seconds; beyond, the sum of midranks is taken for normal."""


def doubled_wins(x: Array, y: Array) -> int:
    """Count two for each pair of runs that X wins, and one for each tie.

    :param x: Returns of shape (n,)
    :param y: Returns of shape (m,)
    :return: Twice the Mann-Whitney statistic, 0 to 2 n m
    """
    return int((2 * (x[:, np.newaxis] > y) + (x[:, np.newaxis] == y)).sum())


def checked(runs: Sequence[Array], fewest: int = 1) -> list[Array]:
    """Check that returns can be put in order.

    :param runs: Returns of the runs, for each environment
    :param fewest: Smallest number of runs
    :return: The same as arrays
    :raises ValueError: If one is not a number, or there are too few
    """
    arrays = [np.asarray(values) for values in runs]
    for i, values in enumerate(arrays):
        if values.ndim != 1 or len(values) < fewest or (values != values).any():
            raise ValueError(
                f"environment {i}: given {values.tolist()!r:.200}; allowed: one return per run "
                f"that is not NaN, of at least {fewest}"
            )
    return arrays


def p_value(x: Sequence[Array], y: Sequence[Array]) -> float:
    """Compute the probability of a difference at least as large as the one seen, if there is none.

    :param x: Returns of shape (n_e,) for each environment e
    :param y: Returns of shape (m_e,) for each environment e
    :return: Two-sided p-value, exact up to :data:`MOST_STEPS`
    :raises ValueError: If a return is NaN, or an environment has no run
    """
    x, y = checked(x), checked(y)
    sizes = [(len(a), len(b)) for a, b in zip(x, y, strict=True)]
    ranks = [doubled_midranks(np.concatenate(pair)) for pair in zip(x, y, strict=True)]
    law = _law(
        tuple(sorted((tuple(sorted(r)), *size) for r, size in zip(ranks, sizes, strict=True)))
    )
    seen = sum(_place(doubled_wins(a, b), *s, sizes) for a, b, s in zip(x, y, sizes, strict=True))
    center = _steps(sizes) * len(sizes) / 2
    slack = (
        float(len(sizes)) if _rounded(sizes) else 0.0
    )  # half a step of each, and of what is seen
    distance = np.abs(np.arange(len(law)) - center)
    return float(min(1.0, law[distance >= abs(seen - center) - slack - 1e-9].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Correct p-values for their number: *any* false alarm is as rare as one alone would be.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) \, p_{(j)})

    :param p_values: p-values of a family, NaN where there is no test
    :return: Corrected ones, in the same order
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values)[: np.isfinite(values).sum()]
    factors = np.arange(len(order), 0, -1)
    corrected = np.full(len(values), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * values[order]), 1.0)
    return list(map(float, corrected))


def fewest_runs(comparisons: int, environments: int) -> int:
    """Compute the number of runs below which no difference, however large, is told apart.

    :param comparisons: Number of comparisons of the family
    :param environments: Number of environments
    :return: Smallest number of runs of each algorithm on each environment
    """
    n = 1
    while comparisons * 2 / comb(2 * n, n) ** environments > LEVEL:
        n += 1
    return n


@lru_cache(maxsize=4096)
def critical_value(n: int, environments: int, level: float) -> float:
    """Compute from which difference on the test tells apart n runs of each, without ties.

    :param n: Number of runs of each algorithm on each environment
    :param environments: Number of environments
    :param level: Level of the test, two-sided
    :return: Smallest abs(T) divided by the number of environments; infinite if none is enough
    """
    untied = tuple(range(2, 4 * n + 1, 2)), n, n
    above = _law((untied,) * environments)[: n**2 * environments : -1]  # by symmetry: T > 0
    enough = np.flatnonzero((2 * np.cumsum(above) <= level * (1 + 1e-9)) & (above > 0))
    if not len(enough):
        return np.inf
    return float(0.5 - enough[-1] / (2 * n**2 * environments))


def doubled_midranks(values: Array) -> tuple[int, ...]:
    """Return twice the ranks of values, those of ties averaged, which are integers.

    :param values: Values of shape (n,)
    :return: Twice their midranks
    """
    return tuple(int(rank) for rank in np.rint(2 * rankdata(values)))


def _steps(sizes: Sequence[tuple[int, int]]) -> int:
    """Return into how many equal steps the values of P̂_e are put, the same on all environments."""
    return min(FINEST, lcm(*(2 * n * m for n, m in sizes)))


def _rounded(sizes: Sequence[tuple[int, int]]) -> bool:
    return any(_steps(sizes) % (2 * n * m) for n, m in sizes)


def _place(doubled: int, n: int, m: int, sizes: Sequence[tuple[int, int]]) -> int:
    return round(doubled * _steps(sizes) / (2 * n * m))


Stratum = tuple[tuple[int, ...], int, int]
"""Sorted doubled midranks, and the numbers of runs of X and Y, of an environment."""


@lru_cache(maxsize=512)
def _law(strata: tuple[Stratum, ...]) -> Array:
    """Compute the law of the sum of the environments' P̂_e, in steps, if X and Y do not differ."""
    sizes = [(n, m) for _, n, m in strata]
    total = np.ones(1)
    for ranks, n, m in strata:
        law = _wins(ranks, n)
        places = np.rint(np.arange(len(law)) * _steps(sizes) / (2 * n * m)).astype(int)
        total = _of_sum(total, np.bincount(places, law, _steps(sizes) + 1).astype(float))
    return total


def _of_sum(a: Array, b: Array) -> Array:
    """Compute the law of the sum of two independent numbers of steps."""
    likely = np.flatnonzero(b)
    result: Array = np.zeros(len(a) + len(b) - 1)
    if len(a) * len(likely) > MOST_STEPS:
        result[:] = np.maximum(fftconvolve(a, b), 0.0)
        return result
    for steps in likely:
        result[steps : steps + len(a)] += b[steps] * a
    return result


@lru_cache(maxsize=512)
def _wins(ranks: tuple[int, ...], n: int) -> Array:
    """Compute the law of the doubled wins of n runs that are chosen at random among all."""
    # Without ties all ranks are even and the law has every second value alone.
    unit = gcd(2, *ranks)
    m = len(ranks) - n
    few = min(n, m)
    if few**2 * max(n, m) * (n + m) > MOST_STEPS:
        return _normal(ranks, n, unit)
    law = np.zeros(2 * n * m + 1)
    counted = _counted(ranks, few, unit)
    law[: len(counted)] = counted
    return law if few == n else law[::-1]  # what X does not win, Y does


def _normal(ranks: tuple[int, ...], n: int, unit: int) -> Array:
    """Compute the law as if it were normal, with the mean n m and the variance of a sample."""
    m = len(ranks) - n
    scale = max(np.sqrt(n * m / (n + m) * np.var(ranks, ddof=1)), 1e-9)  # 0 if all are equal
    law = np.zeros(2 * n * m + 1)
    values = np.arange(-(n * m), n * m + 1, unit)
    law[::unit] = np.diff(norm.cdf(np.append(values - unit / 2, n * m + unit / 2), scale=scale))
    result: Array = law / law.sum()
    return result


def _counted(ranks: tuple[int, ...], n: int, unit: int) -> Array:
    """Count the choices of n runs by the sum of their ranks."""
    units = [rank // unit for rank in ranks]
    most = sum(units[-n:])
    counts = np.zeros((n + 1, most + 1))  # by number of chosen runs, and sum of their ranks
    counts[0, 0] = 1.0
    ends = [sum(units[max(0, taken - n) : taken]) for taken in range(len(units) + 1)]
    for taken, rank in enumerate(units):
        end, k = ends[taken] + 1, min(n, taken + 1)
        # Chosen among those before or with this one; the sums so far are below their largest one.
        counts[1 : k + 1, rank : rank + end] += counts[:k, :end][:, : most + 1 - rank]
    law = np.zeros(unit * most + 1)
    law[::unit] = counts[n] / comb(len(ranks), n)
    result: Array = law[n * (n + 1) :]
    return result
