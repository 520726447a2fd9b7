from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm
from statsmodels.stats.multitest import multipletests

from sb3_course.benchmark.statistics.hypothesis_tests import permutation_test
from sb3_course.benchmark.statistics.hypothesis_tests.permutation_test import (
    doubled_wins,
    fewest_runs,
    holm,
    p_value,
)


def by_enumeration(x, y):
    """Try every choice of the runs that are called X, on all environments together."""

    def wins(a, b):
        return np.mean((a[:, None] > b) + 0.5 * (a[:, None] == b)) - 0.5

    def choices(a, b):
        both = np.concatenate([a, b])
        for chosen in combinations(range(len(both)), len(a)):
            rest = [i for i in range(len(both)) if i not in chosen]
            yield wins(both[list(chosen)], both[rest])

    seen = abs(sum(wins(a, b) for a, b in zip(x, y, strict=True)))
    laws = [list(choices(a, b)) for a, b in zip(x, y, strict=True)]
    sums = [abs(sum(draw)) for draw in product(*laws)]
    return np.mean(np.array(sums) >= seen - 1e-12)


returns = st.integers(0, 3).map(float)  # so few values that there are ties
one = st.lists(returns, min_size=1, max_size=4).map(np.array)


@given(st.lists(st.tuples(one, one), min_size=1, max_size=2))
def test_it_is_exact_with_ties_and_any_numbers_of_runs(pairs):
    x, y = zip(*pairs, strict=True)
    assert p_value(x, y) == pytest.approx(by_enumeration(x, y))


def test_on_one_environment_without_ties_it_is_the_exact_rank_test():
    generator = np.random.default_rng(0)
    for n, m in ((5, 5), (4, 7), (12, 9)):
        x, y = generator.normal(0.5, 1, n), generator.normal(0, 1, m)
        theirs = mannwhitneyu(x, y, method="exact").pvalue
        assert p_value([x], [y]) == pytest.approx(theirs)


def test_with_many_runs_it_is_the_normal_approximation():
    generator = np.random.default_rng(1)
    x, y = generator.normal(0.2, 1, 110).round(1), generator.normal(0, 1, 130).round(1)
    theirs = mannwhitneyu(x, y, method="asymptotic").pvalue
    assert p_value([x], [y]) == pytest.approx(theirs, rel=0.05)


def test_environments_add_their_evidence():
    x, y = np.arange(5.0) + 5, np.arange(5.0)
    assert p_value([x], [y]) == pytest.approx(2 / 252)
    assert p_value([x] * 3, [y] * 3) == pytest.approx(2 / 252**3)
    assert p_value([x, y], [y, x]) == 1.0  # one for, one against


def test_it_does_not_depend_on_the_scale_of_an_environment_or_on_who_is_x():
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(2, 3, 6))
    p = p_value(list(x), list(y))
    assert p_value([1000 * x[0], *x[1:]], [1000 * y[0], *y[1:]]) == pytest.approx(p)
    assert p_value(list(y), list(x)) == pytest.approx(p)


def test_equal_runs_are_no_difference():
    same = np.full(5, 500.0)
    assert p_value([same, same], [same, same]) == 1.0
    assert doubled_wins(same, same) == 25


def test_unequal_numbers_on_many_environments_are_rounded_towards_no_difference():
    generator = np.random.default_rng(3)
    sizes = [(13, 11), (17, 19), (23, 7), (5, 9)]  # whose common steps would be too many
    x = [generator.normal(0.4, 1, n) for n, _ in sizes]
    y = [generator.normal(0.0, 1, m) for _, m in sizes]
    seen = abs(sum(doubled_wins(a, b) / (2 * a.size * b.size) - 0.5 for a, b in zip(x, y)))
    draws = np.zeros(20_000)
    for a, b in zip(x, y):
        both = np.tile(np.concatenate([a, b]).argsort().argsort() + 1, (len(draws), 1))
        ranks = generator.permuted(both, axis=1)[:, : a.size].sum(axis=1)
        draws += (ranks - a.size * (a.size + 1) / 2) / (a.size * b.size) - 0.5
    p = p_value(x, y)
    assert p == pytest.approx((np.abs(draws) >= seen - 1e-12).mean(), abs=0.01)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_the_correction_is_holms(p_values):
    theirs = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(theirs)


def test_a_pair_that_cannot_be_tested_is_none_of_the_family():
    assert holm([0.01, np.nan, 0.04]) == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)


