import io

import pandas as pd
import pytest

from sb3_course.benchmark.storage.returns_table import COLUMNS, csv_of, tidy
from tests.benchmark import made_up


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+3", "'+3"),
        ("-2", "'-2"),
        ("@x", "'@x"),
        (" =4", "' =4"),
        ("\uff1d1", "'\uff1d1"),
        ("A=5", "A=5"),
        ("'=6", "'=6"),
    ],
)
def test_no_name_is_a_formula_of_a_spreadsheet_and_numbers_stay_numbers(name, cell):
    grid = made_up.grid(algorithms={name: {"class": "A2C"}})
    table = tidy(made_up.results(grid)).assign(return_mean=-1.5)
    read = pd.read_csv(io.StringIO(csv_of(table)))
    assert set(read["algorithm"]) == {cell}
    assert set(table["algorithm"]) == {name}  # as it was
    assert set(read["return_mean"]) == {-1.5}


@pytest.mark.parametrize("begin", ["\t", "\r", "\n"])
def test_a_cell_begins_with_no_control_character(begin):
    table = tidy(made_up.results(made_up.grid())).assign(environment=f"{begin}=1")
    assert f"'{begin}=1" in csv_of(table)


def test_metrics_have_a_column_each_only_where_there_are_any():
    grid = made_up.grid()
    results = made_up.results(grid)
    assert list(tidy(results).columns) == COLUMNS
    for m in results[0].measurements:
        m.metrics.update(is_success=[1.0, 0.0, 1.0], seed=[5.0, 6.0, 7.0], **{"=x": [1.0] * 3})
    table = tidy(iter(results))
    assert list(table.columns) == [*COLUMNS, "=x", "is_success", "metric seed"]
    of_first = (table["algorithm"] == results[0].spec.algorithm) & (
        table["environment"] == results[0].spec.environment
    )
    rows = table[of_first & (table["seed"] == results[0].spec.seed)]
    assert rows["is_success"].tolist() == [2 / 3] * 5
    assert rows["metric seed"].tolist() == [6.0] * 5
    assert table["is_success"].isna().sum() == len(table) - 5
    read = pd.read_csv(io.StringIO(csv_of(table)))
    assert list(read.columns) == [*COLUMNS, "'=x", "is_success", "metric seed"]
