"""Runs that no grid declared, such as other people's: at which steps and seeds they are compared.

Let run i of an algorithm be measured from step aᵢ to step bᵢ. It is *cut short* if bᵢ < 0.9 b or if
aᵢ > a + 0.1 b, where a and b are the algorithm's medians; an algorithm's own range is that which
all of its other runs cover. An environment's range is what the ranges of its algorithms have in
common. So one run that was stopped early shortens nobody's curve, and is listed as such, while runs
whose last episodes end a little earlier or later lose nothing.

The steps are those of the runs themselves where all were measured at the same ones. Else they are
evenly spaced over the range, as many as the algorithm with the fewest has in it, so that little is
made up between measurements.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from sb3_course.benchmark.statistics.curves import RUN

TOLERANCE = 0.1
"""Fraction of the algorithm's length by which a run may end earlier, or begin later."""
MOST_STEPS = 50


def common_steps(table: pd.DataFrame) -> dict[str, list[int]]:
    """Choose the steps of each environment, as this module describes.

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
