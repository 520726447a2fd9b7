"""Panels of the figures, and how they are laid out: together for print, alone for a page.

The functions that return panels take tables of :class:`.Analysis`. A figure for print is 3.4 inches
(a column) or 7 inches (a page) wide; a page arranges single panels by its own width.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sb3_course.benchmark.reporting.drawing import plots
from sb3_course.benchmark.reporting.drawing.files import COLUMN, INK, PAGE, plain_text_style
from sb3_course.benchmark.reporting.drawing.styles import Style, Styles
from sb3_course.benchmark.statistics.scores import Reference

TITLE_WIDTH = 26
"""Number of characters after which a panel's title is wrapped."""
ALONE = (3.0, 2.05)
"""Width and height of a panel on a page, in inches."""
HEIGHT = 1.85
"""Height of a panel in print, in inches."""


class Panel(NamedTuple):
    """One panel of a figure.

    :param title: Title above it
    :param draw: Function that draws on axes
    :param x: Label of the horizontal axis
    :param y: Label of the vertical axis
    :param height: Height of the panel in inches
    :param references: Names of the known returns that it has lines for
    :param wide: Whether it needs more than a column in print, for long names at its axis
    """

    title: str
    draw: Callable[[Axes], Any]
    x: str = ""
    y: str = ""
    height: float = HEIGHT
    references: Sequence[str] = ()
    wide: bool = False


def learning_curves(
    curves: pd.DataFrame,
    environments: Sequence[str],
    styles: Styles,
    x: str = "step",
    y: str = "Return",
    references: Mapping[str, Reference] | None = None,
) -> list[Panel]:
    """Return panels of means along training, one per environment.

    :param curves: Table with ``environment, algorithm, step, seconds, point, low, high``
    :param environments: Environments in the order of the panels
    :param styles: Style of the algorithms that are drawn
    :param x: Column along the horizontal axis, ``step`` or ``seconds``
    :param y: What the means are of
    :param references: Reference returns of environments that have some, drawn as lines
    :return: Panels
    """
    label = {"step": "Environment steps", "seconds": "Seconds of training"}[x]

    def panel(environment: str) -> Panel:
        rows = _of(curves, environment, styles)
        known = _near(rows, (references or {}).get(environment))

        def draw(axes: Axes) -> None:
            plots.curves(axes, rows, styles, x)
            plots.references(axes, known)

        return Panel(environment, draw, label, y, references=list(known))

    return [panel(environment) for environment in environments]


def _near(rows: pd.DataFrame, known: Reference | None) -> dict[str, float]:
    """Choose the reference returns whose lines leave the curves at least half of the panel."""
    numbers = rows[["point", "low", "high"]].to_numpy(dtype=float)
    if known is None or not np.isfinite(numbers).any():
        return {}
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    both = {"expert": known.expert, "random": known.random}
    return {k: v for k, v in both.items() if 2 * low - high <= v <= 2 * high - low}


def thin_lines(panels: Iterable[Panel]) -> str:
    """Return the sentence on the lines of known returns; empty if there are none.

    :param panels: Panels
    :return: Words that follow a caption
    """
    words = {"expert": "expert", "random": "random actions"}
    found = explained(panels)
    return f" Thin lines: {' and '.join(words[n] for n in words if n in found)}." if found else ""


def single_runs(runs: pd.DataFrame, environments: Sequence[str], styles: Styles) -> list[Panel]:
    """Return panels of single runs along training, one per environment.

    :param runs: Table with ``environment, algorithm, seed, step, return_mean``
    :param environments: Environments in the order of the panels
    :param styles: Style of the algorithms that are drawn
    :return: Panels
    """

    def panel(environment: str) -> Panel:
        rows = _of(runs, environment, styles)
        draw = partial(plots.runs, table=rows, styles=styles)
        return Panel(environment, draw, "Environment steps", "Return")

    return [panel(environment) for environment in environments]


def _of(table: pd.DataFrame, environment: str, styles: Styles) -> pd.DataFrame:
    chosen = (table["environment"] == environment) & table["algorithm"].isin(list(styles))
    return table[chosen]


def intervals(
    table: pd.DataFrame, column: str, names: Sequence[str], styles: Styles, x: str
) -> list[Panel]:
    """Return panels of estimates with intervals, one row per algorithm.

    :param table: Table with ``algorithm, point, low, high`` and the column
    :param column: Column that selects the panel, ``statistic`` or ``environment``
    :param names: Values of the column in the order of the panels
    :param styles: Style of every algorithm in the table
    :param x: What the estimates are of
    :return: Panels
    """

    def panel(name: str) -> Panel:
        rows = table[table[column] == name]
        height = 0.19 * len(styles) + 0.55
        wide = max(map(len, styles), default=0) > 24
        draw = partial(plots.intervals, table=rows, styles=styles)
        return Panel(name, draw, x, height=height, wide=wide)

    return [panel(name) for name in names]


def along(table: pd.DataFrame, styles: Styles, labels: tuple[str, str]) -> Panel:
    """Return a panel of one line per algorithm.

    :param table: Table with ``algorithm, position, point, low, high``
    :param styles: Style of the algorithms that are drawn
    :param labels: Labels of the horizontal and the vertical axis
    :return: Panel
    """
    rows = table[table["algorithm"].isin(list(styles))]
    return Panel("", lambda axes: plots.curves(axes, rows, styles, "position"), *labels, 2.2)


def explained(panels: Iterable[Panel]) -> list[str]:
    """Return the names of the known returns that some panels have lines for.

    :param panels: Panels
    :return: Names
    """
    return list(dict.fromkeys(name for panel in panels for name in panel.references))


