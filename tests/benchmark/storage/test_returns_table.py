import io

import pandas as pd
import pytest

from sb3_course.benchmark.storage.returns_table import csv_of, tidy
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
    assert f'"\'{begin}=1"' in csv_of(table) or f"'{begin}=1" in csv_of(table)
