"""Drawings of single panels on given axes; each function returns the axes."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator, StrMethodFormatter

from sb3_course.benchmark.reporting.drawing.families import MAX_LINES
from sb3_course.benchmark.reporting.drawing.files import INK
from sb3_course.benchmark.reporting.drawing.styles import Styles

NICE = [1, 2, 2.5, 5, 10]
"""Distances between ticks, up to powers of ten."""
NAME_WIDTH = 60
"""Number of characters after which an algorithm's name is wrapped."""
STEPS = ("step", "position")
"""Columns that may count environment steps."""
REFERENCE_DASHES: dict[str, tuple[float, ...]] = {"expert": (6, 2), "random": (1.2, 2)}
"""Dash patterns of the lines of reference returns."""
ON_CELL = "#fefefe"
"""Color of light text on a dark cell; not exactly white, which is the color of backgrounds."""


def curves(axes: Axes, table: pd.DataFrame, styles: Styles, x: str) -> Axes:
    """Draw one line per algorithm and a band between the bounds of its interval.

    :param axes: Axes to draw on
    :param table: One row per algorithm and position, with ``algorithm, point, low, high`` and ``x``
    :param styles: Style of each algorithm; the first one is drawn on top
    :param x: Column along the horizontal axis, ascending for each algorithm
    :return: The same axes
    """
    for depth, (algorithm, style) in enumerate(styles.items()):
        rows = table[table["algorithm"] == algorithm]
        at, low, high = rows[x], rows["low"].astype(float), rows["high"].astype(float)
        order = 3 - depth / len(styles)
        band = axes.fill_between(at, low, high, color=style.color, linewidth=0)
        band.set(alpha=0.18 if len(styles) <= MAX_LINES else 0.1, zorder=order - 1)
        (line,) = axes.plot(at, rows["point"], color=style.color, linewidth=1.5, zorder=order)
        if style.dash:
            line.set_dashes(style.dash)
    axes.set_xlim(*_span(table[x]))
    nice_ticks(axes, steps=x in STEPS)
    return axes


def runs(axes: Axes, table: pd.DataFrame, styles: Styles) -> Axes:
    """Draw one thin line per run, along its environment steps.

    :param axes: Axes to draw on
    :param table: One row per run and evaluation, with ``algorithm, seed, step, return_mean``
    :param styles: Style of each algorithm; the first one is drawn on top
    :return: The same axes
    """
    for depth, (algorithm, style) in enumerate(styles.items()):
        for _, run in table[table["algorithm"] == algorithm].groupby("seed"):
            (line,) = axes.plot(run["step"], run["return_mean"], color=style.color, linewidth=0.8)
            line.set(alpha=0.75, zorder=3 - depth / len(styles))
    axes.set_xlim(*_span(table["step"]))
    nice_ticks(axes, steps=True)
    return axes


def _span(values: pd.Series) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1.0


def references(axes: Axes, returns: Mapping[str, float]) -> Axes:
    """Draw known returns as horizontal lines, which the legend explains.

    :param axes: Axes that the curves are drawn on
    :param returns: Returns by name, with names of :data:`REFERENCE_DASHES`
    :return: The same axes
    """
    for name, value in returns.items():
        dash = REFERENCE_DASHES[name]
        axes.axhline(value, color=INK, linewidth=0.9, dashes=dash, alpha=0.75, zorder=1.5)
    axes.autoscale_view(scalex=False)
    return axes


def nice_ticks(axes: Axes, steps: bool = False) -> None:
    """Set a few ticks at round numbers, all of one kind, with thousands separated as in tables.

    :param axes: Axes whose ticks are set, after drawing
    :param steps: Whether the horizontal axis counts in thousands or millions from ten thousand on
    """
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=NICE))
        _separate_thousands(axis)
    most = np.abs(axes.get_xlim()).max()
    if steps and most >= 10_000:
        unit, letter = (1e6, "M") if most >= 1e6 else (1e3, "k")
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value / unit:g}{letter}" if value else "0")
        )


