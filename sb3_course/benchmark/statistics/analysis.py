"""From a grid's results to every number of its report; tables, figures and pages only show them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.statistics import bootstrap
from sb3_course.benchmark.statistics.bootstrap import CURVE_REPS, Estimate, estimate
from sb3_course.benchmark.statistics.curves import RUN, on_grid, split_complete
from sb3_course.benchmark.statistics.scores import (
    Cubes,
    References,
    cubes,
    load_references,
    normalize,
)
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.returns_table import tidy

ESTIMATE = list(Estimate._fields)
ALL = "all"
"""In place of an environment's name: over all of them."""


def _end(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return scores[..., -1]


def _whole_run(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(scores[..., 1:].mean(axis=-1))


MEASURES = {
    "P(X > Y)": (bootstrap.probability_of_improvement, _end),
    "at the end": (bootstrap.difference, _end),
    "over the run": (bootstrap.difference, _whole_run),
}
"""What a comparison measures: a statistic of two arrays, and which scores it takes: those at the
end, or the mean of a run's evaluations after training began, which is higher the faster it learns.
"""


@dataclass(frozen=True)
class Analysis:
    """Every number of a report; algorithms and environments are in the order of the grid.

    Tables of estimates have columns ``point, low, high`` (see :class:`~.bootstrap.Estimate`) and
    say in ``n_runs`` how many runs of each environment they are made of.

    :param grid: the grid
    :param results: of its runs, finished and failed
    :param references: the scales of scores
    :param final: each whole run at the end of its budget: ``algorithm, environment, seed, step,
        return_mean, wall_time``
    :param curves: mean returns: ``algorithm, environment, step, seconds`` and an estimate;
        ``seconds`` is the median time of training
    :param by_environment: IQM of final scores: ``algorithm, environment`` and an estimate
    :param aggregated: environments that aggregates are taken over
    :param aggregates: ``algorithm, statistic`` and an estimate
    :param performance_profiles: ``algorithm, score`` and an estimate of the fraction of runs above
    :param probability_of_improvement: ``x, y`` and an estimate of P(X > Y); ``n_runs_x, n_runs_y``
    :param sample_efficiency: IQM along training: ``algorithm, fraction`` and an estimate
    :param comparisons: of the grid's questions: ``question, x, y, measure, environment`` (all, or
        one) and an estimate; measures are :data:`MEASURES`; ``n_runs_x, n_runs_y``
    :param best: each run's highest evaluation: ``algorithm, environment`` and an estimate of the
        mean over runs
    :param absent: runs that statistics are without: ``algorithm, environment, seed, why``
    """

    grid: Grid
    results: Sequence[RunResult]
    references: References
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
    """Compute every number of a report.

    :param grid: the grid
    :param results: of its runs, finished and failed
    """
    references = load_references()
    finished = tidy([result for result in results if result.failure is None])
    whole, short = split_complete(on_grid(finished, evaluation_steps(grid)))
    scores = normalize(whole, references)
    final = whole[whole.groupby(RUN)["step"].transform("max") == whole["step"]]
    arranged = cubes(scores)
    absent = [
        *without_result(grid, results),
        *cut_short(short, finished),
        *in_no_aggregate(arranged),
    ]
    return Analysis(
        grid=grid,
        results=results,
        references=references,
        final=final.reset_index(drop=True),
        curves=return_curves(whole),
        by_environment=iqm_by_environment(normalize(final, references)),
        aggregated=[name for name in grid.environments if name in set(scores["environment"])],
        aggregates=aggregates(arranged),
        performance_profiles=performance_profiles(arranged),
        probability_of_improvement=probability_of_improvement(arranged, list(grid.algorithms)),
        sample_efficiency=sample_efficiency(arranged),
        comparisons=comparisons(grid, arranged),
        best=best_of_runs(whole),
        absent=pd.DataFrame(absent, columns=[*RUN, "why"]),
    )


def evaluation_steps(grid: Grid) -> dict[str, list[int]]:
    """Return the declared evaluation steps of each environment.

    :param grid: the grid
    """
    algorithm = next(iter(grid.algorithms))
    return {name: grid.config(algorithm, name).evaluation_steps for name in grid.environments}


def without_result(grid: Grid, results: Sequence[RunResult]) -> Iterator[tuple[str, str, int, str]]:
    """List the runs that failed or were not run, in the order of the grid.

    :param grid: the grid
    :param results: of its runs, finished and failed
    """
    known = {result.spec.id: result for result in results}
    for spec in grid.runs():
        result = known.get(spec.id)
        if result is None:
            yield spec.algorithm, spec.environment, spec.seed, "not run"
        elif result.failure is not None:
            yield spec.algorithm, spec.environment, spec.seed, f"failed: {result.reason}"


def cut_short(short: pd.DataFrame, finished: pd.DataFrame) -> Iterator[tuple[str, str, int, str]]:
    """List the runs that were not measured over the whole declared grid, and how far they were.

    :param short: their rows, see :func:`~.curves.split_complete`
    :param finished: tidy returns
    """
    asked = short.groupby(RUN)["step"].agg(["min", "max"])
    taken = finished.groupby(RUN)["num_timesteps"].agg(["min", "max"])
    both = asked.join(taken, rsuffix="_taken").reset_index()
    for *run, least, most, first, last in both.itertuples(index=False):
        yield (*run, f"measured from {first:,} to {last:,} steps, of {least:,} to {most:,}")


def in_no_aggregate(arranged: Cubes) -> Iterator[tuple[str, str, int, str]]:
    """List the runs that aggregates are without because their seed lacks an environment.

    :param arranged: the runs that finished on every environment
    """
    for *run, lacking in arranged.left_out.itertuples(index=False):
        yield (*run, f"in no aggregate: nothing with this seed on {lacking}")


def return_curves(whole: pd.DataFrame) -> pd.DataFrame:
    """Average returns over runs, step by step.

    :param whole: runs on the declared grid
    """
    columns = ["algorithm", "environment", "step", "seconds", *ESTIMATE, "n_runs"]
    parts = [pd.DataFrame(columns=columns)]
    for (algorithm, environment), rows in whole.groupby(["algorithm", "environment"]):
        runs = rows.pivot(index="seed", columns="step", values="return_mean")
        times = rows.groupby("step")["wall_time"].median().to_numpy()
        result = estimate(bootstrap.mean, runs.to_numpy()[:, np.newaxis], reps=CURVE_REPS)
        part: dict[str, Any] = {"algorithm": algorithm, "environment": environment}
        part |= {"step": runs.columns, "seconds": times, **result._asdict(), "n_runs": len(runs)}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def iqm_by_environment(final: pd.DataFrame) -> pd.DataFrame:
    """Estimate the interquartile mean of final scores on each environment, over all of its runs.

    :param final: a row for each run, with a column ``score``
    """
    rows = []
    for (algorithm, environment), runs in final.groupby(["algorithm", "environment"]):
        result = estimate(bootstrap.iqm, runs["score"].to_numpy()[:, np.newaxis])
        rows.append((algorithm, environment, *map(float, result), len(runs)))
    return pd.DataFrame(rows, columns=["algorithm", "environment", *ESTIMATE, "n_runs"])


def aggregates(arranged: Cubes) -> pd.DataFrame:
    """Estimate the four aggregates of final scores.

    :param arranged: the runs that finished on every environment
    """
    rows = []
    for algorithm, array in arranged.scores.items():
        result = estimate(bootstrap.aggregates, array[..., -1])
        for name, *numbers in zip(bootstrap.STATISTICS, *result, strict=True):
            rows.append((algorithm, name, *map(float, numbers), len(array)))
    return pd.DataFrame(rows, columns=["algorithm", "statistic", *ESTIMATE, "n_runs"])


def performance_profiles(arranged: Cubes) -> pd.DataFrame:
    """Estimate performance profiles of final scores.

    :param arranged: the runs that finished on every environment
    """
    final = {name: array[..., -1] for name, array in arranged.scores.items()}
    lowest = min((array.min() for array in final.values()), default=0.0)
    highest = max((array.max() for array in final.values()), default=1.0)
    # Scores under -1 (a policy far worse than chance) would squeeze the rest: they still count.
    thresholds = np.linspace(min(max(lowest, -1.0), 0.0), max(highest, 1.0), 101)
    statistic = partial(bootstrap.performance_profile, thresholds=thresholds)
    return _along("score", thresholds, final, statistic)


def sample_efficiency(arranged: Cubes) -> pd.DataFrame:
    """Estimate the IQM of scores along training.

    :param arranged: the runs that finished on every environment
    """
    return _along("fraction", arranged.points, arranged.scores, bootstrap.iqm)


def probability_of_improvement(arranged: Cubes, algorithms: Sequence[str]) -> pd.DataFrame:
    """Estimate for each pair of algorithms the probability that the first scores higher.

    :param arranged: the runs that finished on every environment
    :param algorithms: in the order of the pairs
    """
    rows = []
    present = [name for name in algorithms if name in arranged.scores]
    for x, y in combinations(present, 2):
        pair = arranged.scores[x][..., -1], arranged.scores[y][..., -1]
        result = estimate(bootstrap.probability_of_improvement, *pair)
        rows.append((x, y, *map(float, result), *map(len, pair)))
    return pd.DataFrame(rows, columns=["x", "y", *ESTIMATE, "n_runs_x", "n_runs_y"])


def comparisons(grid: Grid, arranged: Cubes) -> pd.DataFrame:
    """Estimate what each of the grid's questions asks for, over all environments and on each.

    :param grid: the grid
    :param arranged: the runs that finished on every environment
    """
    rows = []
    for question, (x, y) in grid.questions.items():
        if not {x, y} <= set(arranged.scores):
            continue
        pair = arranged.scores[x], arranged.scores[y]
        places = {ALL: slice(None)} | {
            name: slice(i, i + 1) for i, name in enumerate(arranged.environments)
        }
        for (measure, (statistic, summary)), (name, place) in product(
            MEASURES.items(), places.items()
        ):
            result = estimate(statistic, *(summary(array[:, place]) for array in pair))
            rows.append((question, x, y, measure, name, *map(float, result), *map(len, pair)))
    columns = ["question", "x", "y", "measure", "environment", *ESTIMATE, "n_runs_x", "n_runs_y"]
    return pd.DataFrame(rows, columns=columns)


def best_of_runs(whole: pd.DataFrame) -> pd.DataFrame:
    """Average over runs the highest mean return that each run was measured at.

    :param whole: runs on the declared grid
    """
    rows = []
    highest = whole.groupby(RUN)["return_mean"].max().reset_index()
    for (algorithm, environment), runs in highest.groupby(["algorithm", "environment"]):
        result = estimate(bootstrap.mean, runs["return_mean"].to_numpy()[:, np.newaxis])
        rows.append((algorithm, environment, *map(float, result), len(runs)))
    return pd.DataFrame(rows, columns=["algorithm", "environment", *ESTIMATE, "n_runs"])


def _along(
    name: str,
    places: NDArray[np.float64],
    scores: Mapping[str, NDArray[np.float64]],
    statistic: bootstrap.Statistic,
) -> pd.DataFrame:
    """Estimate for each algorithm a statistic that has a value at each of many places."""
    parts = [pd.DataFrame(columns=["algorithm", name, *ESTIMATE, "n_runs"])]
    for algorithm, array in scores.items():
        result = estimate(statistic, array, reps=CURVE_REPS)
        part = {"algorithm": algorithm, name: places, **result._asdict(), "n_runs": len(array)}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts[1:] or parts, ignore_index=True)
