import numpy as np
import pandas as pd
import pytest

from sb3_course.benchmark.reporting.tables import returns
from sb3_course.benchmark.statistics.analysis import analyze
from tests.benchmark import made_up
from tests.benchmark.statistics.test_analysis import incomplete


@pytest.fixture(scope="module")
def analysis():
    return analyze(*incomplete())


def cell(table, row, column):
    rows = {cells[0].text: cells for cells in table.cells}
    return rows[row][list(table.header).index(column)]


def test_cells_state_their_number_of_runs_where_it_differs(analysis):
    for table in (
        returns.at_the_end(analysis),
        returns.over_the_run(analysis),
        returns.means(analysis),
        returns.best_of_runs(analysis),
    ):
        assert cell(table, "NPG", "CartPole-v1").note.endswith(" (2)")
        assert cell(table, "NPG", "HalfCheetah-v4").note.endswith(" (3)")
        assert "(number of runs)" in table.caption


def test_final_returns_are_in_raw_numbers_with_their_interval(analysis):
    rows = analysis.by_environment.set_index(["algorithm", "environment"])
    row = rows.loc["NPG", "CartPole-v1"]
    found = cell(returns.at_the_end(analysis), "NPG", "CartPole-v1")
    assert found.text == f"{row['point']:,.0f}"
    assert found.note == f"[{row['low']:,.0f}, {row['high']:,.0f}] (2)"
    assert found.bar is not None


def test_means_have_the_standard_deviation_over_runs(analysis):
    final = analysis.final
    mine = final[(final["algorithm"] == "NPG") & (final["environment"] == "CartPole-v1")]
    values = mine["return_mean"]
    found = cell(returns.means(analysis), "NPG", "CartPole-v1")
    assert found.text == f"{values.mean():,.0f}"
    assert found.note == f"± {values.std():,.0f} (2)"


def test_stability_has_a_table_for_each_measure(analysis):
    spread, gap, drop = returns.stability(analysis)
    assert spread.caption.startswith("Interquartile range of final returns")
    rows = analysis.stability.set_index(["algorithm", "environment"])
    row = rows.loc["NPG", "HalfCheetah-v4"]
    assert cell(spread, "NPG", "HalfCheetah-v4").text == f"{row['spread']:,.0f}"
    assert float(cell(gap, "NPG", "HalfCheetah-v4").text) == pytest.approx(row["gap"], abs=0.01)
    assert float(cell(drop, "NPG", "HalfCheetah-v4").text) == pytest.approx(
        row["worst_drop"], abs=0.01
    )


def test_metrics_are_shown_at_the_end_of_each_environment():
    grid = made_up.grid(n_algorithms=1)
    rows = [
        ("NPG", "CartPole-v1", "rate", step, step / 1000, np.nan, np.nan, 1) for step in (5, 500)
    ]
    rows.append(("NPG", "HalfCheetah-v4", "rate", 2000, 1.0, np.nan, np.nan, 1))
    columns = ["algorithm", "environment", "metric", "step", "point", "low", "high", "n_runs"]
    analysis = analyze(grid, made_up.results(grid))
    changed = made_up.changed(analysis, metrics=pd.DataFrame(rows, columns=columns))
    (table,) = returns.metrics(changed)
    assert [c.text for c in table.cells[0]] == ["NPG", "0.50", "1.00"]
