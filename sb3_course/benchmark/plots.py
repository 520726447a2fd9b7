"""Figures: what takes axes returns axes; the functions at the end lay out whole figures."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from sb3_course.benchmark.scores import ALL

Palette = Mapping[str, tuple[float, float, float]]

# A format's metadata would otherwise hold the time of drawing.
FORMATS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


NICE = [1, 2, 2.5, 5, 10]
"""Distances between ticks, up to powers of ten."""


def palette(algorithms: Sequence[str]) -> Palette:
    """Give each algorithm its colour, from a palette that colour-blind readers can tell apart.

    :param algorithms: all algorithms of a grid, in its order
    """
    return dict(zip(algorithms, sns.color_palette("colorblind", len(algorithms)), strict=True))


def learning_curve(axes: Axes, table: pd.DataFrame, colours: Palette) -> Axes:
    """Draw mean returns over seeds with a 95% bootstrap interval.

    :param axes: where to draw
    :param table: tidy returns of one environment: ``algorithm, seed, step, return_mean``
    :param colours: of each algorithm; algorithms are drawn in its order
    """
    present = set(table["algorithm"])
    order = [name for name in colours if name in present]
    sns.lineplot(
        table,
        x="step",
        y="return_mean",
        hue="algorithm",
        hue_order=order,
        palette={name: colours[name] for name in order},
        errorbar=("ci", 95),
        n_boot=1000,
        seed=0,
        legend=False,
        ax=axes,
    )
    axes.set(xlabel="Environment steps", ylabel="Evaluation return")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=NICE))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=NICE))
    axes.set_xlim(left=0, right=table["step"].max())
    return axes


def intervals(axes: Axes, table: pd.DataFrame, colours: Palette) -> Axes:
    """Draw point estimates with their intervals, an algorithm a row.

    :param axes: where to draw
    :param table: a row for each algorithm: ``algorithm, iqm, low, high``
    :param colours: of each algorithm; the first is drawn on top
    """
    names = list(colours)
    columns = (table[name].tolist() for name in ("algorithm", "iqm", "low", "high"))
    for algorithm, point, low, high in zip(*columns, strict=True):
        y, colour = names.index(algorithm), colours[algorithm]
        axes.barh(y, high - low, left=low, height=0.55, color=colour, alpha=0.35)
        axes.plot([point, point], [y - 0.275, y + 0.275], color=colour, linewidth=2)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.axvline(0, color="0.5", linewidth=0.8)  # the score of random actions
    axes.use_sticky_edges = False
    axes.margins(x=0.06)
    axes.set_xlabel("Normalised score (IQM)")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=NICE))
    axes.grid(visible=False, axis="y")
    return axes


@contextmanager
def style() -> Iterator[None]:
    """Set sizes and fonts for print, and make files the same at each drawing."""
    with (
        mpl.rc_context(),
        sns.axes_style("whitegrid", {"axes.spines.top": False, "axes.spines.right": False}),
        sns.plotting_context("paper", font_scale=1.0),
    ):
        mpl.rcParams.update({"svg.hashsalt": "sb3_course", "grid.linewidth": 0.6})
        yield


def learning_curves(
    table: pd.DataFrame, environments: Sequence[str], algorithms: Sequence[str]
) -> Figure:
    """Figure 1: a panel of learning curves for each environment.

    :param table: tidy returns
    :param environments: in the order of the panels
    :param algorithms: all of the grid's, in its order
    """
    colours = palette(algorithms)
    with style():
        columns = 2 if len(environments) == 4 else min(len(environments), 3)
        rows = -(-len(environments) // columns)
        figure = Figure(figsize=(3.4 * columns, 2.6 * rows + 0.5), layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes, environment in zip(panels, environments, strict=False):
            learning_curve(axes, table[table["environment"] == environment], colours)
            axes.set_title(environment)
            if axes.get_subplotspec().colspan.start > 0:
                axes.set_ylabel("")
        for axes in panels[len(environments) :]:
            axes.set_axis_off()
        handles = [Line2D([], [], color=c, linewidth=2, label=n) for n, c in colours.items()]
        per_row = min(len(handles), 4 if columns > 1 else 2)
        figure.legend(handles=handles, loc="outside lower center", ncols=per_row, frameon=False)
    return figure


def iqm(table: pd.DataFrame, environments: Sequence[str], algorithms: Sequence[str]) -> Figure:
    """Figure 2: interquartile means of normalised scores, a panel for each environment and all.

    :param table: :func:`~sb3_course.benchmark.scores.pointtable`
    :param environments: in the order of the panels
    :param algorithms: all of the grid's, in its order
    """
    colours = palette(algorithms)
    present = set(table["environment"])
    groups = [name for name in [*environments, ALL] if name in present]
    with style():
        size = (2.2 * len(groups) + 1.2, 0.32 * len(algorithms) + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(groups), sharey=True, squeeze=False).flat
        for axes, group in zip(panels, groups, strict=True):
            intervals(axes, table[table["environment"] == group], colours)
            axes.set_title(group)
    return figure


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure in every format; the same figure gives the same bytes.

    :param figure: the figure
    :param folder: where to
    :param name: the files' name, without an ending
    """
    folder.mkdir(parents=True, exist_ok=True)
    with style():
        for ending, metadata in FORMATS.items():
            figure.savefig(folder / f"{name}.{ending}", dpi=200, metadata=metadata)
