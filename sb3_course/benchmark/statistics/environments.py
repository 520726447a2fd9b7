"""Numbers of each algorithm on each environment, in raw returns: no scale is needed for them.

Every function takes the complete runs on the declared grid (:func:`.split_complete`), one row per
run and declared step, and returns a table with one row per algorithm and environment.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from sb3_course.benchmark.statistics import bootstrap, metrics
from sb3_course.benchmark.statistics.bootstrap import CURVE_REPS, Estimate
from sb3_course.benchmark.statistics.metrics import Array
from sb3_course.benchmark.storage.returns_table import COLUMNS

ESTIMATE = list(Estimate._fields)
TASK = ["algorithm", "environment"]

Runs = dict[str, dict[str, Array]]
"""Returns by algorithm and environment, of shape ``(n_runs, n_points)``: a row per seed, ascending,
and a column per declared step."""


def runs_of(whole: pd.DataFrame) -> Runs:
    """Arrange returns by algorithm and environment.

    :param whole: Complete runs on the declared grid
    :return: Curves of the runs
    """
    runs: Runs = {}
    for (algorithm, environment), rows in whole.groupby(TASK):
        curves = rows.pivot(index="seed", columns="step", values="return_mean")
        runs.setdefault(str(algorithm), {})[str(environment)] = curves.to_numpy(dtype=float)
    return runs


def at_the_end(curves: Array) -> Array:
    """Return the last return of each run.

    :param curves: Returns of shape ``(n_runs, ..., n_points)``
    :return: Array without the last axis
    """
    return np.asarray(curves[..., -1])


def over_the_run(curves: Array) -> Array:
    """Compute the mean return of each run after its first evaluation: higher if it learns faster.

    A grid's first one is before training.

    :param curves: Returns of shape ``(n_runs, ..., n_points)``
    :return: Array without the last axis; a run with a single evaluation has that one
    """
    return np.asarray(curves[..., 1:].mean(axis=-1) if curves.shape[-1] > 1 else curves[..., 0])


def best_of_the_run(curves: Array) -> Array:
    """Return the highest return of each run.

    :param curves: Returns of shape ``(n_runs, ..., n_points)``
    :return: Array without the last axis
    """
    return np.asarray(curves.max(axis=-1))


def estimates(
    runs: Runs, statistic: metrics.Statistic, of: Callable[[Array], Array]
) -> pd.DataFrame:
    """Estimate a statistic of the runs of each algorithm on each environment.

    :param runs: Curves of the runs
    :param statistic: Statistic of one value per run, such as :func:`.metrics.iqm`
    :param of: Function that computes a run's value, such as :func:`at_the_end`
    :return: Table with ``algorithm, environment, point, low, high, n_runs``
    """
    tasks = [
        (algorithm, environment, curves)
        for algorithm, by_environment in runs.items()
        for environment, curves in by_environment.items()
    ]
    samples = [[of(curves)[:, np.newaxis]] for *_, curves in tasks]
    rows = [
        (algorithm, environment, *map(float, result), len(curves))
        for (algorithm, environment, curves), result in zip(
            tasks, bootstrap.estimates(statistic, samples), strict=True
        )
    ]
    return pd.DataFrame(rows, columns=[*TASK, *ESTIMATE, "n_runs"])


def return_curves(whole: pd.DataFrame) -> pd.DataFrame:
    """Compute the mean return over runs at each declared step.

    :param whole: Complete runs on the declared grid
    :return: Table with one row per algorithm, environment and step; ``seconds`` is the median
        training time until then
    """
    columns = [*TASK, "step", "seconds", *ESTIMATE, "n_runs"]
    parts = [pd.DataFrame(columns=columns)]
    tasks = {task: rows for task, rows in whole.groupby(TASK)}
    by_run = [
        rows.pivot(index="seed", columns="step", values="return_mean") for rows in tasks.values()
    ]
    results = bootstrap.estimates(
        metrics.mean, [[runs.to_numpy()[:, np.newaxis]] for runs in by_run], reps=CURVE_REPS
    )
    for ((algorithm, environment), rows), runs, result in zip(
        tasks.items(), by_run, results, strict=True
    ):
        times = rows.groupby("step")["wall_time"].median().to_numpy()
        part: dict[str, Any] = {"algorithm": algorithm, "environment": environment}
        part |= {"step": runs.columns, "seconds": times, **result._asdict(), "n_runs": len(runs)}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def stability(runs: Runs) -> pd.DataFrame:
    r"""Compute how far runs differ from each other, and how far each falls from what it reached.

    With the returns R_1 … R_K of a run's evaluations,

    .. math::
        \text{spread} &= \text{interquartile range over runs of } R_K \\
        \text{gap} &= \text{mean over runs of } \max_k R_k - R_K \\
        \text{worst drop} &= \text{mean over runs of } \max_{j \le k} (R_j - R_k)

    The highest evaluation of a run flatters whoever fluctuates most; these say by how much.

    Source: Chan et al. 2020, *Measuring the Reliability of Reinforcement Learning Algorithms*
    (dispersion across runs; drawdown within a run).

    :param runs: Curves of the runs
    :return: Table with ``algorithm, environment, spread, gap, worst_drop, n_runs``; the spread of a
        single run is NaN
    """
    rows = []
    for algorithm, by_environment in runs.items():
        for environment, curves in by_environment.items():
            final, n_runs = at_the_end(curves), len(curves)
            quarter, three = np.quantile(final, [0.25, 0.75])
            drops = np.maximum.accumulate(curves, axis=-1) - curves
            rows.append(
                (
                    algorithm,
                    environment,
                    three - quarter if n_runs > 1 else np.nan,
                    (best_of_the_run(curves) - final).mean(),
                    drops.max(axis=-1).mean(),
                    n_runs,
                )
            )
    return pd.DataFrame(rows, columns=[*TASK, "spread", "gap", "worst_drop", "n_runs"])


def metric_curves(finished: pd.DataFrame) -> pd.DataFrame:
    """Estimate the mean over runs of every other number that was measured, such as success rates.

    :param finished: Tidy returns; each column after the usual ones is such a number
    :return: Table with ``algorithm, environment, metric, step``, an estimate and ``n_runs``
    """
    measured = [
        ((*task, name, step), group[name].to_numpy(dtype=float)[:, np.newaxis])
        for name in finished.columns
        if name not in COLUMNS
        for (*task, step), group in finished.dropna(subset=[name]).groupby([*TASK, "step"])
    ]
    results = bootstrap.estimates(
        metrics.mean, [[values] for _, values in measured], reps=CURVE_REPS
    )
    rows = [
        (*names, *map(float, result), len(values))
        for (names, values), result in zip(measured, results, strict=True)
    ]
    return pd.DataFrame(rows, columns=[*TASK, "metric", "step", *ESTIMATE, "n_runs"])
