"""Runs with different evaluation steps and lengths, on one declared grid of environment steps.

A policy is evaluated at the first vector step that reaches a declared step, so the actual number of
environment steps may exceed it, and runs with different settings are evaluated at different steps.
Statistics compare runs at the same experience: between two evaluations, a run's return (and its
training time) is interpolated linearly over the environment steps actually taken. Nothing is
extrapolated beyond the first and the last evaluation.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Numbers = Sequence[float] | NDArray[Any]

RUN = ["algorithm", "environment", "seed"]
"""Columns that identify a run."""
MEASURED = ["return_mean", "wall_time"]
"""Columns that are interpolated."""


def interpolate(at: Numbers, x: Numbers, y: Numbers) -> NDArray[np.float64]:
    """Interpolate a measured curve linearly at given positions.

    :param at: Positions to interpolate at
    :param x: Positions of the measurements, ascending
    :param y: Measured values
    :return: Array of the shape of ``at``, NaN outside the measured range
    """
    return np.asarray(np.interp(at, x, y, left=np.nan, right=np.nan))


def on_grid(table: pd.DataFrame, steps: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Interpolate every run at the declared steps of its environment.

    :param table: Tidy returns, one row per evaluation
    :param steps: Declared evaluation steps of each environment, ascending
    :return: Table with one row per run and declared step: ``algorithm, environment, seed, step,
        return_mean, wall_time``; NaN at steps outside the range in which the run was evaluated
    """
    runs = [pd.DataFrame(columns=[*RUN, "step", *MEASURED])]
    for names, run in table.groupby(RUN):
        run = run.sort_values("step").drop_duplicates("num_timesteps", keep="last")
        columns: dict[str, Any] = dict(zip(RUN, names, strict=True))
        columns["step"] = sorted(set(steps[columns["environment"]]))
        taken = run["num_timesteps"].to_numpy()
        for name in MEASURED:
            columns[name] = interpolate(columns["step"], taken, run[name].to_numpy())
        runs.append(pd.DataFrame(columns))
    return pd.concat(runs[1:] or runs, ignore_index=True)


def split_complete(curves: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split runs into those measured over the whole declared grid and the others.

    :param curves: Runs on the declared grid, see :func:`on_grid`
    :return: Rows of the complete runs and rows of the others
    """
    whole = curves.groupby(RUN)["return_mean"].transform(lambda values: values.notna().all())
    whole = whole.astype(bool)
    return curves[whole].reset_index(drop=True), curves[~whole].reset_index(drop=True)
