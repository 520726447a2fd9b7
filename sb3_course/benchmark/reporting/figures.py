"""Whole figures, laid out for print: 3.4 inches wide (a column) or 7 (a page), and their files.

Each takes the tables of :class:`.Analysis` and returns a figure.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from textwrap import fill
from urllib.parse import quote

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from sb3_course.benchmark.reporting import plots
from sb3_course.benchmark.reporting.styles import Style
from sb3_course.common.files import write_atomically

Styles = Mapping[str, Style]

COLUMN, PAGE = 3.4, 7.0
"""Widths in inches."""
TITLE = 26
"""Letters of a panel's title, after which a new line begins."""
DPI = 200
"""Of the PNG."""
FORMATS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
"""File formats, each with the metadata that would otherwise hold the time of drawing."""


@contextmanager
def style(font_scale: float = 0.85) -> Iterator[None]:
    """Set sizes and fonts for print, and make files the same at each drawing.

    :param font_scale: size of letters, 1 for those of seaborn's ``paper``
    """
    with (
        mpl.rc_context(),
        sns.axes_style("whitegrid", {"axes.spines.top": False, "axes.spines.right": False}),
        sns.plotting_context("paper", font_scale=font_scale),
    ):
        mpl.rcParams.update({"svg.hashsalt": "sb3_course", "grid.linewidth": 0.6})
        yield


@contextmanager
def _naming() -> Iterator[None]:
    """Set the style of figures that hold names from grids, in which a dollar is a dollar."""
    with style():
        mpl.rcParams["text.parse_math"] = False
        yield


def learning_curves(
    curves: pd.DataFrame, environments: Sequence[str], styles: Styles, x: str = "step"
) -> Figure:
    """Mean returns along training, a panel for each environment.

    :param curves: ``environment, algorithm, step, seconds, point, low, high``
    :param environments: in the order of the panels
    :param styles: of every algorithm of the grid
    :param x: along which column: ``step`` or ``seconds``
    """
    label = {"step": "Environment steps", "seconds": "Seconds of training"}[x]
    with _naming():
        figure, panels = _panels(len(environments), styles)
        columns = _columns(len(environments))
        for i, (axes, environment) in enumerate(zip(panels, environments, strict=True)):
            plots.curves(axes, curves[curves["environment"] == environment], styles, x)
            axes.set_title(fill(environment, TITLE))
            axes.set_ylabel("Return" if i % columns == 0 else "")
            axes.set_xlabel(label if i + columns >= len(environments) else "")
    return figure


