import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sb3_course.benchmark.statistics import curves
from sb3_course.benchmark.statistics.curves import (
    common_seeds,
    common_steps,
    on_grid,
    seldom_measured,
    split_complete,
)
from sb3_course.benchmark.statistics.design import design_of_returns

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


# -- runs that no grid declared --------------------------------------------------------------------


def table(*runs):
    """Tidy returns of runs (algorithm, environment, seed, steps), each return its step."""
    rows = [
        (algorithm, environment, seed, step, float(step), float("nan"), step)
        for algorithm, environment, seed, steps in runs
        for step in steps
    ]
    columns = ["algorithm", "environment", "seed", "step", "return_mean", "wall_time"]
    return pd.DataFrame(rows, columns=[*columns, "num_timesteps"])


def steps(*runs):
    return common_steps(table(*((a, "E", seed, s) for a, seed, s in runs)))["E"]


def test_runs_that_agree_are_compared_at_their_own_steps():
    assert steps(("A", 0, [0, 10, 35]), ("A", 1, [0, 10, 35]), ("B", 0, [0, 10, 35])) == [0, 10, 35]
    assert steps(("A", 0, [7])) == [7]


def test_declared_steps_are_kept_although_more_were_taken():
    late = table(("A", "E", 0, [0, 100, 200]))
    late["num_timesteps"] += [0, 3, 5]
    assert common_steps(late) == {"E": [0, 100, 200]}


def test_the_range_is_what_all_algorithms_cover():
    found = steps(("A", 0, range(0, 1001, 100)), ("B", 0, range(250, 2001, 250)))
    assert (found[0], found[-1]) == (250, 1000)
    assert found == [250, 500, 750, 1000]  # as many as B has there, not as A has


def test_one_run_that_was_cut_short_shortens_nobodys_curve():
    irregular = [0, 10, 100, 300, 1000]
    runs = [("A", "E", seed, irregular) for seed in range(4)]
    cut = table(*runs, ("A", "E", 4, irregular[:3]))
    found = common_steps(cut)
    assert found["E"] == irregular
    whole, short = split_complete(on_grid(cut, found))
    assert set(whole["seed"]) == {0, 1, 2, 3}
    assert set(short["seed"]) == {4}


def test_runs_that_end_at_different_episodes_are_all_complete():
    ends = (980, 1000, 990, 1013)
    runs = table(*(("A", "E", k, range(k + 3, end + 1, k + 20)) for k, end in enumerate(ends)))
    found = common_steps(runs)
    whole, short = split_complete(on_grid(runs, found))
    assert len(short) == 0
    assert set(whole["seed"]) == {0, 1, 2, 3}
    assert found["E"][-1] > 950


def test_algorithms_without_a_common_step_are_compared_at_none_beyond_their_own():
    found = steps(("A", 0, [0, 10]), ("B", 0, [20, 30]))
    assert found == [10]


def test_there_are_at_most_50_steps():
    found = steps(("A", 0, range(0, 10_000, 3)), ("B", 0, range(0, 10_000, 7)))
    assert len(found) == 50


def test_who_was_hardly_measured_there_is_told():
    runs = table(("A", "E", 0, [0, 20_000]), ("B", "E", 0, range(1000, 5000, 1000)))
    found = common_steps(runs)
    assert (found["E"][0], found["E"][-1]) == (1000, 4000)
    assert seldom_measured(runs, found) == {"E": ["A"]}


def test_environments_are_apart_and_in_order():
    runs = table(("A", "F", 0, [0, 10]), ("A", "E", 0, [0, 500]), ("B", "E", 1, [0, 500]))
    design = design_of_returns("mine", runs)
    assert list(design.environments.items()) == [("F", [0, 10]), ("E", [0, 500])]
    assert (design.algorithms, design.seeds, design.name) == (["A", "B"], [0, 1], "mine")


@pytest.mark.parametrize(
    ("seeds", "numbered"),
    [
        (([3, 8], [5, 9]), ([0, 1], [0, 1])),
        (([3, 8, 9], [5, 6]), ([0, 1, 2], [0, 1])),
        (([3, 8], [3, 9]), None),  # one is shared, so seeds have a meaning
        (([3, 8], [3, 8]), None),
    ],
)
def test_runs_that_share_no_seed_are_numbered(seeds, numbered):
    runs = [("A", env, seed, [0, 10]) for env, of in zip("EF", seeds) for seed in of]
    before = table(*runs, ("B", "E", 4, [0]))
    after, changed = common_seeds(before)
    assert changed == (["A"] if numbered else [])
    expected = numbered or seeds
    for env, of in zip("EF", expected):
        found = after[(after["environment"] == env) & (after["algorithm"] == "A")]
        assert sorted(set(found["seed"])) == of
    assert after.loc[after["algorithm"] == "B", "seed"].tolist() == [4]
    assert after.drop(columns="seed").equals(before.drop(columns="seed"))


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ABC"),
            st.integers(0, 5),
            st.sets(st.integers(0, 100_000), min_size=1, max_size=9),
        ),
        min_size=1,
        max_size=9,
        unique_by=lambda run: run[:2],
    )
)
def test_whatever_was_measured_each_step_is_covered_by_some_run_and_none_is_beyond(runs):
    of_runs = table(*((a, "E", seed, sorted(taken)) for a, seed, taken in runs))
    found = common_steps(of_runs)["E"]
    assert found == sorted(set(found))
    assert len(found) <= 50
    on = on_grid(of_runs, {"E": found})
    assert on["step"].max() <= of_runs["step"].max()
    assert on["return_mean"].notna().any()
    np.testing.assert_allclose(on["return_mean"].dropna(), on["step"][on["return_mean"].notna()])
