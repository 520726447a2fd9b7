"""Complete figures for print, 3.4 inches (a column) or 7 inches (a page) wide, and their files.

Each function takes tables of :class:`.Analysis` and returns a figure.
"""

from collections.abc import Iterator, Sequence
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
from sb3_course.benchmark.reporting.styles import Style, Styles
from sb3_course.common.files import write_atomically

COLUMN, PAGE = 3.4, 7.0
"""Widths in inches."""
TITLE_WIDTH = 26
"""Number of characters after which a panel's title is wrapped."""
DPI = 200
"""Resolution of PNG files."""
FORMATS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
"""File formats, each with the metadata that would otherwise contain the time of drawing."""


@contextmanager
def style(font_scale: float = 0.85) -> Iterator[None]:
    """Set sizes and fonts for print, and make files reproducible.

    :param font_scale: Size of the text relative to seaborn's ``paper`` context
    """
    with (
        mpl.rc_context(),
        sns.axes_style("whitegrid", {"axes.spines.top": False, "axes.spines.right": False}),
        sns.plotting_context("paper", font_scale=font_scale),
    ):
        mpl.rcParams.update({"svg.hashsalt": "sb3_course", "grid.linewidth": 0.6})
        yield


@contextmanager
def _plain_text_style() -> Iterator[None]:
    """Set the style of figures with names from grids, whose dollar signs start no formula."""
    with style():
        mpl.rcParams["text.parse_math"] = False
        yield


def learning_curves(
    curves: pd.DataFrame, environments: Sequence[str], styles: Styles, x: str = "step"
) -> Figure:
    """Draw mean returns along training, one panel per environment.

    :param curves: Table with ``environment, algorithm, step, seconds, point, low, high``
    :param environments: Environments in the order of the panels
    :param styles: Style of every algorithm of the grid
    :param x: Column along the horizontal axis, ``step`` or ``seconds``
    :return: Figure
    """
    label = {"step": "Environment steps", "seconds": "Seconds of training"}[x]
    with _plain_text_style():
        figure, panels = _panels(len(environments), styles)
        columns = _columns(len(environments))
        for i, (axes, environment) in enumerate(zip(panels, environments, strict=True)):
            plots.curves(axes, curves[curves["environment"] == environment], styles, x)
            axes.set_title(fill(environment, TITLE_WIDTH))
            axes.set_ylabel("Return" if i % columns == 0 else "")
            axes.set_xlabel(label if i + columns >= len(environments) else "")
    return figure


