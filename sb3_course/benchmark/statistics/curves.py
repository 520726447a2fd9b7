"""Runs of unequal evaluation steps and length on one declared grid of environment steps.

A policy is measured at the first vector step that reaches a declared step, so the environment
steps really taken may lie past it, and runs that were set up differently are measured at different
steps. Statistics compare runs at the same experience: between two measurements a run's return (and
its training time) is interpolated linearly over the steps really taken; beyond the first and the
last there is nothing to read, and nothing is made up.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Numbers = Sequence[float] | NDArray[Any]

RUN = ["algorithm", "environment", "seed"]
"""The columns that name a run."""
MEASURED = ["return_mean", "wall_time"]
"""The columns that are interpolated."""


def read_off(at: Numbers, x: Numbers, y: Numbers) -> NDArray[np.float64]:
    """Read a measured curve off at given places, linearly between measurements.

    :param at: where to read
    :param x: where was measured, ascending
    :param y: what was measured
    :return: values of the shape of ``at``; NaN outside the measured range
    """
    return np.asarray(np.interp(at, x, y, left=np.nan, right=np.nan))


def on_grid(table: pd.DataFrame, steps: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Read every run off at its environment's declared steps.

    :param table: tidy returns, a row for each evaluation
    :param steps: the declared evaluation steps of each environment, ascending
    :return: a row for each run and declared step: ``algorithm, environment, seed, step,
        return_mean, wall_time``; NaN where the run was not measured up to (or from) that step
    """
    runs = [pd.DataFrame(columns=[*RUN, "step", *MEASURED])]
    for names, run in table.groupby(RUN):
        run = run.sort_values("step").drop_duplicates("num_timesteps", keep="last")
        columns: dict[str, Any] = dict(zip(RUN, names, strict=True))
        columns["step"] = sorted(set(steps[columns["environment"]]))
        taken = run["num_timesteps"].to_numpy()
        for name in MEASURED:
            columns[name] = read_off(columns["step"], taken, run[name].to_numpy())
        runs.append(pd.DataFrame(columns))
    return pd.concat(runs[1:] or runs, ignore_index=True)


def split_complete(curves: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part the runs that were measured over the whole declared grid from the others.

    :param curves: see :func:`on_grid`
    :return: the rows of the former and those of the latter
    """
    whole = curves.groupby(RUN)["return_mean"].transform(lambda values: values.notna().all())
    whole = whole.astype(bool)
    return curves[whole].reset_index(drop=True), curves[~whole].reset_index(drop=True)