def _panels(n: int, styles: Styles) -> tuple[Figure, list[Axes]]:
    """Make so many panels, none of them empty, over a legend."""
    columns = _columns(n)
    rows = -(-n // columns)
    narrow = n == 1 and len(_legend_columns(styles, COLUMN)[0]) <= 3
    width = COLUMN if narrow else PAGE
    legend = _legend_columns(styles, width)
    height = rows * (2.3 if n == 1 else 1.85) + 0.15 * len(legend[0]) + 0.3
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    figure.legend(
        handles=[line for column in legend for line in column],
        loc="outside lower center",
        ncols=len(legend),
        frameon=False,
        handlelength=2.4,
        columnspacing=1.2,
    )
    return figure, [figure.add_subplot(grid[i // columns, i % columns]) for i in range(n)]


def _columns(n: int) -> int:
    return {1: 1, 2: 2, 4: 2}.get(n, 3)


def _legend_columns(styles: Styles, width: float) -> list[list[Line2D]]:
    """Arrange a legend's lines in as many columns as fit a width in inches."""
    lines = [_line(name, style) for name, style in styles.items()]
    for rows in range(1, len(lines) + 1):
        columns = [lines[i : i + rows] for i in range(0, len(lines), rows)]
        widest = [max(len(str(line.get_label())) for line in column) for column in columns]
        if sum(0.062 * letters + 0.5 for letters in widest) <= width:
            return columns
    return [lines]


def _line(name: str, style: Style) -> Line2D:
    line = Line2D([], [], color=style.color, linewidth=1.4, label=name)
    if style.dash:
        line.set_dashes(style.dash)
    return line


def panels_of_intervals(
    table: pd.DataFrame, column: str, names: Sequence[str], styles: Styles
) -> Figure:
    """Point estimates and intervals, an algorithm a row, a panel for each value of a column.

    :param table: ``algorithm, point, low, high`` and the column
    :param column: ``statistic`` or ``environment``
    :param names: its values, in the order of the panels
    :param styles: of every algorithm with a row
    """
    long = max(map(len, names)) > 16
    per_row = 3 if long or len(names) in (5, 6) else 4
    per_row = min(per_row, len(names))
    rows = -(-len(names) // per_row)
    width = PAGE if len(names) > 1 else COLUMN
    with _naming():
        height = rows * (0.19 * len(styles) + 0.55) + 0.15
        figure = Figure(figsize=(width, height), layout="constrained")
        grid = figure.add_gridspec(rows, per_row)
        for i, name in enumerate(names):
            axes = figure.add_subplot(grid[i // per_row, i % per_row])
            plots.intervals(axes, table[table[column] == name], styles)
            axes.set_title(fill(name, TITLE))
            if i % per_row:
                axes.tick_params(labelleft=False)
        figure.supxlabel("Normalized score", size="medium")
    return figure


def performance_profiles(table: pd.DataFrame, styles: Styles) -> Figure:
    """Performance profiles.

    :param table: ``algorithm, score, point, low, high``
    :param styles: of every algorithm with a profile
    """
    return _one_panel(table, styles, "score", "Normalized score", "Fraction of runs above it")


def sample_efficiency(table: pd.DataFrame, styles: Styles, budget: int | None) -> Figure:
    """IQM of scores along training.

    :param table: ``algorithm, fraction, point, low, high``
    :param styles: of every algorithm with a curve
    :param budget: environment steps of every environment; None where they differ, which leaves
        the fraction of each environment's budget as the axis
    """
    label = "Fraction of the budget" if budget is None else "Environment steps"
    scaled = table.assign(place=table["fraction"] * (budget or 1))
    return _one_panel(scaled, styles, "place", label, "IQM of normalized scores")


def _one_panel(table: pd.DataFrame, styles: Styles, x: str, xlabel: str, ylabel: str) -> Figure:
    with _naming():
        figure, (axes,) = _panels(1, styles)
        plots.curves(axes, table, styles, x)
        axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure


def probability_of_improvement(table: pd.DataFrame, algorithms: Sequence[str]) -> Figure:
    """Probability of improvement, each algorithm against each other.

    :param table: ``x, y, point, low, high``
    :param algorithms: in the order of rows and columns
    """
    n = len(algorithms)
    bounds = n <= 7  # more would be wider than a page
    names = 0.06 * min(max(map(len, algorithms)), 18) + 0.35
    cell = 0.72 if bounds else min(0.42, (PAGE - names) / n)
    with _naming():
        size = (cell * n + names, 0.65 * cell * n + names)
        figure = Figure(figsize=size, layout="constrained")
        plots.probability_of_improvement(figure.add_subplot(), table, algorithms, bounds)
    return figure


def save(figure: Figure, folder: Path, name: str, font_scale: float = 0.85) -> None:
    """Write a figure in every format; the same figure gives the same bytes.

    Each file is moved into its place whole: two commands on one grid may end, and draw, at once.

    :param figure: the figure
    :param folder: where to
    :param name: the files' name, without an ending
    :param font_scale: as it was drawn with
    """
    with style(font_scale):
        for ending, metadata in FORMATS.items():
            file = BytesIO()
            figure.savefig(file, format=ending, dpi=DPI, metadata=metadata)
            content = shrunk(file) if ending == "png" else file.getvalue()
            write_atomically(folder / f"{name}.{ending}", content)


def link(svg: str) -> str:
    """Write a drawing as a link, for a page that fetches nothing: a fifth less than base64 takes.

    :param svg: its file's text
    :return: fit for an attribute of HTML, without further escapes
    """
    return "data:image/svg+xml," + quote(" ".join(svg.split()), safe=" !$()*+,-./:;=?@_")


def shrunk(png: BytesIO) -> bytes:
    """Return a picture with 256 colors, which for lines and bands is enough: a third of the bytes.

    :param png: a PNG's content
    """
    smaller = BytesIO()
    with Image.open(png) as picture:
        picture.convert("RGB").quantize(256).save(smaller, "png", optimize=True, dpi=(DPI, DPI))
    return smaller.getvalue()
