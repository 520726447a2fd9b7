"""Compute every number of a report; tables, figures and pages only display them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.statistics import environments, metrics, pairs
from sb3_course.benchmark.statistics.aggregates import (
    aggregates,
    performance_profiles,
    sample_efficiency,
)
from sb3_course.benchmark.statistics.answers import answers, settled_pairs
from sb3_course.benchmark.statistics.curves import RUN, on_grid, split_complete
from sb3_course.benchmark.statistics.design import Design, design_of
from sb3_course.benchmark.statistics.scores import Cubes, cubes, normalize
from sb3_course.benchmark.storage.references import MeasuredReference
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.returns_table import tidy, without_result
from sb3_course.benchmark.storage.rounds import Rounds


@dataclass(frozen=True)
class Analysis:
    """Every number of a report; algorithms and environments are in the order of the design.

    Tables of estimates have the columns ``point, low, high`` (see :class:`~.bootstrap.Estimate`)
    and ``n_runs``, the number of runs of each environment that they are based on.

    :param design: What is compared
    :param n_runs: Number of runs that have returns
    :param final: Each complete run at the end of its budget: ``algorithm, environment, seed, step,
        return_mean, wall_time``
    :param curves: Mean returns: ``algorithm, environment, step, seconds`` and an estimate;
        ``seconds`` is the median training time
    :param runs: Each complete run at each declared step: ``algorithm, environment, seed, step,
        return_mean, wall_time``
    :param by_environment: IQM of final returns: ``algorithm, environment`` and an estimate
    :param over_run: IQM of the runs' mean returns after their first evaluation, likewise
    :param best: Mean over runs of each run's highest evaluation, likewise
    :param stability: How far runs differ and fall, see :func:`.environments.stability`
    :param metrics: Other numbers along training, see :func:`.environments.metric_curves`
    :param ranks: Mean rank over :attr:`shared`: ``algorithm`` and an estimate
    :param probability_of_improvement: P(X > Y) of each pair and its test, see
        :func:`.pairs.probability_of_improvement`
    :param comparisons: Answers in numbers: ``question, x, y, measure, environment`` (one
        environment or :data:`.pairs.ALL`), an estimate and ``n_runs_x, n_runs_y``
    :param answers: Answers to the questions, see :func:`.answers.answers`
    :param aggregated: Environments that have a scale, over which the aggregates are taken
    :param aggregates: Aggregates of final scores: ``algorithm, statistic`` and an estimate
    :param performance_profiles: Fraction of runs above each score: ``algorithm, score`` and an
        estimate
    :param sample_efficiency: IQM of scores along training: ``algorithm, fraction`` and an estimate
    :param absent: Runs that are missing from a statistic: ``algorithm, environment, seed, why``
    """

    design: Design
    n_runs: int
    final: pd.DataFrame
    curves: pd.DataFrame
    runs: pd.DataFrame
    by_environment: pd.DataFrame
    over_run: pd.DataFrame
    best: pd.DataFrame
    stability: pd.DataFrame
    metrics: pd.DataFrame
    ranks: pd.DataFrame
    probability_of_improvement: pd.DataFrame
    comparisons: pd.DataFrame
    answers: pd.DataFrame
    aggregated: list[str]
    aggregates: pd.DataFrame
    performance_profiles: pd.DataFrame
    sample_efficiency: pd.DataFrame
    absent: pd.DataFrame

    @property
    def shared(self) -> list[str]:
        """Environments on which all algorithms have runs, if there are several algorithms."""
        tasks = self.by_environment.groupby("algorithm")["environment"].agg(set)
        shared = set.intersection(*tasks) if len(tasks) > 1 else set()
        return [name for name in self.design.environments if name in shared]

    @property
    def ranks_compare(self) -> bool:
        """Whether all algorithms, of which there are several, have runs on a common environment."""
        return bool(self.shared)

    @property
    def ranked_over(self) -> str:
        """The environments of the ranks, in words."""
        if len(self.shared) == self.by_environment["environment"].nunique():
            return "environments"
        return f"the environments where all algorithms have runs ({', '.join(self.shared)})"


def analyze(
    grid: Grid,
    results: Sequence[RunResult],
    measured: Mapping[str, MeasuredReference] | None = None,
    rounds: Rounds | None = None,
    finished: pd.DataFrame | None = None,
) -> Analysis:
    """Compute every number of the report of a grid.

    :param grid: Grid
    :param results: Results of the grid's runs, finished and failed
    :param measured: Returns of random actions that were measured, by environment
    :param rounds: Rounds in which seeds were added; None for a fixed number of seeds
    :param finished: Tidy returns of the results, see :func:`.tidy`; None to compute them
    :return: Tables of all numbers
    """
    if finished is None:
        finished = tidy(results)
    design = design_of(grid, measured, rounds)
    return analyze_returns(design, finished, without_result(grid, results))


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
    final = whole[whole.groupby(RUN)["step"].transform("max") == whole["step"]]
    runs = environments.runs_of(whole)
    scores = normalize(whole, design.references)
    arranged = cubes(scores)
    absent = [*without, *cut_short(short, finished), *in_no_aggregate(arranged)]
    answered = answers(design, runs, whole)
    improvement = pairs.probability_of_improvement(runs, design)
    return Analysis(
        design=design,
        n_runs=len(finished.drop_duplicates(RUN)),
        final=final.reset_index(drop=True),
        curves=environments.return_curves(whole),
        runs=whole,
        by_environment=environments.estimates(runs, metrics.iqm, environments.at_the_end),
        over_run=environments.estimates(runs, metrics.iqm, environments.over_the_run),
        best=environments.estimates(runs, metrics.mean, environments.best_of_the_run),
        stability=environments.stability(runs),
        metrics=environments.metric_curves(finished),
        ranks=pairs.ranks(runs, design),
        probability_of_improvement=settled_pairs(design, improvement, answered),
        comparisons=pairs.comparisons(design, runs, arranged),
        answers=answered,
        aggregated=[name for name in design.environments if name in set(scores["environment"])],
        aggregates=aggregates(arranged),
        performance_profiles=performance_profiles(arranged),
        sample_efficiency=sample_efficiency(arranged),
        absent=pd.DataFrame(absent, columns=[*RUN, "why"]),
    )


def complete_runs(design: Design, finished: pd.DataFrame) -> tuple[environments.Runs, pd.DataFrame]:
    """Return the runs that were measured over the whole declared grid, as arrays and as a table.

    :param design: What is compared
    :param finished: Tidy returns
    :return: Curves of the runs, and their rows at the declared steps
    """
    whole, _ = split_complete(on_grid(finished, design.environments))
    return environments.runs_of(whole), whole


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
