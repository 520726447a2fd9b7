import numpy as np
import pandas as pd
import pytest

from sb3_course.benchmark.reporting.content import MAX_COLUMNS, NOTHING, Cell, Table
from sb3_course.benchmark.reporting.tables import layout
from sb3_course.benchmark.statistics.analysis import analyze
from tests.benchmark import made_up

COLUMNS = ["algorithm", "task", "point", "low", "high", "n_runs"]


@pytest.fixture(scope="module")
def analysis():
    grid = made_up.grid(seeds=2)
    return analyze(grid, made_up.results(grid))


def estimates(*rows):
    return pd.DataFrame(rows, columns=COLUMNS)


def test_each_column_has_as_many_digits_as_its_numbers_need(analysis):
    rows = [("NPG", "a", 1234.4, 1000.0, 2000.0, 2), ("NPG", "b", 0.123, 0.1, 0.2, 2)]
    table = layout.matrix(analysis, estimates(*rows), "task", ["a", "b"], "Return")
    ((name, a, b),) = table.cells
    assert (name.text, a.text, a.note) == ("NPG", "1,234", "[1,000, 2,000]")
    assert (b.text, b.note) == ("0.12", "[0.10, 0.20]")


def test_the_number_of_runs_is_said_once_if_it_is_the_same_everywhere(analysis):
    rows = [("NPG", "a", 1.0, 0.0, 2.0, 5), ("BatchActorCritic", "a", 1.0, 0.0, 2.0, 5)]
    table = layout.matrix(analysis, estimates(*rows), "task", ["a"], "Return")
    assert table.caption == "Return [95% interval]; 5 runs each"
    assert {row[1].note for row in table.cells} == {"[0.00, 2.00]"}
    rows[1] = (*rows[1][:-1], 1)
    table = layout.matrix(analysis, estimates(*rows), "task", ["a"], "Return")
    assert table.caption == "Return [95% interval] (number of runs)"
    assert [row[1].note for row in table.cells] == ["[0.00, 2.00] (5)", "[0.00, 2.00] (1)"]


def test_rows_are_in_the_order_of_the_report_and_gaps_are_marked(analysis):
    rows = [("BatchActorCritic", "a", 1.0, 0.0, 2.0, 2), ("NPG", "b", 1.0, 0.0, 2.0, 2)]
    table = layout.matrix(analysis, estimates(*rows), "task", ["a", "b"], "Return")
    texts = [[cell.text for cell in row] for row in table.cells]
    assert texts == [["NPG", NOTHING, "1.00"], ["BatchActorCritic", "1.00", NOTHING]]
    assert table.numeric == [False, True, True]


def test_the_highest_is_in_bold_with_those_whose_interval_overlaps():
    rows = estimates(
        ("A", "a", 5.0, 4.0, 6.0, 2),
        ("B", "a", 3.0, 2.0, 4.5, 2),
        ("C", "a", 1.0, 0.0, 3.9, 2),
        ("D", "a", 4.2, np.nan, np.nan, 1),
        ("E", "a", 3.8, np.nan, np.nan, 1),
    )
    assert layout.highest(rows) == {"A", "B", "D"}
    assert layout.highest(rows[-2:]) == {"D"}


@pytest.mark.parametrize(("lower", "best"), [(False, "BatchActorCritic"), (True, "NPG")])
def test_the_best_is_in_bold_with_those_not_told_apart_from_it(analysis, lower, best):
    pairs = analysis.probability_of_improvement
    apart = [{"NPG", "BatchActorCritic"} == {x, y} for x, y in zip(pairs["x"], pairs["y"])]
    names = list(analysis.design.algorithms)
    rows = pd.DataFrame({"algorithm": names, "point": [1.0, 3.0, 2.0]})
    for better in ("NPG", "BatchActorCritic"):
        told = pairs.assign(apart=apart, point=[0.9 if x == better else 0.1 for x in pairs["x"]])
        changed = made_up.changed(analysis, probability_of_improvement=told)
        # One with the best estimate that loses to another is not the only one in bold.
        expected = {best, names[2]} if better == best else set(names)
        assert layout.not_apart(changed, lower)(rows) == expected


def test_an_interval_is_drawn_on_the_scale_of_its_column():
    rows = estimates(("A", "a", 5.0, 0.0, 10.0, 2), ("B", "a", 2.5, np.nan, np.nan, 1))
    first, single = layout.records(rows)
    scale = layout.spanned(rows)
    assert scale == (0, 10)
    bar = layout.drawn(first, scale, "#000000", 10.0)
    assert (bar.low, bar.point, bar.high, bar.mark) == (2, 50, 98, 98)
    bar = layout.drawn(single, scale, "#000000")
    assert (bar.low, bar.point, bar.high, bar.mark) == (26, 26, 26, None)
    assert layout.drawn(single._replace(point=np.nan), scale, "#000000") is None


@pytest.mark.parametrize("value", [0.0, -3.0, 1e17, -1e17, 1e100])
def test_equal_numbers_of_any_size_are_drawn(value):
    rows = estimates(("A", "a", value, value, value, 2))
    (row,) = layout.records(rows)
    assert layout.drawn(row, layout.spanned(rows), "#000000").point == 2


@pytest.mark.parametrize(("n", "widths"), [(8, [8]), (9, [4, 5]), (20, [6, 7, 7])])
def test_a_table_wider_than_a_page_is_divided(n, widths):
    header = ["Algorithm", *map(str, range(n))]
    table = Table("caption", header, [["A", *(Cell(str(i)) for i in range(n))]])
    assert [len(part.header) - 1 for part in table.parts] == widths
    assert max(widths) <= MAX_COLUMNS
    assert [cell for part in table.parts for cell in part.header[1:]] == header[1:]
    assert [cell for part in table.parts for cell in part.rows[0][1:]] == list(table.rows[0][1:])
    assert all(part.rows[0][0] == "A" for part in table.parts)


def test_columns_of_numbers_are_known():
    cells = ["-1,234.5", "—", "", "12%", "3 s", "<0.001", ">1,000"]
    for text in cells:
        assert Table("", ["", "x"], [["A", text], ["B", "1"]]).numeric == [False, True]
    for text in ("Ant-v4", "v1.2", "open"):
        assert Table("", ["", "x"], [["A", text], ["B", "1"]]).numeric == [False, False]
    assert Table("", ["", "x"], [["A", "—"]]).numeric == [False, False]