@pytest.mark.parametrize(("comparisons", "environments"), [(1, 1), (55, 1), (55, 4), (1, 3)])
def test_the_fewest_runs_are_those_of_the_largest_difference(comparisons, environments):
    n = fewest_runs(comparisons, environments)
    for runs, enough in ((n, True), (n - 1, False)):
        if runs:
            x, y = np.arange(runs) + 100.0, np.arange(runs) * 1.0
            p = p_value([x] * environments, [y] * environments)
            assert p == pytest.approx(2 / comb(2 * runs, runs) ** environments)
            assert (comparisons * p <= 0.05) is enough


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, bool])
def test_returns_of_any_kind_are_compared_by_their_order(kind):
    x, y = np.array([0, 0, 1]), np.array([1, 1, 1])
    plain = p_value([x.astype(float)], [y.astype(float)])
    assert p_value([x.astype(kind)], [y.astype(kind)]) == plain
    assert p_value([x.tolist()], [y.tolist()]) == plain


@pytest.mark.parametrize("huge", [1e308, np.inf])
def test_returns_may_be_as_large_as_they_like(huge):
    x, y = [huge] * 4, [-huge] * 4
    assert p_value([x], [y]) == 2 / 70
    assert p_value([x], [x]) == 1


@pytest.mark.parametrize("runs", [[], [1.0, np.nan], [[1.0, 2.0]]])
def test_what_has_no_order_is_refused(runs):
    with pytest.raises(ValueError, match="environment 1: given .*; allowed: one return per run"):
        p_value([[1.0], runs], [[2.0], [3.0]])
    with pytest.raises(ValueError, match="environment 1: given .*; allowed: one return per run"):
        p_value([[1.0], [3.0]], [[2.0], runs])


@pytest.mark.parametrize("digits", [0, 1, 9])
def test_many_runs_agree_with_an_independent_implementation(digits):
    generator = np.random.default_rng(0)
    x, y = generator.normal(0.3, 1, 60).round(digits), generator.normal(0, 1, 50).round(digits)
    expected = mannwhitneyu(x, y, method="asymptotic" if digits < 9 else "exact").pvalue
    assert p_value([x], [y]) == pytest.approx(expected, abs=0.003 if digits < 9 else 1e-12)


@pytest.mark.parametrize("digits", [0, 9])
def test_hundreds_of_runs_take_no_longer_and_agree_with_the_normal_law(digits):
    generator = np.random.default_rng(0)
    x, y = generator.normal(0.1, 1, 700).round(digits), generator.normal(0, 1, 600).round(digits)
    expected = mannwhitneyu(x, y, method="asymptotic").pvalue
    assert p_value([x], [y]) == pytest.approx(expected, rel=0.01)
    # On three environments of the same runs the distance grows by 3 and its deviation by sqrt(3).
    threefold = 2 * norm.sf(np.sqrt(3) * norm.isf(expected / 2))
    assert p_value([x] * 3, [y] * 3) == pytest.approx(threefold, rel=0.03)
    assert p_value([x] * 2, [x] * 2) == 1.0
    assert p_value([np.zeros(700)], [np.zeros(600)]) == 1.0


@pytest.mark.parametrize(("n", "m"), [(1000, 2), (500, 8), (40, 3)])
@pytest.mark.parametrize("digits", [0, 9])
def test_far_fewer_runs_of_one_are_counted_whoever_is_x(n, m, digits):
    generator = np.random.default_rng(0)
    x, y = generator.normal(1, 1, n).round(digits), generator.normal(0, 1, m).round(digits)
    assert p_value([x], [y]) == pytest.approx(p_value([y], [x]), rel=1e-9)
    if digits == 9:
        exact = mannwhitneyu(x, y, method="exact").pvalue
        assert p_value([x], [y]) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("digits", [0, 9])
def test_the_normal_law_is_close_to_the_counted_one(digits, monkeypatch):
    generator = np.random.default_rng(2)
    x, y = (generator.normal(mean, 1, (2, 60)).round(digits) for mean in (0.3, 0.0))
    counted = p_value(x, y)
    monkeypatch.setattr(permutation_test, "MOST_STEPS", 0)
    permutation_test._wins.cache_clear()
    permutation_test._law.cache_clear()
    assert p_value(x, y) != counted
    assert p_value(x, y) == pytest.approx(counted, abs=0.002)
    permutation_test._wins.cache_clear()
    permutation_test._law.cache_clear()
