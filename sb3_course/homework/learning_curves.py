"""Learning curves of an experiment in the handout's form, and of returns that a student brings."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from sb3_course.benchmark.reporting.drawing import figures, plots
from sb3_course.benchmark.reporting.drawing.figures import Panel
from sb3_course.benchmark.reporting.drawing.files import INK
from sb3_course.benchmark.reporting.drawing.styles import DASHES, Style, Styles, styles
from sb3_course.benchmark.statistics.curves import on_grid

CURVES = ["environment", "algorithm", "step", "point", "low", "high"]
"""Columns of the table of curves."""
OWN_COLOR = to_rgb(INK)


def curves(table: pd.DataFrame, steps: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Compute mean and range over the seeds of each algorithm.

    With the three to five seeds of a homework, the range says more than an interval. A curve goes
    as far as all seeds of it were measured: a mean over fewer would jump where one ends.

    :param table: Tidy returns, one row per evaluation
    :param steps: Environment steps of each environment at which curves are drawn
    :return: Table with the columns :data:`CURVES`, one row per algorithm and step
    """
    by = ["environment", "algorithm", "step"]
    returns = on_grid(table, steps).groupby(by, sort=False)["return_mean"]
    found = returns.agg(["mean", "min", "max"])[returns.agg(lambda r: r.notna().all()).astype(bool)]
    return found.reset_index().set_axis(CURVES, axis=1)


def own_curves(table: pd.DataFrame) -> pd.DataFrame:
    """Compute the curves of a student's runs, each at the steps at which its own were measured.

    :param table: Tidy returns
    :return: Table as of :func:`curves`
    """
    found = [pd.DataFrame(columns=CURVES)]
    for (environment, _), rows in table.groupby(["environment", "algorithm"], sort=False):
        found.append(curves(rows, {str(environment): sorted(set(rows["step"].astype(int)))}))
    return pd.concat(found[1:] or found, ignore_index=True)


def looks(algorithms: Sequence[str], own: Sequence[str]) -> Styles:
    """Choose the styles of the lines: colors for the stored runs, ink for one's own.

    :param algorithms: Algorithms of the experiment
    :param own: Names of a student's returns
    :return: Style of each; the student's are drawn on top
    """
    mine = {name: Style(OWN_COLOR, DASHES[i % len(DASHES)]) for i, name in enumerate(own)}
    return mine | styles(algorithms)


def _panel(rows: pd.DataFrame, environment: str, look: Styles) -> Panel:
    def draw(axes: Axes) -> None:
        plots.curves(axes, rows, look, "step")
        axes.set_xlim(0, float(np.nanmax(rows["step"])))

    return Panel(environment, draw, "Environment steps", "Return", 2.2)


def draw(table: pd.DataFrame, environments: Sequence[str], look: Styles) -> Figure:
    """Draw the figure of an experiment.

    :param table: Curves of the stored runs and of one's own, with the columns :data:`CURVES`
    :param environments: Environments in the order of the panels
    :param look: Styles of the algorithms
    :return: Figure
    """
    panels = [_panel(table[table["environment"] == name], name, look) for name in environments]
    return figures.together(panels, look)
