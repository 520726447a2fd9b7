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
    resamples = bootstrap.resamples([matrix[..., np.newaxis]], 250, 0)
    drawn = np.concatenate([a[..., 0] for (a,) in resamples], axis=-1)
    assert drawn.shape == (3, 2, 250)
    assert set(drawn[:, 0].ravel()) == {1, 2, 3}
    assert set(drawn[:, 1].ravel()) == {10, 20, 30}
    rows = drawn[:, 1] == 10 * drawn[:, 0]
    assert not rows.all()  # one environment's draws are not the other's


def test_samples_of_one_shape_share_their_resamples(monkeypatch):
    """Estimates are the same to the last bit, and equal shapes are drawn once."""
    samples = [[scores(5, 3, seed=1)], [scores(1, 3)], [scores(4, 3)], [scores(5, 3, seed=2)]]
    alone = [bootstrap.estimate(metrics.aggregates, *arrays, reps=REPS) for arrays in samples]
    drawn, draw = [], bootstrap.drawn_runs
    monkeypatch.setattr(
        bootstrap, "drawn_runs", lambda shapes, *rest: drawn.append(shapes) or draw(shapes, *rest)
    )
    together = bootstrap.estimates(metrics.aggregates, samples, reps=REPS)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(other))
    assert drawn == [[(5, 3)], [(4, 3)]]


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_draws_do_not_depend_on_how_many_are_drawn_at_a_time(chunk):
    shapes = [(5, 2), (3, 1)]
    drawn = np.concatenate(list(bootstrap.drawn_runs(shapes, 20, 0, chunk)))
    rliables = np.random.RandomState(0).randint(np.repeat([5, 3], [10, 3]), size=(20, 13))
    assert np.array_equal(drawn, rliables)
    alike = next(bootstrap.drawn_runs([(5, 2), (5, 1)], 20, 0, 20))
    assert np.array_equal(alike, np.random.RandomState(0).randint(np.full(15, 5), size=(20, 15)))


@pytest.mark.parametrize("digits", [None, 1])  # with ties
def test_counted_improvements_are_those_of_the_resamples(digits):
    """P(X > Y) by counting how often each run is drawn has the same bits as run by run."""
    x = [scores(n, 1, seed=n, digits=digits) for n in (5, 10, 2)]
    y = [scores(n, 1, seed=9 + n, digits=digits) for n in (5, 4, 3)]
    pair = [[a[:, 0] for a in x], [a[:, 0] for a in y]]
    (ours,) = bootstrap.improvements([pair], reps=REPS, seed=3)
    values = [
        np.concatenate(
            [
                metrics.probability_of_improvement(*chunk)
                for chunk in bootstrap.resamples([a[..., np.newaxis], b[..., np.newaxis]], REPS, s)
            ]
        )[:, 0]
        for s, (a, b) in enumerate(zip(x, y, strict=True), start=3)
    ]
    assert [ours.low, ours.high] == np.quantile(np.mean(values, axis=0), [0.025, 0.975]).tolist()
    assert ours.point == np.mean(
        [metrics.probability_of_improvement(a, b) for a, b in zip(x, y, strict=True)]
    )
    (alone,) = bootstrap.improvements([([x[0][:, 0]], [y[0][:1, 0]])])
    assert np.isnan([alone.low, alone.high]).all()


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
