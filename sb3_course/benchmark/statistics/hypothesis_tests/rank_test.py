r"""Exact rank test of new runs against stored ones, whose errors are known for any returns.

Let x be the results of n stored runs and y those of k new ones (Mann and Whitney 1947):

.. math:: U = \#\{(i, j) : x_i \le y_j\}

If nothing has changed, all n + k results are independent draws from one distribution, so every
choice of k of them is equally likely to be the new ones. The law of U is then a matter of counting,
and no assumption about the distribution of returns is needed, which is neither normal nor smooth.

===============  ============================================================================
symbol           variable
===============  ============================================================================
n, k             ``n``, ``k``: number of stored and of new runs
U                :func:`pairs_won`, for new runs that are worse; with signs changed, for better
u*               :func:`critical_value`: a test with U <= u* is an alarm
===============  ============================================================================
"""

from collections.abc import Sequence
from functools import lru_cache
from math import comb

import numpy as np

from sb3_course.collection.observations import Array


@lru_cache(maxsize=64)
def arrangements(n: int, k: int) -> tuple[int, ...]:
    r"""Count the choices of k among n + k runs by their U.

    They are the coefficients of the Gaussian binomial

    .. math:: \prod_{i=1}^{k} \frac{1 - q^{n+i}}{1 - q^i}

    :param n: Number of stored runs
    :param k: Number of new runs
    :return: Number of choices for each U = 0 … nk; their sum is n + k over k
    """
    counts = [1] + [0] * (n * k)
    for i in range(1, k + 1):
        for u in range(n * k, n + i - 1, -1):  # times 1 - q^(n+i)
            counts[u] -= counts[u - n - i]
        for u in range(i, n * k + 1):  # divided by 1 - q^i
            counts[u] += counts[u - i]
    return tuple(counts)


def critical_value(n: int, k: int, false_alarm: float) -> int:
    """Return u*, the largest u with P(U <= u) at most ``false_alarm`` if nothing has changed.

    :param n: Number of stored runs
    :param k: Number of new runs
    :param false_alarm: Largest probability of a false alarm on one side
    :return: u*; -1 if even U = 0 is too probable, so that there are too few runs for an alarm
    """
    total, cumulative = comb(n + k, k), 0
    for u, count in enumerate(arrangements(n, k)):
        cumulative += count
        if cumulative > false_alarm * total:
            return u - 1
    return n * k


def has_alarm(n: int, k: int, false_alarm: float) -> bool:
    """Return whether an alarm is possible: whether U = 0, one choice of all, is improbable enough.

    :param n: Number of stored runs
    :param k: Number of new runs
    :param false_alarm: Largest probability of a false alarm on one side
    :return: Whether :func:`critical_value` is 0 or more, without counting the choices
    """
    return false_alarm * comb(n + k, k) >= 1


def size(n: int, k: int, u: int) -> float:
    """Compute P(U <= u) if nothing has changed.

    :param n: Number of stored runs
    :param k: Number of new runs
    :param u: Value of U
    :return: Probability
    """
    return sum(arrangements(n, k)[: u + 1]) / comb(n + k, k)


def pairs_won(stored: Array, new: Array) -> Array:
    """Count the stored runs that each new run equals or exceeds; U is the sum of the counts.

    A tie counts for the new run, so it can prevent an alarm and never cause one.

    :param stored: Results x, of shape (n,)
    :param new: Results y, of shape (k,)
    :return: Counts, of shape (k,)
    """
    counts: Array = np.searchsorted(np.sort(stored), new, side="right")
    return counts


def alarm(stored: Array, new: Array, false_alarm: float) -> int:
    """Test whether new runs are worse or better than the stored ones.

    :param stored: Results x, of shape (n,)
    :param new: Results y, of shape (k,)
    :param false_alarm: Largest probability of a false alarm, of both sides together
    :return: -1 if they are worse, 1 if they are better, 0 if there is no alarm
    """
    u = critical_value(len(stored), len(new), false_alarm / 2)
    if pairs_won(stored, new).sum() <= u:
        return -1
    return int(pairs_won(-stored, -new).sum() <= u)


def alarm_probability(
    stored: Array, law: Sequence[float] | Array, k: int, false_alarm: float
) -> float:
    """Compute the probability of an alarm exactly, for k new runs drawn from a given law.

    With the stored runs themselves as the law, this is the probability of a false alarm; with the
    results of runs that have a fault, it is the probability that the fault is caught (the power).

    :param stored: Results x, of shape (n,)
    :param law: Results that new runs have with equal probability, drawn with replacement
    :param k: Number of new runs
    :param false_alarm: Largest probability of a false alarm of the test, of both sides together
    :return: Probability of an alarm, without smoothing or simulation
    """
    u = critical_value(len(stored), k, false_alarm / 2)
    values = np.asarray(law, dtype=float)
    worse = _sum_at_most(pairs_won(stored, values), k, u)
    better = _sum_at_most(pairs_won(-stored, -values), k, u)
    return worse + better


def _sum_at_most(counts: Array, k: int, u: int) -> float:
    """Compute the probability that the sum of k draws from the counts is at most u."""
    if u < 0:
        return 0.0
    one = np.bincount(counts[counts <= u], minlength=u + 1) / len(counts)
    total = np.ones(1)
    for _ in range(k):
        total = np.convolve(total, one)[: u + 1]
    return float(total.sum())
