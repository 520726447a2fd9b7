from itertools import product

import numpy as np
import pytest

from sb3_course.benchmark.statistics.hypothesis_tests.sequential_test import (
    _statistics,
    settled_at,
)


def rounds(shift, n_rounds, n=5, environments=2, seed=0):
    values = np.random.default_rng(seed).normal(shift, 1, (n_rounds, environments, n))
    return [list(one) for one in values]


def test_a_large_difference_is_settled_at_the_first_look():
    assert settled_at(rounds(9, 1), rounds(0, 1, seed=1), looks=6) == 1


def test_a_smaller_one_later_and_more_rounds_change_nothing_of_it():
    x, y = rounds(0.7, 6), rounds(0.0, 6, seed=1)
    looks = [settled_at(x[:k], y[:k], looks=6) for k in range(1, 7)]
    (first,) = set(looks) - {None}
    assert 1 < first <= 6
    assert looks == [None] * (first - 1) + [first] * (7 - first)


def test_equal_runs_are_never_settled():
    same = [[np.full(5, 500.0)]] * 4
    assert settled_at(same, same, looks=4) is None


def test_too_few_runs_for_a_level_are_never_settled():
    # Of 2 and 2 runs, a third of all exchanges are as extreme as the most extreme one.
    assert settled_at([[np.array([9.0, 8.0])]], [[np.array([1.0, 2.0])]], looks=1) is None


def test_failed_runs_leave_rounds_of_unequal_numbers():
    x = [[np.array([9.0, 8.0, 7.0, 9.5]), np.array([7.0, 8.0, 9.0])]]
    y = [[np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0])]]
    assert settled_at(x, y, looks=1) == 1
    assert settled_at(y, x, looks=1) == 1


def test_all_looks_together_have_the_level():
    """Every exchange of small rounds is tried as if it were the true one."""
    values = np.array([[3.0, 1.0, 4.0, 1.5], [5.0, 9.0, 2.0, 6.0]])  # two rounds of 2 and 2
    choices = [c for c in product([0, 1], repeat=4) if sum(c) == 2]
    found = 0
    for pair in product(choices, repeat=2):
        x = [[row[np.array(c) == 1]] for row, c in zip(values, pair, strict=True)]
        y = [[row[np.array(c) == 0]] for row, c in zip(values, pair, strict=True)]
        found += settled_at(x, y, looks=2, level=0.3) is not None
    assert 0 < found / len(choices) ** 2 <= 0.3 + 0.02  # σ are drawn


@pytest.mark.slow
def test_false_alarms_of_normal_laws_are_at_most_the_level():
    alarms = sum(
        settled_at(rounds(0, 6, seed=2 * i), rounds(0, 6, seed=2 * i + 1), looks=6) is not None
        for i in range(400)
    )
    assert alarms / 400 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_a_later_round_changes_nothing_of_the_looks_before():
    """On several environments, too, the exchanges of a round are the same at every look."""
    generator = np.random.default_rng(0)
    x, y = (
        [[generator.normal(size=5) for _ in range(3)] for _ in range(3)]  # rounds, environments
        for _ in range(2)
    )
    once = _statistics([x[0]], [y[0]])
    twice = _statistics(x, y)
    np.testing.assert_array_equal(once[0], twice[0])
    assert not np.array_equal(twice[0], twice[1])


def test_more_rounds_than_looks_are_refused():
    with pytest.raises(ValueError, match="2 rounds of 1 looks"):
        settled_at(rounds(0, 2), rounds(0, 2), looks=1)


@pytest.mark.parametrize("runs", [[], [1.0, np.nan]])
def test_a_round_that_says_nothing_is_refused(runs):
    with pytest.raises(ValueError, match="allowed: one return per run"):
        settled_at([[runs]], [[[1.0, 2.0]]], looks=2)