def _separate_thousands(axis: Axis) -> None:
    if np.abs(axis.get_view_interval()).max() >= 1000:
        ticks = axis.get_majorticklocs()
        off = (np.abs(ticks - np.round(ticks, digits)).max() for digits in range(4))
        digits = next((digits for digits, most in enumerate(off) if most < 1e-6), 4)
        axis.set_major_formatter(StrMethodFormatter(f"{{x:,.{digits}f}}"))


def intervals(axes: Axes, table: pd.DataFrame, styles: Styles) -> Axes:
    """Draw point estimates with their intervals, one row per algorithm.

    :param axes: Axes to draw on
    :param table: One row per algorithm, with ``algorithm, point, low, high``
    :param styles: Style of each algorithm; the first one is in the top row
    :return: The same axes
    """
    rows = {algorithm: y for y, algorithm in enumerate(styles)}
    columns = (table[name].tolist() for name in ("algorithm", "point", "low", "high"))
    for algorithm, point, low, high in zip(*columns, strict=True):
        y, color = rows[algorithm], styles[algorithm].color
        if np.isfinite(low):
            axes.barh(y, high - low, left=low, height=0.6, color=color, alpha=0.4)
        axes.plot([point, point], [y - 0.3, y + 0.3], color=color, linewidth=2)
    axes.set_yticks(range(len(rows)), [fill(name, NAME_WIDTH) for name in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.use_sticky_edges = False  # of the bars, at which a point would be cut in half
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=NICE))
    _separate_thousands(axes.xaxis)
    axes.grid(visible=False, axis="y")
    return axes


def probability_of_improvement(
    axes: Axes, table: pd.DataFrame, algorithms: Sequence[str], bounds: bool = True
) -> Axes:
    """Draw P(X > Y) of every pair as a heat map, in bold where the pair is told apart.

    :param axes: Axes to draw on
    :param table: One row per pair, with ``x, y, point, low, high, apart``; the converse of a pair
        is computed as its complement
    :param algorithms: Algorithms in the order of rows (X) and columns (Y)
    :param bounds: Whether to write the bounds of each interval into its cell
    :return: The same axes
    """
    cells, names = _both_ways(table), list(algorithms)
    square = cells.pivot(index="x", columns="y", values="point").reindex(index=names, columns=names)
    every: Any = {"xticklabels": names, "yticklabels": names}  # also where cells are small
    sns.heatmap(
        square.astype(float),
        ax=axes,
        vmin=0,
        vmax=1,
        cmap="vlag_r",
        cbar=False,
        linewidths=1,
        **every,
    )
    for x, y, point, low, high, apart in cells.itertuples(index=False):
        text = f"{point:.2f}"
        if bounds and np.isfinite(low):
            text += f"\n[{low:.2f}, {high:.2f}]"
        cell = axes.text(names.index(y) + 0.5, names.index(x) + 0.5, text, size="small")
        cell.set(ha="center", va="center", color=ON_CELL if abs(point - 0.5) > 0.35 else "black")
        cell.set_fontweight("bold" if apart else "normal")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.set_xticklabels([wrapped(name) for name in names], rotation=90)
    axes.set_yticklabels([wrapped(name) for name in names], rotation=0, multialignment="right")
    axes.set(xlabel="Y", ylabel="X")
    return axes


def _both_ways(pairs: pd.DataFrame) -> pd.DataFrame:
    """Add the converse of each pair, P(Y > X) = 1 - P(X > Y), with its bounds swapped."""
    columns = ["x", "y", "point", "low", "high", "apart"]
    converse = pairs.rename(columns={"x": "y", "y": "x", "low": "high", "high": "low"})
    numbers = ["point", "low", "high"]
    converse[numbers] = 1 - converse[numbers]
    return pd.concat([pairs[columns], converse[columns]], ignore_index=True)


def wrapped(name: str) -> str:
    """Break a long name into lines, before a parenthesis if there is one.

    :param name: Name of an algorithm
    :return: Name with line breaks
    """
    return "\n".join(fill(part, 20) for part in name.replace(" (", "\n(").splitlines())
