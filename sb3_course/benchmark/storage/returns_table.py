"""Results as one tidy table, one row per evaluation, and the runs that it lacks."""

import json
import re
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.storage.result import RunResult

COLUMNS = [
    "algorithm",
    "environment",
    "seed",
    "step",
    "return_mean",
    "return_std",
    "episode_length",
    "wall_time",
    "num_timesteps",
    "episode_returns",
]
FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""How a text begins that a spreadsheet computes; the last four are wide forms of those before."""


def tidy(results: Iterable[RunResult]) -> pd.DataFrame:
    """Return results as one sorted table with one row per evaluation.

    :param results: Results; failed runs have no row
    :return: Table with the columns :data:`COLUMNS`; returns are undiscounted and raw, those of
        single episodes to six digits, steps are environment steps, times are seconds of training.
        Behind them is a column for each metric of any result, the mean over the episodes
    """
    results = list(results)
    names = {name for result in results for m in result.measurements for name in m.metrics}
    rows = [
        {
            "algorithm": result.spec.algorithm,
            "environment": result.spec.environment,
            "seed": result.spec.seed,
            "step": m.step,
            "return_mean": float(np.mean(m.returns)),
            "return_std": float(np.std(m.returns)),
            "episode_length": float(np.mean(m.lengths)),
            "wall_time": round(m.wall_time, 3),
            "num_timesteps": m.num_timesteps,
            "episode_returns": episodes_text(m.returns),
            **{metric_column(name): float(np.mean(values)) for name, values in m.metrics.items()},
        }
        for result in results
        for m in result.measurements
    ]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *map(metric_column, sorted(names))])
    return table.sort_values(COLUMNS[:4], ignore_index=True)


def episodes_text(returns: Iterable[float]) -> str:
    """Return the returns of single episodes as the table holds them, to six digits."""
    return json.dumps([float(f"{value:.6g}") for value in returns])


def without_result(grid: Grid, results: Iterable[RunResult]) -> Iterator[tuple[str, str, int, str]]:
    """List the runs that failed or have not been run, in the order of the grid.

    :param grid: Grid
    :param results: Results of the grid's runs, finished and failed
    :yield: Algorithm, environment, seed and reason
    """
    known = {result.spec.id: result for result in results}
    for spec in grid.runs():
        result = known.get(spec.id)
        if result is None:
            yield spec.algorithm, spec.environment, spec.seed, "not run"
        elif result.failure is not None:
            yield spec.algorithm, spec.environment, spec.seed, f"failed: {result.reason}"


def metric_column(name: str) -> str:
    """Return the name of a metric's column.

    :param name: Name of the metric
    :return: The same, except where the table has a column of that name for something else
    """
    return f"metric {name}" if name in COLUMNS else name


def csv_of(table: pd.DataFrame) -> str:
    """Return a table as CSV, in which a spreadsheet takes no name for a formula.

    :param table: Table from :func:`tidy`
    :return: Text, with an apostrophe before each name that begins as a formula does
    """
    names = {
        column: [f"'{name}" if FORMULA.match(name) else name for name in table[column]]
        for column in ("algorithm", "environment")
    }
    named = table.assign(**names)
    named.columns = [f"'{name}" if FORMULA.match(name) else name for name in table.columns]
    text: str = named.to_csv(index=False)
    return text
