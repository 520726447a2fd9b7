import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rliable import library
from rliable import metrics as rliable_metrics

from sb3_course.benchmark.statistics import bootstrap, metrics

REPS = 130  # more than a chunk, and not a whole number of them
CLOSE = {"rtol": 1e-12, "atol": 1e-12}  # sums in another order


def scores(*shape, seed=0, digits=None):
    values = np.random.default_rng(seed).normal(0.5, 0.4, shape)
    return values if digits is None else values.round(digits)


def theirs(function, *arrays):
    """Return rliable's own estimates; it draws from NumPy's global generator."""
    np.random.seed(0)
    given_ = arrays[0] if len(arrays) == 1 else list(arrays)
    points, intervals = library.get_interval_estimates({"A": given_}, function, reps=REPS)
    return points["A"], intervals["A"]


def check(ours, points, intervals):
    np.testing.assert_allclose(np.atleast_1d(ours.point), np.atleast_1d(points), **CLOSE)
    bounds = np.stack([np.atleast_1d(ours.low), np.atleast_1d(ours.high)])
    np.testing.assert_allclose(bounds, intervals, **CLOSE)


@pytest.mark.parametrize("shape", [(2, 1), (3, 4), (5, 3), (10, 5), (8, 1)])
def test_aggregates_equal_rliables(shape):
    def rliables(matrix):
        return np.array(
            [
                rliable_metrics.aggregate_iqm(matrix),
                rliable_metrics.aggregate_median(matrix),
                rliable_metrics.aggregate_mean(matrix),
                rliable_metrics.aggregate_optimality_gap(matrix),
            ]
        )

    matrix = scores(*shape)
    ours = bootstrap.estimate(metrics.aggregates, matrix, reps=REPS)
    check(ours, *theirs(rliables, matrix))
    assert list(metrics.STATISTICS) == ["IQM", "Median", "Mean", "Optimality gap"]


@pytest.mark.parametrize("digits", [None, 1])  # rounded scores lie exactly on thresholds
def test_profiles_equal_rliables(digits):
    matrix, thresholds = scores(5, 3, digits=digits), np.linspace(-0.5, 1.5, 21).round(1)
    ours = bootstrap.estimate(
        lambda x: metrics.performance_profile(x, thresholds), matrix, reps=REPS
    )
    np.random.seed(0)
    points, intervals = library.create_performance_profile({"A": matrix}, thresholds, reps=REPS)
    check(ours, points["A"], intervals["A"])


@pytest.mark.parametrize("digits", [None, 1])  # with ties
@pytest.mark.parametrize(("n_x", "n_y"), [(5, 5), (4, 7)])
def test_probability_of_improvement_equals_rliables(n_x, n_y, digits):
    x, y = scores(n_x, 3, digits=digits), scores(n_y, 3, seed=1, digits=digits)
    ours = bootstrap.estimate(metrics.probability_of_improvement, x, y, reps=REPS)
    points, intervals = theirs(rliable_metrics.probability_of_improvement, x, y)
    check(ours, points, intervals)


def test_sample_efficiency_equals_rliables():
    def rliables(cube):
        return np.array(
            [rliable_metrics.aggregate_iqm(cube[..., i]) for i in range(cube.shape[-1])]
        )

    cube = scores(5, 3, 7)
    check(bootstrap.estimate(metrics.iqm, cube, reps=REPS), *theirs(rliables, cube))


def test_statistics_of_a_small_table_computed_by_hand():
    """Eight scores: the middle half is 2 to 5 of 0 to 7 quarters."""
    matrix = np.arange(8).reshape(4, 2) / 4
    iqm, median, mean, gap = metrics.aggregates(matrix)
    assert (iqm, median, mean) == (0.875, 0.875, 0.875)
    assert gap == 1 - np.mean([0, 0.25, 0.5, 0.75, 1, 1, 1, 1])
    assert metrics.performance_profile(matrix, np.array([0.5, 2.0])).tolist() == [5 / 8, 0]
    assert metrics.probability_of_improvement(matrix, matrix) == 0.5
    # Adding 0.5 shifts X by one row: of 16 pairs 1 + 2 + 3 + 4 are wins and 3 are ties.
    assert metrics.probability_of_improvement(matrix + 0.5, matrix) == (10 + 3 / 2) / 16


def test_one_run_has_no_interval():
    alone, five = scores(1, 3), scores(5, 3)
    for result in (
        bootstrap.estimate(metrics.aggregates, alone),
        bootstrap.estimate(metrics.probability_of_improvement, five, alone),
    ):
        assert np.isfinite(result.point).all()
        assert np.isnan(result.low).all()
        assert np.isnan(result.high).all()


def test_runs_are_drawn_within_their_environment():
    matrix = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    drawn = np.concatenate([a for (a,) in bootstrap.resamples([matrix], 250, 0)], axis=-1)
    assert drawn.shape == (3, 2, 250)
    assert set(drawn[:, 0].ravel()) == {1, 2, 3}
    assert set(drawn[:, 1].ravel()) == {10, 20, 30}
    rows = drawn[:, 1] == 10 * drawn[:, 0]
    assert not rows.all()  # one environment's draws are not the other's


def test_the_global_generator_is_neither_used_nor_advanced():
    matrix = scores(5, 3)
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    one = bootstrap.estimate(metrics.aggregates, matrix, reps=50)
    assert np.array_equal(np.random.get_state()[1], before)
    np.random.seed(6)
    again = bootstrap.estimate(metrics.aggregates, matrix, reps=50)
    assert all(np.array_equal(a, b) for a, b in zip(one, again))


matrices = hnp.arrays(
    float,
    st.tuples(st.integers(2, 6), st.just(3)),
    elements=st.floats(-5, 5, allow_subnormal=False),
)


@given(matrices, matrices)
def test_the_probability_of_the_converse_is_the_complement(x, y):
    assert metrics.probability_of_improvement(x, y) + metrics.probability_of_improvement(
        y, x
    ) == pytest.approx(1)


@given(matrices)
def test_an_interquartile_mean_lies_among_the_scores(matrix):
    assert matrix.min() - 1e-9 <= metrics.iqm(matrix) <= matrix.max() + 1e-9
    assert metrics.iqm(matrix) == pytest.approx(rliable_metrics.aggregate_iqm(matrix))
