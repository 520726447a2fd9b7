"""The parts of a report: sections with their tables and pictures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

from matplotlib.figure import Figure

from sb3_course.benchmark.reporting.drawing.figures import Panel, explained
from sb3_course.benchmark.reporting.drawing.styles import Styles
from sb3_course.benchmark.statistics.bootstrap import CURVE_REPS, REPS
from sb3_course.benchmark.storage.result import RunResult

BAND = f"95% percentile bootstrap interval, {CURVE_REPS:,} replications at each point"
BAR = f"95% stratified bootstrap interval, {REPS:,} replications"
NOTHING = "—"
"""Stands in for a number that there is not."""
MAX_COLUMNS = 8
"""Number of columns beside the names that fit into a page."""


@dataclass(frozen=True)
class Record:
    """How the runs of a report were made.

    :param results: Results of a grid's runs, finished and failed; empty for logs of other programs
    :param n_runs: Number of runs that were declared; None if nothing was declared
    :param manifest: What the grid was run with; empty if unknown
    :param configuration: Complete grid as YAML; empty if there is none
    :param logs: Section on the logs that returns were read from; None for the results of a grid
    """

    results: Sequence[RunResult] = ()
    n_runs: int | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)
    configuration: str = ""
    logs: "Section | None" = None

    @property
    def failures(self) -> list[RunResult]:
        """Results of the runs that failed."""
        return [result for result in self.results if result.failure is not None]


class Bar(NamedTuple):
    """An interval drawn in a cell; positions are in percent of the width.

    :param point: Position of the estimate
    :param low: Position of the lower bound; equal to that of the estimate if there is none
    :param high: Position of the upper bound
    :param color: Color, such as ``#0173b2``
    :param mark: Position of a line that the interval is compared with; None for no line
    """

    point: float
    low: float
    high: float
    color: str
    mark: float | None = None


class Cell(NamedTuple):
    """A cell of a table.

    :param text: Main text
    :param note: Text in small print after it, such as an interval
    :param bold: Whether the main text is in bold
    :param bar: Interval that a page draws above the text
    :param state: Word that a page turns into a sign before the text: ``yes`` or ``no``
    """

    text: str
    note: str = ""
    bold: bool = False
    bar: Bar | None = None
    state: str = ""


Row: TypeAlias = Sequence[Cell | str]


@dataclass(frozen=True)
class Table:
    """A table.

    :param caption: What the table shows
    :param header: Names of the columns
    :param rows: Cells of each row; the first one names the row
    :param styles: Styles of the algorithms that are names of rows, which a page puts before them
    :param folded: Whether a page shows only the caption until it is clicked
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Row]
    styles: Styles = field(default_factory=dict)
    folded: bool = False

    @property
    def cells(self) -> list[list[Cell]]:
        """Rows of cells."""
        return [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in self.rows]

    @property
    def parts(self) -> list["Table"]:
        """The table, or tables of some of its columns each if it has more than a page is wide."""
        n = len(self.header) - 1
        k = -(-n // MAX_COLUMNS)
        if k < 2:
            return [self]
        places = [range(1 + n * i // k, 1 + n * (i + 1) // k) for i in range(k)]
        return [
            replace(
                self,
                header=[self.header[0], *(self.header[j] for j in place)],
                rows=[[row[0], *(row[j] for j in place)] for row in self.rows],
            )
            for place in places
        ]

    @property
    def single(self) -> bool:
        """Whether one column has drawn intervals, which then have the room of the others."""
        return (
            max((sum(cell.bar is not None for cell in row) for row in self.cells), default=0) == 1
        )

    @property
    def numeric(self) -> list[bool]:
        """Whether each column has numbers, which are aligned right."""
        number = re.compile(r"[-+<>]?[\d.,]+( .*|[%s]?)")
        columns = zip(*self.cells, strict=True)
        return [
            all(number.fullmatch(cell.text) or cell.text in ("", NOTHING) for cell in column)
            and any(cell.text not in ("", NOTHING) for cell in column)
            for column in columns
        ]


@dataclass(frozen=True)
class Picture:
    """A figure and the texts that belong to it.

    :param name: Name of its files, without a suffix
    :param alt: Description for readers who cannot see the figure
    :param caption: Caption below the figure
    :param figure: Figure for print
    :param panels: Panels that a page arranges by its width; none to show the figure for print
    :param legend: Styles that a page explains beside the panels
    :param more: Panels that a page shows on demand, under their title
    :param printed: Whether only the README shows it, because a page's table has the same drawings
    :param title: Heading of the picture; empty for none
    """

    name: str
    alt: str
    caption: str
    figure: Figure
    panels: Sequence[Panel] = ()
    legend: Styles = field(default_factory=dict)
    more: tuple[str, Sequence[Panel]] | None = None
    printed: bool = False
    title: str = ""

    @property
    def references(self) -> list[str]:
        """Names of the lines of known returns, which the legend explains, too."""
        return explained(self.panels)


@dataclass(frozen=True)
class Section:
    """One section of a report.

    :param title: Heading
    :param paragraphs: Paragraphs of plain text
    :param points: Sentences of a bulleted list
    :param code: Commands, one per line
    :param pictures: Figures with their captions
    :param tables: Tables below the figures
    :param details: Titles and long texts that are collapsed at first
    :param half: Whether a wide page shows it beside another section
    """

    title: str
    paragraphs: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    code: str = ""
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    details: list[tuple[str, str]] = field(default_factory=list)
    half: bool = False