def _panels(n: int, styles: Styles) -> tuple[Figure, list[Axes]]:
    """Make the given number of panels above a legend, with no empty panel."""
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
    """Arrange a legend's lines in as many columns as fit into a width in inches."""
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
    """Draw estimates with intervals, one row per algorithm and one panel per value of a column.

    :param table: Table with ``algorithm, point, low, high`` and the column
    :param column: Column that selects the panel, ``statistic`` or ``environment``
    :param names: Values of the column in the order of the panels
    :param styles: Style of every algorithm in the table
    :return: Figure
    """
    long = max(map(len, names)) > 16
    per_row = 3 if long or len(names) in (5, 6) else 4
    per_row = min(per_row, len(names))
    rows = -(-len(names) // per_row)
    width = PAGE if len(names) > 1 else COLUMN
    with _plain_text_style():
        height = rows * (0.19 * len(styles) + 0.55) + 0.15
        figure = Figure(figsize=(width, height), layout="constrained")
        grid = figure.add_gridspec(rows, per_row)
        for i, name in enumerate(names):
            axes = figure.add_subplot(grid[i // per_row, i % per_row])
            plots.intervals(axes, table[table[column] == name], styles)
            axes.set_title(fill(name, TITLE_WIDTH))
            if i % per_row:
                axes.tick_params(labelleft=False)
        figure.supxlabel("Normalized score", size="medium")
    return figure


def performance_profiles(table: pd.DataFrame, styles: Styles) -> Figure:
    """Draw performance profiles.

    :param table: Table with ``algorithm, score, point, low, high``
    :param styles: Style of every algorithm in the table
    :return: Figure
    """
    return _one_panel(table, styles, "score", "Normalized score", "Fraction of runs above score")


def sample_efficiency(table: pd.DataFrame, styles: Styles, budget: int | None) -> Figure:
    """Draw the IQM of scores along training.

    :param table: Table with ``algorithm, fraction, point, low, high``
    :param styles: Style of every algorithm in the table
    :param budget: Environment steps of every environment; None if they differ, in which case the
        axis is the fraction of each environment's budget
    :return: Figure
    """
    label = "Fraction of the budget" if budget is None else "Environment steps"
    scaled = table.assign(position=table["fraction"] * (budget or 1))
    return _one_panel(scaled, styles, "position", label, "IQM of normalized scores")


def _one_panel(table: pd.DataFrame, styles: Styles, x: str, xlabel: str, ylabel: str) -> Figure:
    with _plain_text_style():
        figure, (axes,) = _panels(1, styles)
        plots.curves(axes, table, styles, x)
        axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure


def probability_of_improvement(table: pd.DataFrame, algorithms: Sequence[str]) -> Figure:
    """Draw the probability of improvement of each algorithm over each other one.

    :param table: Table with ``x, y, point, low, high``
    :param algorithms: Algorithms in the order of rows and columns
    :return: Figure
    """
    n = len(algorithms)
    bounds = n <= 7  # more would be wider than a page
    names = 0.06 * min(max(map(len, algorithms)), 18) + 0.35
    cell = 0.72 if bounds else min(0.42, (PAGE - names) / n)
    with _plain_text_style():
        size = (cell * n + names, 0.65 * cell * n + names)
        figure = Figure(figsize=size, layout="constrained")
        plots.probability_of_improvement(figure.add_subplot(), table, algorithms, bounds)
    return figure


def save(figure: Figure, folder: Path, name: str, font_scale: float = 0.85) -> None:
    """Write a figure in every format.

    Each file is replaced atomically, because two commands on one grid may finish and draw at the
    same time.

    :param figure: Figure to write
    :param folder: Folder of the files
    :param name: Name of the files without a suffix
    :param font_scale: Font scale that the figure was drawn with
    """
    for file, content in drawn(figure, name, font_scale).items():
        write_atomically(folder / file, content)


def drawn(figure: Figure, name: str, font_scale: float = 0.85) -> dict[str, bytes]:
    """Draw a figure in every format; the same figure always results in the same bytes.

    :param figure: Figure to draw
    :param name: Name of the files without a suffix
    :param font_scale: Font scale that the figure was drawn with
    :return: Content of each file, by name
    """
    files = {}
    with style(font_scale):
        for ending, metadata in FORMATS.items():
            file = BytesIO()
            figure.savefig(file, format=ending, dpi=DPI, metadata=metadata)
            content = compressed(file) if ending == "png" else file.getvalue()
            files[f"{name}.{ending}"] = content
    return files


def data_uri(svg: str) -> str:
    """Return a drawing as a data URI, for a page that loads nothing; a fifth smaller than base64.

    :param svg: Text of an SVG file
    :return: URI that can be used in an HTML attribute without further escaping
    """
    return "data:image/svg+xml," + quote(" ".join(svg.split()), safe=" !$()*+,-./:;=?@_")


def compressed(png: BytesIO) -> bytes:
    """Reduce a picture to 256 colors, which is enough for lines and bands and a third of the size.

    :param png: Content of a PNG file
    :return: Content of the smaller PNG file
    """
    smaller = BytesIO()
    with Image.open(png) as picture:
        picture.convert("RGB").quantize(256).save(smaller, "png", optimize=True, dpi=(DPI, DPI))
    return smaller.getvalue()
