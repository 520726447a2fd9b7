r"""How probably the permutation test tells two algorithms apart, and the number of runs it needs.

The laws of the returns are unknown, so the runs themselves stand for them: n runs are drawn from
those of X and of Y on each of E environments, with replacement (plug-in power). With the win matrix
W_ij = 1 if x_i > y_j, 1/2 if they are equal and 0 otherwise, the mean of P̂_e is that of W and

.. math::
    \sigma_1^2(n) &= \frac{1}{E^2} \sum_e \frac{(n - 1)(\xi_x + \xi_y) + \xi_{xy}}{n^2}, \quad
    \xi_x = \mathrm{Var}_i \bar W_{i \cdot}, \;
    \xi_y = \mathrm{Var}_j \bar W_{\cdot j}, \;
    \xi_{xy} = \mathrm{Var}_{ij} W_{ij} \\
    \sigma_0^2(n) &= \frac{1}{E^2} \sum_e c_e \, \frac{2 n + 1}{12 \, n^2}
    \qquad \text{if there is no difference, } c_e \text{ the correction for ties} \\
    \text{power}(n) &= \Phi\!\left(\frac{|\delta| - c(n)}{\sigma_1}\right)
    + \Phi\!\left(\frac{-|\delta| - c(n)}{\sigma_1}\right)

The test finds a difference from a critical value d(n) of the mean of P̂_e - 1/2 on. Up to 30 runs
it is counted, and c(n) = d(n) - h; beyond, c(n) = z σ_0 + h, since d(n) is half a step above
z σ_0 + h on average. If there are ties, d(n) shrinks as σ_0 does. The law of the statistic is taken
for normal, which says too little where few runs hardly overlap: 0.65 where the test finds 0.86 of
the differences, with five runs, P(X > Y) = 0.99 and a level of 0.05 / 6. Of two values, such as
success and failure, the test has few critical values, and it says too much: where all runs of one
and 6 of 10 of the other succeed, 0.25 for 0.08 with five runs and 0.58 for 0.37 with ten.

===============  ============================================================================
symbol           variable
===============  ============================================================================
n                ``n``: number of runs of each algorithm on each environment
δ                ``delta``: mean over environments of P̂_e - 1/2
c(n)             ``needed``: critical value, less half a step
h                ``half``: half a step of the statistic, 1 / (2 n² E), a continuity correction
z                quantile of the standard normal law for the level of the test
===============  ============================================================================

Few runs say little about the laws, and so about the power: the intervals come from resampling the
runs and computing all of this again.

Sources: Lehmann 1975, *Nonparametrics*, equation 2.20 (variance) and section 2.3 (power); Noether
1987, *Sample Size Determination for Some Common Nonparametric Tests*.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from sb3_course.benchmark.statistics.hypothesis_tests.permutation_test import (
    LEVEL,
    checked,
    critical_value,
)
from sb3_course.benchmark.statistics.metrics import Array

WANTED = 0.8
"""Power at which a number of runs counts as enough."""
MOST_RUNS = 1000
"""Number of runs above which none is searched for."""
MOST_COUNTED = 30
"""Number of runs up to which the critical value is counted; there, the normal one is right to 1%,
and to 3% where the level is that of one pair among 66."""
REPS = 500
"""Resamples of the runs for an interval."""


class Power(NamedTuple):
    """Power at a number of runs, and the runs for a power of 0.8, each with its 95% interval.

    :param power: Probability that the test tells the algorithms apart, of at most 1,000 runs
    :param power_low: Lower bound
    :param power_high: Upper bound
    :param runs: Number of runs of each algorithm on each environment; infinite if above 1,000
    :param runs_low: Lower bound
    :param runs_high: Upper bound
    """

    power: float
    power_low: float
    power_high: float
    runs: float
    runs_low: float
    runs_high: float


def power_of(x: Sequence[Array], y: Sequence[Array], level: float = LEVEL) -> Power:
    """Estimate the power of the test at the number of runs there are, and the runs it needs.

    :param x: Returns of shape (n_e,) for each environment e, of at least two runs
    :param y: Returns of shape (m_e,) for each environment e, of at least two runs
    :param level: Level of the test, two-sided
    :return: Power and number of runs, with intervals
    :raises ValueError: If a return is NaN, or an environment has fewer than two runs
    """
    x, y = checked(x, fewest=2), checked(y, fewest=2)
    generator = np.random.default_rng(0)
    n = min(MOST_RUNS, *(len(runs) for runs in (*x, *y)))
    curves = [_curve(x, y, level)]
    for _ in range(REPS):
        drawn_x, drawn_y = (
            [generator.choice(runs, len(runs)) for runs in runs_of] for runs_of in (x, y)
        )
        curves.append(_curve(drawn_x, drawn_y, level, ties_of=(x, y)))
    powers = [float(curve[n - 1]) for curve in curves]
    needed = [_enough(curve) for curve in curves]
    (power_low, power_high), (runs_low, runs_high) = (
        map(float, np.quantile(values[1:], [0.025, 0.975], method="nearest"))
        for values in (powers, needed)
    )
    return Power(powers[0], power_low, power_high, needed[0], runs_low, runs_high)


def _enough(curve: Array) -> float:
    """Return the number of runs from which on the power stays at the wanted one."""
    short = np.flatnonzero(curve < WANTED)
    last = short[-1] if len(short) else 0
    return np.inf if last == len(curve) - 1 else float(last + 2)


def _curve(
    x: Sequence[Array],
    y: Sequence[Array],
    level: float,
    ties_of: tuple[Sequence[Array], Sequence[Array]] | None = None,
) -> Array:
    """Compute the power at 1 to :data:`MOST_RUNS` runs; ties are those of the runs themselves."""
    n = np.arange(1, MOST_RUNS + 1.0)
    wins = [(a[:, np.newaxis] > b) + (a[:, np.newaxis] == b) / 2 for a, b in zip(x, y, strict=True)]
    both = [np.concatenate(pair) for pair in zip(*(ties_of or (x, y)), strict=True)]
    delta = np.mean([w.mean() - 0.5 for w in wins])
    single = sum(w.mean(axis=1).var() + w.mean(axis=0).var() for w in wins)
    pairs = sum(w.var() for w in wins)
    untied = sum(map(_untied, both))
    sigma_0 = np.sqrt(untied * (2 * n + 1) / 12) / n / len(wins)
    sigma_1 = np.sqrt((n - 1) * single + pairs) / n / len(wins)
    half = 1 / (2 * n**2 * len(wins))
    needed = norm.isf(level / 2) * sigma_0 + half
    few = slice(MOST_COUNTED)
    counted = np.array([critical_value(int(k), len(wins), level) for k in n[few]])
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.sqrt(untied / len(wins)) * counted - half[few]
        needed[few] = np.maximum(exact, half[few])  # no difference is none, whatever the ties
        power = norm.cdf((abs(delta) - needed) / sigma_1) + norm.cdf(
            (-abs(delta) - needed) / sigma_1
        )
    certain = sigma_1 == 0
    power[certain] = abs(delta) >= needed[certain]  # half a step below the critical value
    result: Array = power
    return result


def _untied(values: Array) -> float:
    """Return the factor by which ties shrink the variance, the same for any number of runs."""
    n = len(values)
    tied = np.unique(values, return_counts=True)[1]
    return float(1 - (tied * (tied - 1) * (tied - 2)).sum() / (n * (n - 1) * (n - 2)))
