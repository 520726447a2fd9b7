"""The parts of a report: sections with their tables and pictures, and how numbers are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from sb3_course.benchmark.statistics.bootstrap import CURVE_REPS, REPS
from sb3_course.benchmark.storage.result import RunResult

BAND = f"95% percentile bootstrap interval, {CURVE_REPS:,} replications at each point"
BAR = f"95% stratified bootstrap interval, {REPS:,} replications"


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


class Table(NamedTuple):
    """A table of texts.

    :param caption: What the table shows
    :param header: Names of the columns
    :param rows: Cells of each row; the first one names the row
    """

    caption: str
    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Picture:
    """A figure and the texts that belong to it.

    :param name: Name of its files, without a suffix
    :param alt: Description for readers who cannot see the figure
    :param caption: Caption below the figure
    :param figure: Figure itself
    """

    name: str
    alt: str
    caption: str
    figure: Figure


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
    """

    title: str
    paragraphs: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    code: str = ""
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    details: list[tuple[str, str]] = field(default_factory=list)


def interval(point: float, low: float, high: float, digits: int = 2) -> str:
    """Return an estimate with its interval as text; a single run has no interval.

    :param point: Estimate
    :param low: Lower bound, NaN if there is none
    :param high: Upper bound
    :param digits: Number of digits after the decimal point
    :return: Estimate and bounds, such as ``0.83 [0.75, 0.90]``
    """
    bounds = f"[{low:.{digits}f}, {high:.{digits}f}]" if np.isfinite(low) else "[one run]"
    return f"{point:.{digits}f} {bounds}"


def quantity(n: int, noun: str) -> str:
    """Return a number with its noun, such as ``3 runs``.

    :param n: Number
    :param noun: Noun in the singular
    :return: Number and noun, in the plural unless the number is 1
    """
    return f"{n} {noun}{'' if n == 1 else 's'}"
