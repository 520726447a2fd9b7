"""Runs with different evaluation steps and lengths, on one grid of environment steps.

A policy is evaluated at the first vector step that reaches a declared step, so the actual number of
environment steps may exceed it, and runs with different settings are evaluated at different steps.
Statistics compare runs at the same experience: between two evaluations, a run's return (and its
training time) is interpolated linearly over the environment steps actually taken. Nothing is
extrapolated beyond the first and the last evaluation. The steps are those that a grid declares or,
of runs that no grid declared, those of :func:`common_steps`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Numbers = Sequence[float] | NDArray[Any]

RUN = ["algorithm", "environment", "seed"]
"""Columns that identify a run."""
MEASURED = ["return_mean", "wall_time"]
"""Columns that are interpolated."""
TOLERANCE = 0.1
"""Fraction of the algorithm's length by which a run may end earlier, or begin later."""
MOST_STEPS = 50
"""Number of steps at most that are chosen where runs share none."""


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


def common_steps(table: pd.DataFrame) -> dict[str, list[int]]:
    """Choose the steps at which runs are compared that no grid declared, such as other people's.

    Let run i of an algorithm be measured from step aᵢ to step bᵢ. It is *cut short* if bᵢ < 0.9 b
    or if aᵢ > a + 0.1 b, where a and b are the algorithm's medians; an algorithm's own range is
    that which all of its other runs cover. An environment's range is what the ranges of its
    algorithms have in common. So one run that was stopped early shortens nobody's curve, and is
    listed as such, while runs whose last episodes end a little earlier or later lose nothing.

    The steps are those of the runs themselves where all were measured at the same ones. Else they
    are evenly spaced over the range, as many as the algorithm with the fewest has in it, so that
    little is made up between measurements.

    :param table: Tidy returns, one row per evaluation
    :return: Environment steps by environment, ascending, in the order of the table
    """
    steps = {}
    for environment, rows in table.groupby("environment", sort=False):
        steps[str(environment)] = _steps(rows)
    return steps


def _steps(rows: pd.DataFrame) -> list[int]:
    taken = rows[["step", "num_timesteps"]]
    bounds = rows[RUN].assign(first=taken.max(axis=1), last=taken.min(axis=1))
    of_runs = bounds.groupby(RUN).agg({"first": "min", "last": "max"})
    low, high = _common_range(of_runs)
    whole = of_runs.index[(of_runs["first"] <= low) & (of_runs["last"] >= high)]
    inside = rows[rows["step"].between(low, high)]
    steps = {name: tuple(sorted(set(run["step"]))) for name, run in inside.groupby(RUN)}
    shared = {steps.get(name, ()) for name in whole}
    if len(shared) == 1 and (common := shared.pop()):
        return [int(step) for step in common]
    counts = inside.groupby(RUN)["step"].nunique().groupby("algorithm").median()
    n = int(np.clip(counts.min() if len(counts) else 0, 2, MOST_STEPS))
    return sorted({round(step) for step in np.linspace(low, high, n).tolist()})


def _common_range(of_runs: pd.DataFrame) -> tuple[int, int]:
    """Return the first and the last step that all algorithms cover; both the last if none is."""
    ranges = [_range(runs["first"], runs["last"]) for _, runs in of_runs.groupby("algorithm")]
    low, high = max(first for first, _ in ranges), min(last for _, last in ranges)
    return min(low, high), high


def _range(firsts: Iterable[int], lasts: Iterable[int]) -> tuple[int, int]:
    """Return the range that all runs of an algorithm cover, but for those that are cut short."""
    firsts, lasts = sorted(firsts), sorted(lasts)
    begin, end = firsts[(len(firsts) - 1) // 2], lasts[len(lasts) // 2]
    slack = TOLERANCE * end
    return (
        max(first for first in firsts if first <= begin + slack),
        min(last for last in lasts if last >= end - slack),
    )


def seldom_measured(
    table: pd.DataFrame, steps: Mapping[str, Sequence[int]]
) -> dict[str, list[str]]:
    """List the algorithms whose curves are hardly measured between the steps that are compared.

    :param table: Tidy returns, one row per evaluation
    :param steps: Environment steps by environment, see :func:`common_steps`
    :return: By environment, the algorithms of which most runs have less than two measurements there
    """
    found = {}
    for environment, rows in table.groupby("environment", sort=False):
        between = steps[str(environment)]
        inside = rows["step"].between(between[0], between[-1]).astype(int)
        counts = inside.groupby([rows["algorithm"], rows["seed"]]).sum()
        medians = counts.groupby("algorithm").median()
        found[str(environment)] = [str(name) for name in medians.index[medians < 2]]
    return found


def common_seeds(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Number the runs of the algorithms that share no seed over their environments.

    :param table: Tidy returns, one row per evaluation
    :return: Table with seeds that are shared, and the algorithms whose runs were numbered
    """
    numbered = table.copy()
    changed = []
    for algorithm, rows in table.groupby("algorithm", sort=False):
        seeds = [set(runs) for _, runs in rows.groupby("environment")["seed"]]
        if not set.intersection(*seeds):
            ranks = rows.groupby("environment")["seed"].rank(method="dense").astype(int) - 1
            numbered.loc[rows.index, "seed"] = ranks
            changed.append(str(algorithm))
    return numbered, changed