def together(panels: Sequence[Panel], styles: Styles) -> Figure:
    """Lay out panels for print, with a legend that is read by row.

    The legend is beside a single panel, in a free place among several, or else above them.

    :param panels: Panels
    :param styles: Styles that the legend explains; none for panels with names at their axes
    :return: Figure
    """
    n, columns = len(panels), _columns(panels, names=not styles)
    rows = -(-n // columns)
    lines = handles(styles, explained(panels)) if styles else []
    with plain_text_style():
        width = PAGE if n > 1 or lines or panels[0].wide else COLUMN
        figure = Figure(figsize=(width, 0), layout="constrained")
        free = rows * columns > n and len(lines) <= 9
        per_row = _per_row(lines) if lines and n > 1 and not free else 0
        above = 0.17 * -(-len(lines) // per_row) + 0.1 if per_row else 0
        heights = [max(p.height for p in panels[i : i + columns]) for i in range(0, n, columns)]
        figure.set_figheight(sum(heights) + above + 0.1)
        ratios = [height / heights[0] for height in heights]
        grid = figure.add_gridspec(rows, columns, height_ratios=ratios)
        for i, panel in enumerate(panels):
            axes = figure.add_subplot(grid[i // columns, i % columns])
            _draw(axes, panel)
            axes.set_xlabel(panel.x if i + columns >= n and panel.x else axes.get_xlabel())
            axes.set_ylabel(panel.y if i % columns == 0 else "")
            if not lines and i % columns:
                axes.tick_params(labelleft=False)
        look = {"frameon": False, "handlelength": 2.4, "columnspacing": 1.2}
        if per_row:
            by_row = _by_row(lines, per_row)
            figure.legend(handles=by_row, loc="outside upper center", ncols=per_row, **look)
        elif lines and n > 1:
            place = figure.add_subplot(grid[rows - 1, columns - 1])
            place.set_axis_off()
            place.legend(handles=lines, loc="upper left", borderaxespad=0, **look)
        elif lines:
            figure.legend(handles=lines, loc="outside right upper", **look)
    return figure


def alone(panel: Panel) -> Figure:
    """Lay out one panel for a page, which has the legend.

    :param panel: Panel
    :return: Figure
    """
    with plain_text_style(1.0):
        figure = Figure(figsize=(ALONE[0], ALONE[1] + panel.height - HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, panel)
        axes.set(xlabel=panel.x, ylabel=panel.y)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    panel.draw(axes)
    axes.set_title(title(panel.title))


def title(text: str) -> str:
    """Break a title into lines, a long name after its dots and underscores.

    :param text: Title, such as a name of words or of code
    :return: Lines that fit above a panel where they can be broken
    """
    if max(map(len, text.split()), default=0) <= TITLE_WIDTH:
        return fill(text, TITLE_WIDTH)
    parts = fill(re.sub(r"(?<=[._])(?=\S)", " ", text), TITLE_WIDTH)
    return re.sub(r"(?<=[._]) ", "", parts)


def _columns(panels: Sequence[Panel], names: bool) -> int:
    """Return the number of columns; panels with names at their axes are narrower."""
    n, long = len(panels), max(len(panel.title) for panel in panels) > 16
    if names:
        return 3 if n in (5, 6) or (long and n > 3) else min(n, 4)
    return {1: 1, 2: 2, 4: 2}.get(n, 3)


def handles(styles: Styles, references: Sequence[str]) -> list[Line2D]:
    """Return the lines of a legend.

    :param styles: Styles that the legend explains
    :param references: Names of the lines of known returns that it explains
    :return: Lines with labels
    """
    lines = [_line(name, style) for name, style in styles.items()]
    for name in references:
        line = Line2D([], [], color=INK, linewidth=0.9, alpha=0.75, label=name)
        line.set_dashes(plots.REFERENCE_DASHES[name])
        lines.append(line)
    return lines


def _line(name: str, style: Style) -> Line2D:
    label = fill(name, plots.NAME_WIDTH)
    line = Line2D([], [], color=style.color, linewidth=1.5, label=label)
    if style.dash:
        line.set_dashes(style.dash)
    return line


def _per_row(lines: Sequence[Line2D]) -> int:
    """Return how many entries of a legend fit beside each other on a page."""
    for n in range(len(lines), 1, -1):
        widest = [max(len(str(line.get_label())) for line in lines[i::n]) for i in range(n)]
        if sum(0.062 * letters + 0.5 for letters in widest) <= PAGE:
            return n
    return 1


def _by_row(lines: Sequence[Line2D], n: int) -> list[Line2D]:
    """Reorder a legend's entries, which Matplotlib fills in by column, so that they read by row."""
    return [line for i in range(n) for line in lines[i::n]]


def probability_of_improvement(table: pd.DataFrame, algorithms: Sequence[str]) -> Figure:
    """Draw the probability of improvement of each algorithm over each other one.

    :param table: Table with ``x, y, point, low, high, apart``
    :param algorithms: Algorithms in the order of rows and columns
    :return: Figure
    """
    n = len(algorithms)
    bounds = n <= 7  # more would be wider than a page
    names = 0.06 * min(max(map(len, algorithms)), 18) + 0.35
    cell = 0.72 if bounds else min(0.42, (PAGE - names) / n)
    with plain_text_style():
        size = (cell * n + names, 0.65 * cell * n + names)
        figure = Figure(figsize=size, layout="constrained")
        plots.probability_of_improvement(figure.add_subplot(), table, algorithms, bounds)
    return figure
