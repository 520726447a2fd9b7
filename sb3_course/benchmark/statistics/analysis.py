"""Compute every number of a report; tables, figures and pages only display them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.statistics import metrics
from sb3_course.benchmark.statistics.bootstrap import CURVE_REPS, Estimate, estimate
from sb3_course.benchmark.statistics.curves import RUN, on_grid, split_complete
from sb3_course.benchmark.statistics.design import Design, design_of
from sb3_course.benchmark.statistics.scores import Cubes, cubes, normalize
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.returns_table import tidy

ESTIMATE = list(Estimate._fields)
ALL = "all"
"""Stands in for an environment's name where a number covers all environments."""


def _end(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return scores[..., -1]


def _whole_run(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(scores[..., 1:].mean(axis=-1))


MEASURES = {
    "P(X > Y)": (metrics.probability_of_improvement, _end),
    "at the end": (metrics.difference, _end),
    "over the run": (metrics.difference, _whole_run),
}
"""What a comparison measures: a statistic of two arrays and the scores that it is applied to. These
are the scores at the end, or each run's mean over the evaluations after training began, which is
higher the faster the run learns.
"""


@dataclass(frozen=True)
class Analysis:
    """Every number of a report; algorithms and environments are in the order of the grid.

    Tables of estimates have the columns ``point, low, high`` (see :class:`~.bootstrap.Estimate`)
    and
    ``n_runs``, the number of runs of each environment that they are based on.

    :param design: What is compared
    :param n_runs: Number of runs that have returns
    :param final: Each complete run at the end of its budget: ``algorithm, environment, seed, step,
        return_mean, wall_time``
    :param curves: Mean returns: ``algorithm, environment, step, seconds`` and an estimate;
        ``seconds`` is the median training time
    :param by_environment: IQM of final scores: ``algorithm, environment`` and an estimate
    :param aggregated: Environments that the aggregates are taken over
    :param aggregates: Aggregates of final scores: ``algorithm, statistic`` and an estimate
    :param performance_profiles: Fraction of runs above each score: ``algorithm, score`` and an
        estimate
    :param probability_of_improvement: P(X > Y) of each pair: ``x, y``, an estimate and
        ``n_runs_x, n_runs_y``
    :param sample_efficiency: IQM along training: ``algorithm, fraction`` and an estimate
    :param comparisons: Answers to the grid's questions: ``question, x, y, measure, environment``
        (one environment or :data:`ALL`), an estimate and ``n_runs_x, n_runs_y``; the measures are
        :data:`MEASURES`
    :param best: Mean over runs of each run's highest evaluation: ``algorithm, environment`` and an
        estimate
    :param absent: Runs that are missing from a statistic: ``algorithm, environment, seed, why``
    """

    design: Design
    n_runs: int
    final: pd.DataFrame
    curves: pd.DataFrame
    by_environment: pd.DataFrame
    aggregated: list[str]
    aggregates: pd.DataFrame
    performance_profiles: pd.DataFrame
    probability_of_improvement: pd.DataFrame
    sample_efficiency: pd.DataFrame
    comparisons: pd.DataFrame
    best: pd.DataFrame
    absent: pd.DataFrame


def analyze(grid: Grid, results: Sequence[RunResult]) -> Analysis:
    """Compute every number of the report of a grid.

    :param grid: Grid
    :param results: Results of the grid's runs, finished and failed
    :return: Tables of all numbers
    """
    finished = tidy([result for result in results if result.failure is None])
    return analyze_returns(design_of(grid), finished, without_result(grid, results))


def analyze_returns(
    design: Design, finished: pd.DataFrame, without: Iterable[tuple[str, str, int, str]] = ()
) -> Analysis:
    """Compute every number of a report.

    :param design: What is compared
    :param finished: Tidy returns, see :func:`.tidy`
    :param without: Runs that have none: algorithm, environment, seed and reason
    :return: Tables of all numbers
    """
    whole, short = split_complete(on_grid(finished, design.environments))
    scores = normalize(whole, design.references)
    final = whole[whole.groupby(RUN)["step"].transform("max") == whole["step"]]
    arranged = cubes(scores)
    absent = [
        *without,
        *cut_short(short, finished),
        *in_no_aggregate(arranged),
    ]
    return Analysis(
        design=design,
        n_runs=len(finished.drop_duplicates(RUN)),
        final=final.reset_index(drop=True),
        curves=return_curves(whole),
        by_environment=iqm_by_environment(normalize(final, design.references)),
        aggregated=[name for name in design.environments if name in set(scores["environment"])],
        aggregates=aggregates(arranged),
        performance_profiles=performance_profiles(arranged),
        probability_of_improvement=probability_of_improvement(arranged, design.algorithms),
        sample_efficiency=sample_efficiency(arranged),
        comparisons=comparisons(design, arranged),
        best=best_of_runs(whole),
        absent=pd.DataFrame(absent, columns=[*RUN, "why"]),
    )


def without_result(grid: Grid, results: Sequence[RunResult]) -> Iterator[tuple[str, str, int, str]]:
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


def cut_short(short: pd.DataFrame, finished: pd.DataFrame) -> Iterator[tuple[str, str, int, str]]:
    """List the runs that were not measured over the whole declared grid, with the range they cover.

    :param short: Rows of the incomplete runs, see :func:`~.curves.split_complete`
    :param finished: Tidy returns
    :yield: Algorithm, environment, seed and reason
    """
    declared = short.groupby(RUN)["step"].agg(["min", "max"])
    taken = finished.groupby(RUN)["num_timesteps"].agg(["min", "max"])
    both = declared.join(taken, rsuffix="_taken").reset_index()
    for *run, least, most, first, last in both.itertuples(index=False):
        yield (*run, f"measured from {first:,} to {last:,} of {least:,} to {most:,} steps")


def in_no_aggregate(arranged: Cubes) -> Iterator[tuple[str, str, int, str]]:
    """List the runs that are left out of the aggregates because their seed lacks an environment.

    :param arranged: Scores of the seeds that finished on every environment
    :yield: Algorithm, environment, seed and reason
    """
    for *run, lacking in arranged.left_out.itertuples(index=False):
        yield (*run, f"not in the aggregates: no run with this seed on {lacking}")


def return_curves(whole: pd.DataFrame) -> pd.DataFrame:
    """Compute the mean return over runs at each declared step.

    :param whole: Complete runs on the declared grid
    :return: Table with one row per algorithm, environment and step
    """
    columns = ["algorithm", "environment", "step", "seconds", *ESTIMATE, "n_runs"]
    parts = [pd.DataFrame(columns=columns)]
    for (algorithm, environment), rows in whole.groupby(["algorithm", "environment"]):
        runs = rows.pivot(index="seed", columns="step", values="return_mean")
        times = rows.groupby("step")["wall_time"].median().to_numpy()
        result = estimate(metrics.mean, runs.to_numpy()[:, np.newaxis], reps=CURVE_REPS)
        part: dict[str, Any] = {"algorithm": algorithm, "environment": environment}
        part |= {"step": runs.columns, "seconds": times, **result._asdict(), "n_runs": len(runs)}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def iqm_by_environment(final: pd.DataFrame) -> pd.DataFrame:
    """Estimate the interquartile mean of final scores on each environment, over all of its runs.

    :param final: Final scores, one row per run, with a column ``score``
    :return: Table with one row per algorithm and environment
    """
    rows = []
    for (algorithm, environment), runs in final.groupby(["algorithm", "environment"]):
        result = estimate(metrics.iqm, runs["score"].to_numpy()[:, np.newaxis])
        rows.append((algorithm, environment, *map(float, result), len(runs)))
    return pd.DataFrame(rows, columns=["algorithm", "environment", *ESTIMATE, "n_runs"])


def aggregates(arranged: Cubes) -> pd.DataFrame:
    """Estimate the four aggregates of final scores.

    :param arranged: Scores of the seeds that finished on every environment
    :return: Table with one row per algorithm and statistic
    """
    rows = []
    for algorithm, array in arranged.scores.items():
        result = estimate(metrics.aggregates, array[..., -1])
        for name, *numbers in zip(metrics.STATISTICS, *result, strict=True):
            rows.append((algorithm, name, *map(float, numbers), len(array)))
    return pd.DataFrame(rows, columns=["algorithm", "statistic", *ESTIMATE, "n_runs"])


def performance_profiles(arranged: Cubes) -> pd.DataFrame:
    """Estimate performance profiles of final scores.

    :param arranged: Scores of the seeds that finished on every environment
    :return: Table with one row per algorithm and score
    """
    final = {name: array[..., -1] for name, array in arranged.scores.items()}
    lowest = min((array.min() for array in final.values()), default=0.0)
    highest = max((array.max() for array in final.values()), default=1.0)
    # Scores below -1 (a policy far worse than chance) still count but do not stretch the axis.
    thresholds = np.linspace(min(max(lowest, -1.0), 0.0), max(highest, 1.0), 101)
    statistic = partial(metrics.performance_profile, thresholds=thresholds)
    return _along("score", thresholds, final, statistic)


def sample_efficiency(arranged: Cubes) -> pd.DataFrame:
    """Estimate the IQM of scores along training.

    :param arranged: Scores of the seeds that finished on every environment
    :return: Table with one row per algorithm and fraction of the budget
    """
    return _along("fraction", arranged.points, arranged.scores, metrics.iqm)


def probability_of_improvement(arranged: Cubes, algorithms: Sequence[str]) -> pd.DataFrame:
    """Estimate for each pair of algorithms the probability that the first scores higher.

    :param arranged: Scores of the seeds that finished on every environment
    :param algorithms: Algorithms in the order of the pairs
    :return: Table with one row per pair
    """
    rows = []
    present = [name for name in algorithms if name in arranged.scores]
    for x, y in combinations(present, 2):
        pair = arranged.scores[x][..., -1], arranged.scores[y][..., -1]
        result = estimate(metrics.probability_of_improvement, *pair)
        rows.append((x, y, *map(float, result), *map(len, pair)))
    return pd.DataFrame(rows, columns=["x", "y", *ESTIMATE, "n_runs_x", "n_runs_y"])


def comparisons(design: Design, arranged: Cubes) -> pd.DataFrame:
    """Estimate the answers to the questions, over all environments and on each one.

    :param design: What is compared
    :param arranged: Scores of the seeds that finished on every environment
    :return: Table with one row per question, measure and environment
    """
    rows = []
    for question, (x, y) in design.questions.items():
        if not {x, y} <= set(arranged.scores):
            continue
        pair = arranged.scores[x], arranged.scores[y]
        selections = {ALL: slice(None)} | {
            name: slice(i, i + 1) for i, name in enumerate(arranged.environments)
        }
        for (measure, (statistic, summary)), (name, selection) in product(
            MEASURES.items(), selections.items()
        ):
            result = estimate(statistic, *(summary(array[:, selection]) for array in pair))
            rows.append((question, x, y, measure, name, *map(float, result), *map(len, pair)))
    columns = ["question", "x", "y", "measure", "environment", *ESTIMATE, "n_runs_x", "n_runs_y"]
    return pd.DataFrame(rows, columns=columns)


def best_of_runs(whole: pd.DataFrame) -> pd.DataFrame:
    """Estimate the mean over runs of each run's highest mean return.

    :param whole: Complete runs on the declared grid
    :return: Table with one row per algorithm and environment
    """
    rows = []
    highest = whole.groupby(RUN)["return_mean"].max().reset_index()
    for (algorithm, environment), runs in highest.groupby(["algorithm", "environment"]):
        result = estimate(metrics.mean, runs["return_mean"].to_numpy()[:, np.newaxis])
        rows.append((algorithm, environment, *map(float, result), len(runs)))
    return pd.DataFrame(rows, columns=["algorithm", "environment", *ESTIMATE, "n_runs"])


def _along(
    name: str,
    positions: NDArray[np.float64],
    scores: Mapping[str, NDArray[np.float64]],
    statistic: metrics.Statistic,
) -> pd.DataFrame:
    """Estimate for each algorithm a statistic that has one value at each of several positions."""
    parts = [pd.DataFrame(columns=["algorithm", name, *ESTIMATE, "n_runs"])]
    for algorithm, array in scores.items():
        result = estimate(statistic, array, reps=CURVE_REPS)
        part = {"algorithm": algorithm, name: positions, **result._asdict(), "n_runs": len(array)}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts[1:] or parts, ignore_index=True)
