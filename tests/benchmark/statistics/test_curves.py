import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sb3_course.benchmark.statistics import curves

knots = st.lists(st.integers(0, 10_000), min_size=2, max_size=20, unique=True).map(sorted)


@given(knots, st.floats(-3, 3), st.floats(-100, 100), st.lists(st.floats(0, 10_000)))
def test_a_straight_line_is_interpolated_exactly_and_never_extrapolated(x, slope, offset, at):
    y = [slope * step + offset for step in x]
    values = curves.interpolate(at, x, y)
    for place, value in zip(at, values):
        if x[0] <= place <= x[-1]:
            assert value == pytest.approx(slope * place + offset, abs=1e-6)
        else:
            assert np.isnan(value)


@given(knots, st.randoms(use_true_random=False))
def test_measured_values_are_returned_unchanged(x, random):
    y = [random.uniform(-1e6, 1e6) for _ in x]
    assert curves.interpolate(x, x, y).tolist() == y


@given(knots, st.data())
def test_an_interpolated_value_lies_between_its_two_neighbors(x, data):
    y = data.draw(st.lists(st.floats(-1e6, 1e6), min_size=len(x), max_size=len(x)))
    place = data.draw(st.floats(x[0], x[-1]))
    right = int(np.searchsorted(x, place).clip(1, len(x) - 1))
    pair = y[right - 1], y[right]
    (value,) = curves.interpolate([place], x, y)
    assert min(pair) - 1e-6 <= value <= max(pair) + 1e-6


def run(taken, returns, seed=0, environment="A", algorithm="X"):
    """Make a run that was measured at the given environment steps."""
    return pd.DataFrame(
        {
            "algorithm": algorithm,
            "environment": environment,
            "seed": seed,
            "step": range(len(taken)),
            "num_timesteps": taken,
            "return_mean": returns,
            "wall_time": np.asarray(taken) / 10,
        }
    )


def test_runs_are_interpolated_over_the_steps_actually_taken():
    table = pd.concat(
        [
            run([0, 100, 200], [0.0, 10.0, 20.0]),
            # Two environments step at a time, so it was measured after the declared steps.
            run([0, 102, 204], [0.0, 10.2, 20.4], seed=1),
            # Its steps are counted in batches: one policy is measured for two declared steps.
            run([0, 150, 150, 300], [0.0, 15.0, 15.0, 30.0], seed=2),
        ]
    )
    on_grid = curves.on_grid(table, {"A": [0, 100, 200]})
    assert list(on_grid.columns) == [
        *("algorithm", "environment", "seed", "step"),
        *("return_mean", "wall_time"),
    ]
    for seed in range(3):
        rows = on_grid[on_grid["seed"] == seed]
        assert rows["step"].tolist() == [0, 100, 200]
        assert rows["return_mean"].tolist() == pytest.approx([0, 10, 20])
        assert rows["wall_time"].tolist() == pytest.approx([0, 10, 20])


def test_each_environment_has_its_own_grid():
    table = pd.concat([run([0, 4], [0.0, 4.0]), run([0, 4], [0.0, 4.0], environment="B")])
    on_grid = curves.on_grid(table, {"A": [0, 4], "B": [0, 2, 3, 4]})
    assert on_grid.groupby("environment")["step"].agg(list).to_dict() == {
        "A": [0, 4],
        "B": [0, 2, 3, 4],
    }


def test_runs_that_end_early_or_start_late_are_split_off_with_all_their_rows():
    table = pd.concat(
        [
            run([0, 100, 200], [0.0, 10.0, 20.0]),
            run([0, 100], [0.0, 10.0], seed=1),
            run([50, 100, 200], [5.0, 10.0, 20.0], seed=2),
            run([0, 100, 200, 300], [0.0, 10.0, 20.0, 90.0], seed=3),
            run([0, 100, 200], [0.0, np.nan, 20.0], seed=4),
        ]
    )
    whole, short = curves.split_complete(curves.on_grid(table, {"A": [0, 100, 200]}))
    assert set(whole["seed"]) == {0, 3}
    assert whole.groupby("seed")["return_mean"].last().tolist() == [20, 20]
    assert set(short["seed"]) == {1, 2, 4}
    assert len(short) == 9


def test_no_runs_result_in_no_rows():
    whole, short = curves.split_complete(curves.on_grid(run([], []), {}))
    assert whole.empty
    assert short.empty
    assert "return_mean" in whole
