import numpy as np
import pytest
from scipy.stats import norm

from sb3_course.benchmark.statistics.hypothesis_tests import power
from sb3_course.benchmark.statistics.hypothesis_tests.permutation_test import p_value
from sb3_course.benchmark.statistics.hypothesis_tests.power import Power, power_of


def quantiles(shift, n=400):
    """Return values that stand for a normal law."""
    return norm.ppf((np.arange(n) + 0.5) / n) + shift


def simulated(shift, n, environments, level=0.05, draws=1500):
    """Return how often the test itself tells normal laws apart."""
    generator = np.random.default_rng(0)
    x = generator.normal(shift, 1, (draws, environments, n))
    y = generator.normal(0, 1, (draws, environments, n))
    return np.mean([p_value(list(a), list(b)) <= level for a, b in zip(x, y, strict=True)])


@pytest.mark.parametrize(("n", "environments"), [(5, 1), (10, 1), (5, 4), (20, 2)])
@pytest.mark.parametrize("probability", [0.5, 0.65, 0.75])
def test_it_is_how_often_the_test_finds_the_difference(probability, n, environments):
    shift = np.sqrt(2) * norm.ppf(probability)
    few, many = [quantiles(shift)] * environments, [quantiles(0.0)] * environments
    assert power_at(few, many, n) == pytest.approx(simulated(shift, n, environments), abs=0.05)


@pytest.mark.parametrize(
    ("n", "probability", "environments"), [(10, 0.9, 1), (3, 0.9, 4), (5, 0.8, 4), (20, 0.8, 1)]
)
def test_it_is_that_at_a_strict_level(n, probability, environments):
    shift, level = np.sqrt(2) * norm.ppf(probability), 0.05 / 6
    few, many = [quantiles(shift)] * environments, [quantiles(0.0)] * environments
    found = power_at(few, many, n, level)
    assert found == pytest.approx(simulated(shift, n, environments, level), abs=0.05)


def test_few_runs_that_nearly_never_overlap_have_more_than_it_says():
    shift, level = np.sqrt(2) * norm.ppf(0.99), 0.05 / 6
    found = power_at([quantiles(shift)], [quantiles(0.0)], 5, level)
    assert 0.6 < found < simulated(shift, 5, 1, level)


def power_at(x, y, n, level=0.05):
    return power._curve(x, y, level)[n - 1]


def test_at_the_needed_number_of_runs_it_is_what_was_wanted():
    x, y = [quantiles(np.sqrt(2) * norm.ppf(0.7), 60)], [quantiles(0.0, 60)]
    result = power_of(x, y)
    assert power_at(x, y, int(result.runs)) >= 0.8 > power_at(x, y, int(result.runs) - 1)
    # Noether 1987: (z_0.975 + z_0.8)² / (6 (P - 1/2)²) runs of each.
    assert result.runs == pytest.approx((1.960 + 0.842) ** 2 / (6 * 0.2**2), rel=0.1)


def test_few_runs_say_little_about_it():
    generator = np.random.default_rng(0)
    few = power_of([generator.normal(0.8, 1, 5)], [generator.normal(0, 1, 5)])
    many = power_of([generator.normal(0.8, 1, 50)], [generator.normal(0, 1, 50)])
    assert few.power_low <= few.power <= few.power_high
    assert few.runs_high - few.runs_low > 5 * (many.runs_high - many.runs_low)


def test_no_difference_needs_more_runs_than_there_are():
    same = [np.arange(6.0)]
    result = power_of(same, same)
    assert result.runs == np.inf
    assert result.power <= 0.05
    equal = [np.full(5, 500.0)]  # every run solved it
    assert power_of(equal, equal) == Power(0.0, 0.0, 0.0, np.inf, np.inf, np.inf)


def test_of_success_and_failure_it_says_more_than_the_test_finds():
    generator = np.random.default_rng(0)
    x, y = np.ones(20), np.repeat([1.0, 0.0], [12, 8])
    draws = [([generator.choice(x, 10)], [generator.choice(y, 10)]) for _ in range(800)]
    found = np.mean([p_value(*pair) <= 0.05 for pair in draws])
    assert found == pytest.approx(0.37, abs=0.05)
    assert power_at([x], [y], 10) == pytest.approx(0.58, abs=0.01)


def test_a_difference_without_overlap_needs_few_runs():
    result = power_of([np.arange(5.0) + 10], [np.arange(5.0)])
    assert result.power == 1
    assert result.runs <= 4
    assert p_value([np.arange(result.runs) + 10], [np.arange(result.runs)]) <= 0.05


@pytest.mark.parametrize("environments", [1, 2, 3, 4])
@pytest.mark.parametrize("of_x", [lambda n: np.arange(n) + 10.0, lambda n: np.full(n, 10.0)])
def test_a_difference_without_overlap_is_certain_where_the_test_can_find_it(of_x, environments):
    for n in range(2, 9):
        x, y = [of_x(n)] * environments, [np.arange(float(n))] * environments
        for comparisons in range(1, 16):
            level = 0.05 / comparisons
            found = p_value(x, y) <= level * (1 + 1e-9)
            assert power_at(x, y, n, level) == found, (n, comparisons)


def test_a_stricter_level_needs_more_runs():
    x, y = [quantiles(0.8, 40)], [quantiles(0.0, 40)]
    assert power_of(x, y, level=0.005).runs > power_of(x, y).runs


def test_more_runs_than_are_searched_for_have_a_power():
    many = np.random.default_rng(0).normal(size=1001)
    assert 0 <= power_of([many], [many + 0.01]).power <= 1


@pytest.mark.parametrize("runs", [[1.0], [1.0, np.nan], []])
def test_runs_that_say_nothing_are_refused(runs):
    with pytest.raises(ValueError, match="allowed: one return per run .* of at least 2"):
        power_of([runs], [[1.0, 2.0]])
