from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from scipy import stats

from sb3_course.benchmark.statistics.hypothesis_tests.rank_test import (
    alarm,
    alarm_probability,
    arrangements,
    critical_value,
    has_alarm,
    pairs_won,
    size,
)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (4, 2), (3, 3), (2, 5), (6, 3)])
def test_arrangements_are_counted_as_by_enumeration(n, k):
    counts = [0] * (n * k + 1)
    for new in combinations(range(n + k), k):
        stored = [rank for rank in range(n + k) if rank not in new]
        counts[sum(x < y for x, y in product(stored, new))] += 1
    assert arrangements(n, k) == tuple(counts)
    assert sum(counts) == comb(n + k, k)


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_the_law_of_u_is_scipys(shift):
    rng = np.random.default_rng(0)
    stored, new = rng.normal(size=20), rng.normal(size=6) - shift
    theirs = stats.mannwhitneyu(new, stored, alternative="less", method="exact")
    u = int(pairs_won(stored, new).sum())
    assert u == theirs.statistic
    assert size(20, 6, u) == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize(("n", "k"), [(5, 2), (30, 5), (42, 8)])
@pytest.mark.parametrize("false_alarm", [0.2, 0.05, 1e-3, 1e-6])
def test_the_critical_value_is_the_largest_that_keeps_the_false_alarms(n, k, false_alarm):
    u = critical_value(n, k, false_alarm)
    assert size(n, k, u) <= false_alarm < size(n, k, u + 1)


@pytest.mark.parametrize("false_alarm", [1.0, 0.1, 0.05, 1e-3])
def test_an_alarm_is_possible_if_there_is_a_critical_value(false_alarm):
    for n, k in product(range(1, 8), range(1, 5)):
        assert has_alarm(n, k, false_alarm) == (critical_value(n, k, false_alarm) >= 0)


def test_too_few_runs_can_raise_no_alarm():
    assert critical_value(3, 2, 0.05) == -1  # one choice in ten is the lowest
    assert alarm(np.array([5.0, 6.0, 7.0]), np.array([-1e9, -1e9]), 0.1) == 0
    assert alarm_probability(np.array([5.0, 6.0, 7.0]), [-1e9], 2, 0.1) == 0.0


def test_what_may_always_alarm_always_does():
    assert critical_value(3, 2, 1.0) == 6
    assert size(3, 2, 6) == 1.0


STORED = np.arange(30.0)


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ([-1.0] * 5, -1),
        ([0.5] * 5, 0),  # above one of the stored runs, five times: U = 5
        ([-1.0, -1.0, -1.0, 0.5, 0.5], -1),
        ([14.5] * 5, 0),
        ([28.5] * 5, 0),
        ([30.0] * 5, 1),
        ([-1.0, -1.0, 30.0, 30.0, 30.0], 0),
    ],
)
def test_alarms_by_hand(new, expected):
    assert critical_value(30, 5, 1e-4 / 2) == 4
    assert alarm(STORED, np.array(new), 1e-4) == expected


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_ties_raise_no_alarm(value):
    """Equal results have no order: a policy that always solves a task equals the stored ones."""
    same = np.full(30, value)
    assert alarm(same, same[:5], 1e-3) == 0
    assert alarm(STORED, np.zeros(5), 1e-4) == 0  # all equal the lowest, none is below it
    assert alarm_probability(same, same, 5, 1e-3) == 0.0


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, shape: rng.normal(size=shape),
        lambda rng, shape: rng.standard_cauchy(shape),  # no mean, no variance
        lambda rng, shape: rng.integers(3, size=shape),  # ties
        lambda rng, shape: rng.choice([0.0, 500.0], shape, p=[0.05, 0.95]),  # few failures
    ],
    ids=["normal", "cauchy", "ties", "two values"],
)
def test_false_alarms_are_as_rare_as_stated_for_every_law(draw):
    rng = np.random.default_rng(1)
    repeats, stated = 20_000, 0.02
    rate = np.mean([alarm(draw(rng, 12), draw(rng, 4), stated) != 0 for _ in range(repeats)])
    exact = 2 * size(12, 4, critical_value(12, 4, stated / 2))
    assert exact <= stated
    assert rate <= exact + 4 * np.sqrt(exact / repeats)


def test_the_probability_of_an_alarm_is_that_of_a_simulation():
    rng = np.random.default_rng(2)
    law = np.array([-1.0, -2.0, 0.5, 1.5, 31.0])
    exact = alarm_probability(STORED, law, 5, 1e-2)
    draws = rng.choice(law, (20_000, 5))
    assert exact == pytest.approx(np.mean([alarm(STORED, d, 1e-2) != 0 for d in draws]), abs=0.015)
    assert 0.1 < exact < 0.9
    assert alarm_probability(STORED, [-1.0, 31.0], 5, 1e-2) == pytest.approx(2 / 2**5)
