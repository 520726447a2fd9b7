"""Estimates of all algorithms in columns: one row per algorithm, the best of a column in bold."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from sb3_course.benchmark.reporting.content import NOTHING, Bar, Cell, Table
from sb3_course.benchmark.reporting.drawing.styles import Styles, styles
from sb3_course.benchmark.reporting.numbers import bounds, number, quantity
from sb3_course.benchmark.statistics.analysis import Analysis
from sb3_course.common.numbers import digits

Best: TypeAlias = Callable[[pd.DataFrame], set[str]]
"""Chooses the names in bold among a column's rows, which have ``algorithm, point, low, high``."""

OVERLAP = "bold: the best and all whose interval overlaps its interval"
NOT_APART = "bold: the best and all not told apart from it"


def look(analysis: Analysis) -> Styles:
    """Return the styles of all algorithms of a report.

    :param analysis: Every number of the report
    :return: Styles in the order of the report
    """
    return styles(analysis.design.algorithms)


def records(table: pd.DataFrame) -> Iterator[Any]:
    """Return the rows of a table, with one attribute per column.

    :param table: Table
    :return: Rows
    """
    return iter(table.itertuples(index=False))


def matrix(
    analysis: Analysis,
    table: pd.DataFrame,
    column: str,
    names: Sequence[str],
    caption: str,
    best: Best | None = None,
    folded: bool = False,
    n_digits: int | None = None,
) -> Table:
    """Arrange estimates in one row per algorithm and one column per name.

    :param analysis: Every number of the report
    :param table: Table with ``algorithm, point, low, high, n_runs`` and the column
    :param column: Column whose values are the names, such as ``environment``
    :param names: Names of the table's columns
    :param caption: What the numbers are; the number of runs is added to it, or else to each cell
    :param best: What is in bold; nothing if None
    :param folded: Whether a page shows the table on demand
    :param n_digits: Number of digits after the decimal point, by each column's size if None
    :return: Table
    """
    counts = set(table["n_runs"])
    same = f"; {quantity(int(counts.pop()), 'run')} each" if len(counts) == 1 else ""
    of, cells = look(analysis), {}
    for name in names:
        rows = table[table[column] == name]
        n = digits(rows["point"]) if n_digits is None else n_digits
        bold = best(rows) if best and len(rows) > 1 else set()
        scale = spanned(rows)
        for row in records(rows):
            note = bounds(row.low, row.high, n) + ("" if same else f" ({row.n_runs})")
            bar = drawn(row, scale, of[row.algorithm].hex)
            cells[row.algorithm, name] = Cell(
                number(row.point, n), note.strip(), row.algorithm in bold, bar
            )
    runs = same or " (number of runs)"
    text = f"{caption} [95% interval]{runs}{explained(best)}"
    return arranged(analysis, text, cells, names, folded)


def explained(best: Best | None) -> str:
    """Return what bold print means, as the end of a caption."""
    if best is None:
        return ""
    return f"; {OVERLAP if best is highest else NOT_APART}"


def arranged(
    analysis: Analysis,
    caption: str,
    cells: Mapping[tuple[str, str], Cell],
    names: Sequence[str],
    folded: bool = True,
) -> Table:
    """Arrange cells in one row for each algorithm that has any, in the order of the report."""
    present = {algorithm for algorithm, _ in cells}
    rows = [
        [algorithm, *(cells.get((algorithm, name), NOTHING) for name in names)]
        for algorithm in analysis.design.algorithms
        if algorithm in present
    ]
    return Table(caption, ["Algorithm", *names], rows, look(analysis), folded)


def spanned(rows: pd.DataFrame) -> tuple[float, float]:
    """Return the scale of a column's drawn intervals: from its lowest to its highest number."""
    numbers = rows[["point", "low", "high"]].to_numpy(dtype=float)
    if not np.isfinite(numbers).any():
        return 0.0, 1.0
    low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))
    return low, high if high > low else low + max(1.0, abs(low))  # 1e17 + 1 is 1e17


def drawn(
    row: Any, scale: tuple[float, float], color: str, mark: float | None = None
) -> Bar | None:
    """Draw an estimate with its interval on a scale.

    :param row: Numbers ``point, low, high``
    :param scale: Numbers at both ends of the drawing
    :param color: Color
    :param mark: Number that the interval is compared with
    :return: Drawing, None if there is no estimate
    """
    start, end = scale

    def position(value: float) -> float:
        return round(min(max(2 + 96 * (value - start) / (end - start), 0.0), 100.0), 1)

    if not np.isfinite(row.point):
        return None
    point = position(row.point)
    low, high = (point if pd.isna(v) else position(v) for v in (row.low, row.high))
    return Bar(point, low, high, color, None if mark is None else position(mark))


def highest(rows: pd.DataFrame) -> set[str]:
    """Choose the row with the highest estimate, and those whose interval overlaps its interval.

    :param rows: Rows of a column, with ``algorithm, point, low, high``
    :return: Names of algorithms
    """
    low, high = (rows[name].astype(float).fillna(rows["point"]) for name in ("low", "high"))
    top = rows["point"] == rows["point"].max()
    return set(rows.loc[high >= low[top].min(), "algorithm"])


def not_apart(analysis: Analysis, lower: bool = False) -> Best:
    """Return a function that chooses the best row and all that it is not told apart from as better.

    An estimate may be the highest of all, and its algorithm still lose to another one on most
    environments: that one is chosen, too.

    :param analysis: Every number of the report
    :param lower: Whether the lowest estimate is the best
    :return: Function of a column's rows
    """
    beaten = wins(analysis)

    def best(rows: pd.DataFrame) -> set[str]:
        at = rows["point"].idxmin() if lower else rows["point"].idxmax()
        top = rows.loc[at, "algorithm"]
        return {name for name in rows["algorithm"] if (top, name) not in beaten}

    return best


def wins(analysis: Analysis) -> set[tuple[str, str]]:
    """Return the pairs that are told apart.

    :param analysis: Every number of the report
    :return: Names of the better and the worse algorithm of each
    """
    pairs = analysis.probability_of_improvement
    told = records(pairs.loc[pairs["apart"].astype(bool), ["x", "y", "point"]])
    return {(x, y) if point > 0.5 else (y, x) for x, y, point in told}
