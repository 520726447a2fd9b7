import numpy as np
import pandas as pd
import pytest

from sb3_course.benchmark.reporting import tables
from sb3_course.benchmark.reporting.content import Record, interval, quantity
from sb3_course.benchmark.statistics.analysis import analyze
from sb3_course.benchmark.storage.result import RunResult
from tests.benchmark import made_up
from tests.benchmark.statistics.test_analysis import incomplete


@pytest.fixture(scope="module")
def analysis():
    return analyze(*incomplete())


def cell(table, row, column):
    rows = {cells[0]: cells for cells in table.rows}
    return rows[row][table.header.index(column)]


def test_cells_state_their_number_of_runs(analysis):
    assert cell(tables.returns(analysis), "NPG", "CartPole-v1").endswith("(2)")
    assert cell(tables.returns(analysis), "NPG", "HalfCheetah-v4").endswith("(3)")
    assert cell(tables.by_environment(analysis), "NPG", "CartPole-v1").endswith("] (2)")
    assert cell(tables.aggregates(analysis), "NPG", "Seeds") == "2"
    assert cell(tables.sample_efficiency(analysis), "REINFORCE (optimal baseline)", "Seeds") == "3"


def test_pairs_are_written_with_the_probably_better_algorithm_first(analysis):
    changed = analysis.probability_of_improvement.assign(point=[0.1, 0.9, 0.4], low=[0.0, 0.7, 0.2])
    changed = changed.assign(high=[0.3, 1.0, 0.8], n_runs_x=2, n_runs_y=[2, 3, 3])
    changed = changed.assign(p_holm=[0.01, 0.02, 1.0], apart=[True, True, False])
    object.__setattr__(analysis, "probability_of_improvement", changed)
    rows = tables.probability_of_improvement(analysis).rows
    first = ["P(BatchActorCritic > NPG)", "0.90 [0.70, 1.00]"]
    assert rows[0] == [*first, "0.010", "BatchActorCritic is likely to score higher", "2"]
    optimal = "REINFORCE (optimal baseline)"
    assert rows[1][3:] == ["NPG is likely to score higher", "2 and 3"]
    assert rows[2][0] == f"P({optimal} > BatchActorCritic)"
    assert rows[2][1:] == ["0.60 [0.20, 0.80]", "1.000", "no clear difference", "3 and 2"]
    assert tables.clear_improvements(analysis) == {
        "BatchActorCritic": ["NPG (0.90 [0.70, 1.00])"],
        "NPG": [f"{optimal} (0.90 [0.70, 1.00])"],
    }


def test_runs_missing_for_the_same_reason_share_a_row():
    grid = made_up.grid()
    some = [r for r in made_up.results(grid) if r.spec.seed == 0]
    rows = tables.absent(analyze(grid, some)).rows
    assert ["NPG", "1, 2", "CartPole-v1, HalfCheetah-v4", "not run"] in rows
    assert len(rows) == 3


def test_differing_versions_are_listed_with_their_numbers_of_runs():
    specs = made_up.grid().runs()[:3]
    made_with = [{"torch": "2.1", "cpu": "A", "envpool": None}, {"torch": "2.2", "cpu": "A"}, None]
    results = [RunResult(spec=s, made_with=m) for s, m in zip(specs, made_with)]
    manifest = {"versions": {"torch": "2.1"}, "workers": 2, "commands": ["x"], "grid": {"a": 1}}
    assert tables.made_with(Record(results, manifest=manifest)).rows == [
        ["torch", "2.1 (1 run), 2.2 (1 run)"],
        ["cpu", "A"],
        ["workers", "2"],
    ]


def test_the_best_rows_are_all_that_tie_in_the_order_of_the_grid():
    table = pd.DataFrame({"algorithm": ["A", "B", "C"], "point": [1.0, 2.0, 2.0]})
    assert list(tables.best(table, ["C", "B", "A"])["algorithm"]) == ["C", "B"]
    assert list(tables.best(table, ["A", "B", "C"])["algorithm"]) == ["B", "C"]
    other = table.assign(value=[3.0, 1.0, 2.0])
    assert list(tables.best(other, ["A", "B", "C"], "value")["algorithm"]) == ["A"]


def test_an_estimate_is_written_with_its_interval():
    assert interval(0.834, 0.751, 0.9) == "0.83 [0.75, 0.90]"
    assert interval(1234.56, 1200.0, 1300.04, digits=1) == "1234.6 [1200.0, 1300.0]"
    assert interval(0.5, np.nan, np.nan) == "0.50 [one run]"


def test_a_noun_is_in_the_plural_unless_its_number_is_one():
    assert [quantity(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
