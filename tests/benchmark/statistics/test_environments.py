import numpy as np
import pandas as pd
import pytest
from scipy.stats import trim_mean

from sb3_course.benchmark.statistics import environments, metrics
from sb3_course.benchmark.statistics.analysis import analyze
from sb3_course.benchmark.storage.returns_table import tidy
from tests.benchmark import made_up

CURVES = np.array([[0.0, 8.0, 2.0, 6.0], [1.0, 3.0, 5.0, 5.0], [0.0, 4.0, 4.0, 1.0]])


def test_runs_are_arranged_by_seed_and_step():
    grid = made_up.grid(n_algorithms=1, n_environments=1)
    results = made_up.results(grid)
    runs = environments.runs_of(analyze(grid, results).runs)
    expected = [[np.mean(m.returns) for m in result.measurements] for result in results]
    np.testing.assert_allclose(runs["NPG"]["CartPole-v1"], expected)


def test_a_run_is_summed_up_by_its_end_its_mean_since_training_began_and_its_best():
    assert environments.at_the_end(CURVES).tolist() == [6, 5, 1]
    assert environments.over_the_run(CURVES) == pytest.approx([16 / 3, 13 / 3, 3])
    assert environments.best_of_the_run(CURVES).tolist() == [8, 5, 4]
    assert environments.over_the_run(CURVES[:, :1]).tolist() == [0, 1, 0]  # a single evaluation


def test_stability_is_the_spread_of_runs_and_what_each_loses():
    (row,) = environments.stability({"NPG": {"Mine": CURVES}}).itertuples(index=False)
    assert row.spread == np.quantile([6, 5, 1], 0.75) - np.quantile([6, 5, 1], 0.25)
    assert row.gap == pytest.approx((2 + 0 + 3) / 3)
    assert row.worst_drop == pytest.approx((6 + 0 + 3) / 3)  # 8 to 2, none, 4 to 1
    assert row.n_runs == 3


def test_a_single_run_has_no_spread_and_no_interval():
    single = {"NPG": {"Mine": CURVES[:1]}}
    assert np.isnan(environments.stability(single)["spread"][0])
    table = environments.estimates(single, metrics.iqm, environments.at_the_end)
    assert table["point"][0] == 6 and np.isnan(table["low"][0])


def test_environments_without_a_scale_have_interquartile_means_of_returns():
    unscored = made_up.grid(seeds=8, environments={"Taxi-v3": {"total_timesteps": 1000}})
    analysis = analyze(unscored, made_up.results(unscored))
    assert len(analysis.by_environment) == len(analysis.over_run) == 3
    mine = analysis.final[analysis.final["algorithm"] == "NPG"]["return_mean"]
    row = analysis.by_environment.set_index("algorithm").loc["NPG"]
    assert row["point"] == pytest.approx(trim_mean(mine, 0.25))
    assert row["low"] < row["point"] < row["high"] and row["n_runs"] == 8


def test_other_numbers_are_estimated_along_training():
    grid = made_up.grid(n_algorithms=1, n_environments=1)
    table = tidy(made_up.results(grid))
    assert environments.metric_curves(table).empty
    success = table.assign(is_success=table["step"] / 1000)
    success.loc[success["seed"] == 2, "is_success"] = np.nan  # one run did not measure it
    curves = environments.metric_curves(success)
    assert list(curves["metric"].unique()) == ["is_success"]
    assert curves["point"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert set(curves["n_runs"]) == {2}
    assert isinstance(curves, pd.DataFrame)


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 0.1, 1.0, 7e5, 1e200])
def test_equal_runs_have_equal_estimates_in_any_order_and_number(scale):
    values = scale * np.array([0.7, 0.8, 0.9])
    curves = [values[:, np.newaxis], values[::-1, np.newaxis], np.tile(values, 3)[:, np.newaxis]]
    runs = {name: {"Mine": each} for name, each in zip("ABC", curves, strict=True)}
    points = environments.estimates(runs, metrics.mean, environments.at_the_end)["point"]
    assert len(set(points)) == 1 and points[0] == pytest.approx(0.8 * scale, rel=1e-11)


def test_rounding_keeps_what_is_no_number():
    kept = metrics.rounded(np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1 / 3, -123456.7890123]))
    expected = [0.0, 0.0, np.inf, -np.inf, np.nan, 0.333333333333, -123456.789012]
    assert np.array_equal(kept, expected, equal_nan=True)
