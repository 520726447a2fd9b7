r"""Group-sequential permutation test: two algorithms compared again after each round of seeds.

A test that is repeated after every round until it finds a difference finds one sooner or later,
even if there is none. Here all looks together have the level alpha. At look k of K, with the
statistic of :mod:`.permutation_test` on all runs so far,

.. math::
    T_k = \left| \sum_e (\hat P_e^{(k)} - 1/2) \right|, \qquad
    b_k = \min\left\{ b : \;
    \Pr_\sigma \left( T_j^\sigma > b_j \text{ for a } j < k, \text{ or } T_k^\sigma > b \right)
    \le \frac{k}{K} \, \alpha \right\}

and the difference is settled at the first look with T_k > b_k. σ exchanges which runs are called X,
within each round on each environment; if X and Y do not differ, all σ are equally likely, so at
most alpha of them are ever above the bounds, whatever the law of the returns. Of the σ, 9,999 are
drawn, with a fixed seed, and the true one is the 10,000th, which keeps the level exact.

===============  ============================================================================
symbol           variable
===============  ============================================================================
K                ``looks``: number of looks that are planned, whether or not all are made
alpha            ``level``
T_k              first column of ``statistics``; the others are those of σ
b_k              ``bound``
===============  ============================================================================

Sources: Mathieu et al. 2023, *AdaStop: Adaptive Statistical Testing for Sound Comparisons of Deep
RL Agents*, Algorithm 1 (which compares means and many agents at once); Lan and DeMets 1983,
*Discrete Sequential Boundaries for Clinical Trials* (spending a level over looks).
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.stats import rankdata

from sb3_course.benchmark.statistics.hypothesis_tests.permutation_test import LEVEL, checked
from sb3_course.benchmark.statistics.metrics import Array

DRAWS = 10_000
"""Number of exchanges that are compared, the true one included."""

Round = Sequence[Array]
"""Returns of the runs of one round, of shape (n,) for each environment."""


def settled_at(
    x: Sequence[Round], y: Sequence[Round], looks: int, level: float = LEVEL
) -> int | None:
    """Return the look at which a difference is settled.

    :param x: Returns of X: for each round, those of each environment
    :param y: Returns of Y: as many rounds and environments
    :param looks: Number of looks that are planned, at least that of the rounds
    :param level: Probability that a difference is settled although there is none
    :return: Look, counted from 1; None if nothing is settled yet
    :raises ValueError: If there are more rounds than looks, a return is NaN, or there is none
    """
    x, y = [checked(runs) for runs in x], [checked(runs) for runs in y]
    if len(x) > looks:
        raise ValueError(f"{len(x)} rounds of {looks} looks")
    statistics = _statistics(x, y)
    inside = np.ones(DRAWS, dtype=bool)
    for look, values in enumerate(statistics, start=1):
        may_cross = int(look / looks * level * DRAWS + 1e-9) - int((~inside).sum())
        bound = np.sort(values[inside])[::-1][may_cross] if may_cross < inside.sum() else -np.inf
        if values[0] > bound + 1e-9:
            return look
        inside &= values <= bound + 1e-9
    return None


def _statistics(x: Sequence[Round], y: Sequence[Round]) -> Array:
    """Compute T_k for the true σ and for drawn ones, as an array ``(n_rounds, DRAWS)``.

    The σ of a round are the same at every later look, so that no look changes what the ones before
    it have found.
    """
    totals = np.zeros((len(x), DRAWS))
    environments = zip(zip(*x, strict=True), zip(*y, strict=True), strict=True)
    for where, (a, b) in enumerate(environments):
        is_x = np.concatenate(
            [
                _labels(*runs, np.random.default_rng([0, where, i]))
                for i, runs in enumerate(zip(a, b, strict=True))
            ],
            axis=1,
        )
        values = np.concatenate([np.concatenate(runs) for runs in zip(a, b, strict=True)])
        ends = np.cumsum([0, *(len(i) + len(j) for i, j in zip(a, b, strict=True))])
        for look, (_, end) in enumerate(pairwise(ends)):
            n = sum(map(len, a[: look + 1]))
            m = int(end) - n
            ranks = is_x[:, :end] @ rankdata(values[:end])
            totals[look] += (ranks - n * (n + 1) / 2) / (n * m) - 0.5
    return np.abs(totals)


def _labels(x: Array, y: Array, generator: np.random.Generator) -> Array:
    """Return which of the runs of a round are called X: the true ones first, then drawn ones."""
    true = np.repeat([1.0, 0.0], [len(x), len(y)])
    labels: Array = generator.permuted(np.tile(true, (DRAWS, 1)), axis=1)
    labels[0] = true
    return labels
