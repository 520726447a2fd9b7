import numpy as np
import pandas as pd
import pytest

from sb3_course.benchmark.logs.tidy_csv import read_tidy
from sb3_course.benchmark.storage.returns_table import COLUMNS, csv_of, tidy
from sb3_course.common.errors import UserError
from tests.benchmark import made_up

HEADER = "algorithm,environment,seed,step,return\n"


@pytest.fixture
def table(tmp_path):
    def read(text):
        path = tmp_path / "returns.csv"
        path.write_text(text)
        return read_tidy(path)

    return read


def test_what_this_project_writes_is_read_as_it_was(table):
    """With names that a spreadsheet would compute."""
    written = tidy(made_up.results(made_up.grid()))
    written["algorithm"] = [f"=1+{name}" for name in written["algorithm"]]
    found, unread = table(csv_of(written))
    assert unread == {}
    runs = [
        points.assign(algorithm=a, environment=e, seed=s) for (a, e, s), points in found.items()
    ]
    back = pd.concat(runs, ignore_index=True)[COLUMNS].sort_values(COLUMNS[:4], ignore_index=True)
    pd.testing.assert_frame_equal(back, written)


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n  "])
def test_a_last_row_without_a_newline_is_read(table, end):
    found, unread = table(HEADER + "A,E,0,10,1.5\nA,E,0,20,2.5" + end)
    assert found["A", "E", 0]["return_mean"].tolist() == [1.5, 2.5]
    assert unread == {}


def test_spaces_around_a_name_make_no_other_algorithm(table):
    found, unread = table(HEADER + "A,E,0,10,1\n A, E ,0,20,2\nA ,E,1,5,7\n'=A ,E,0,5,1\n")
    assert list(found) == [("A", "E", 0), ("A", "E", 1), ("=A", "E", 0)]
    assert found["A", "E", 0]["return_mean"].tolist() == [1, 2]
    assert unread == {}


def test_few_columns_are_enough_and_rows_have_any_order(table):
    found, _ = table(HEADER + "A,E,0,20,2.5\nA,E,0,10,1.5\nA,E,1,5,7\n")
    assert found["A", "E", 0][["step", "return_mean"]].to_numpy().tolist() == [[10, 1.5], [20, 2.5]]
    assert found["A", "E", 1]["num_timesteps"].tolist() == [5]
    assert found["A", "E", 0]["wall_time"].isna().all()


def test_cells_of_other_columns_may_be_empty(table):
    columns = "algorithm,environment,seed,step,return_mean,wall_time,num_timesteps,note\n"
    found, _ = table(columns + "A,E,0,10,1,,12,x\nA,E,0,20,2,3.5,,\n")
    points = found["A", "E", 0]
    np.testing.assert_array_equal(points["wall_time"], [np.nan, 3.5])
    assert points["num_timesteps"].tolist() == [10, 20]  # one is unknown, so all are


@pytest.mark.parametrize("taken", [(12, 24, 9, 18), (40, 40, 40, 40), (8, 19, 29, 39)])
def test_steps_that_were_counted_anew_are_not_believed(table, taken):
    rows = "".join(f"A,E,0,{10 * i},{i},{n}\n" for i, n in enumerate(taken, 1))
    found, _ = table(f"{HEADER.strip()},num_timesteps\n{rows}")
    assert found["A", "E", 0]["num_timesteps"].tolist() == [10, 20, 30, 40]


def test_a_spreadsheets_mark_of_utf8_is_no_part_of_a_name(table):
    assert list(table("\ufeff" + HEADER + "A,E,0,1,2\n")[0]) == [("A", "E", 0)]


def test_runs_that_are_none_leave_others_alone(table):
    found, unread = table(HEADER + "A,E,0,1,2\nB,E,0,5,1\nB,E,0,5,2\nC,E,0,1,nan\nD,E,0,x,1\n")
    assert list(found) == [("A", "E", 0)]
    assert "step 5 stands in line 3 and in line 4" in unread["B", "E", 0]
    assert "the return is nan" in unread["C", "E", 0]
    assert "line 6: step: given 'x'" in unread["D", "E", 0]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty: not even the names of columns"),
        ("a,b\n1,2\n", "without algorithm, environment, seed, step, return_mean (columns: a, b)"),
        ("algorithm,environment,seed,step,score\n", "without return_mean"),
        (HEADER + "A,E,x,1,2\n", "line 2: seed: given 'x'"),
        (HEADER + "A,E,-1,1,2\n", "line 2: seed -1; allowed"),
        (HEADER + "A,E,nan,1,2\n", "line 2: seed nan"),
        (
            HEADER + "A,E,4294967296,1,2\n",
            "seed 4294967296; allowed: whole numbers from 0 to 4,",
        ),
        (HEADER + "A,E,0.5,1,2\n", "line 2: seed 0.5"),
        (HEADER + " ,E,0,1,2\n", "line 2: algorithm ' '"),
        (HEADER + "A,E\x07,0,1,2\n", "line 2: environment 'E\\x07'"),
        (HEADER + f"A,{'E' * 300},0,1,2\n", "line 2: environment"),
        (HEADER + "A,E,0,1\n", "line 2: 4 cells for 5 columns"),
        (HEADER + "A,E,0,1,2\nA,E,0,1", "line 3: 4 cells for 5 columns"),
        (HEADER, "no row in it"),
        (HEADER.strip(), "no row in it"),
    ],
)
def test_what_is_no_such_table_gets_one_line(table, text, part):
    with pytest.raises(UserError) as caught:
        table(text)
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
