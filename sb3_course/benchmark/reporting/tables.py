"""The numbers of an analysis as tables and sentences for people."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sb3_course.benchmark.statistics.analysis import ALL, MEASURES, Analysis
from sb3_course.benchmark.statistics.bootstrap import STATISTICS
from sb3_course.benchmark.storage.result import RunResult

NOTHING = "—"


class Table(NamedTuple):
    """A table of texts; the first column names the row."""

    caption: str
    header: list[str]
    rows: list[list[str]]


def interval(point: float, low: float, high: float, digits: int = 2) -> str:
    """Write an estimate with its interval; one run has none.

    :param point: the estimate
    :param low: lower bound, NaN where there is none
    :param high: upper bound
    :param digits: after the decimal point
    """
    bounds = f"[{low:.{digits}f}, {high:.{digits}f}]" if np.isfinite(low) else "[one run]"
    return f"{point:.{digits}f} {bounds}"


def number(n: int, what: str) -> str:
    """Write a number of things.

    :param n: how many
    :param what: one of them
    """
    return f"{n} {what}{'' if n == 1 else 's'}"


def _cells(table: pd.DataFrame, row: str, column: str) -> dict[tuple[str, Any], str]:
    """Write the estimates of a table by the values of two of its columns."""
    chosen = table[[row, column, "point", "low", "high"]].itertuples(index=False)
    return {(r, c): interval(point, low, high) for r, c, point, low, high in chosen}


def _estimates_and_runs(table: pd.DataFrame, digits: int = 2) -> dict[tuple[str, str], str]:
    """Write the estimates of a table, and of how many runs, by algorithm and environment."""
    columns = ["algorithm", "environment", "point", "low", "high", "n_runs"]
    return {
        (algorithm, environment): f"{interval(point, low, high, digits)} ({n})"
        for algorithm, environment, point, low, high, n in table[columns].itertuples(index=False)
    }


def _rows(
    analysis: Analysis, cells: Mapping[Any, str], environments: Sequence[str]
) -> list[list[str]]:
    """Lay cells by algorithm and environment out, a row for each algorithm of the grid."""
    return [
        [name, *(cells.get((name, environment), NOTHING) for environment in environments)]
        for name in analysis.grid.algorithms
    ]


def _n_runs(table: pd.DataFrame) -> dict[str, int]:
    return dict(zip(table["algorithm"], table["n_runs"], strict=True))


def returns(analysis: Analysis) -> Table:
    """Final returns, mean and deviation over runs.

    :param analysis: every number of the report
    """
    cells = {}
    for key, values in analysis.final.groupby(["algorithm", "environment"])["return_mean"]:
        spread = f" ± {values.std():,.1f}" if len(values) > 1 else ""
        cells[key] = f"{values.mean():,.1f}{spread} ({len(values)})"
    environments = list(analysis.grid.environments)
    return Table(
        "Final return: mean over runs ± sample standard deviation (number of runs)",
        ["Algorithm", *environments],
        _rows(analysis, cells, environments),
    )


def best_of_runs(analysis: Analysis) -> Table:
    """The highest evaluation of each run, averaged over runs.

    :param analysis: every number of the report
    """
    cells = _estimates_and_runs(analysis.best, 1)
    environments = list(analysis.grid.environments)
    return Table(
        "Highest mean return that a run was measured at, mean over runs [95% interval] (number of "
        "runs); a highest value flatters whoever swings most, so read it beside the final return",
        ["Algorithm", *environments],
        _rows(analysis, cells, environments),
    )


def comparisons(analysis: Analysis) -> Table:
    """What the grid's questions ask for, over all environments.

    :param analysis: every number of the report
    """
    table = analysis.comparisons[analysis.comparisons["environment"] == ALL]
    cells = _cells(table, "question", "measure")
    columns = ["question", "x", "y", "n_runs_x", "n_runs_y"]
    pairs = table[columns].drop_duplicates().itertuples(index=False)
    rows = [
        [question, x, y, *(cells[question, m] for m in MEASURES), _seeds(n_x, n_y)]
        for question, x, y, n_x, n_y in pairs
    ]
    return Table(
        "X against Y [95% interval]: probability that a run of X scores higher; interquartile mean "
        "of X less that of Y, of scores at the end and of mean scores over the run",
        ["Question", "X", "Y", *MEASURES, "Seeds"],
        rows,
    )


def comparisons_by_environment(analysis: Analysis) -> Table:
    """What the grid's questions ask for on each environment: differences over the run.

    :param analysis: every number of the report
    """
    table = analysis.comparisons[analysis.comparisons["measure"] == "over the run"]
    cells = _cells(table, "question", "environment")
    pairs = table[["question", "x", "y"]].drop_duplicates().itertuples(index=False)
    return Table(
        "Interquartile mean of X less that of Y, of mean scores over the run [95% interval]",
        ["X against Y", *analysis.aggregated],
        [
            [f"{x} against {y}", *(cells[question, env] for env in analysis.aggregated)]
            for question, x, y in pairs
        ],
    )


def aggregates(analysis: Analysis) -> Table:
    """IQM, median, mean and optimality gap over all environments.

    :param analysis: every number of the report
    """
    cells = _cells(analysis.aggregates, "algorithm", "statistic")
    n_runs = _n_runs(analysis.aggregates)
    return Table(
        f"Normalized final scores over {number(len(analysis.aggregated), 'environment')} "
        "[95% interval], and how many seeds finished on all of them",
        ["Algorithm", *STATISTICS, "Seeds"],
        [
            [name, *(cells[name, statistic] for statistic in STATISTICS), str(n_runs[name])]
            for name in analysis.grid.algorithms
            if name in n_runs
        ],
    )


def by_environment(analysis: Analysis) -> Table:
    """IQM on each environment, over all of its runs.

    :param analysis: every number of the report
    """
    counts = _estimates_and_runs(analysis.by_environment)
    return Table(
        "Interquartile mean of normalized final scores [95% interval] (number of runs)",
        ["Algorithm", *analysis.aggregated],
        _rows(analysis, counts, analysis.aggregated),
    )


def probability_of_improvement(analysis: Analysis) -> Table:
    """Probability of improvement of every pair, the likely better one first, in words as well.

    :param analysis: every number of the report
    """
    rows = []
    for x, y, point, low, high, n_x, n_y in analysis.probability_of_improvement.itertuples(
        index=False
    ):
        if point < 0.5:
            x, y, point, low, high, n_x, n_y = y, x, 1 - point, 1 - high, 1 - low, n_y, n_x
        verdict = f"{x} is likely to score higher" if low > 0.5 else "not told apart"
        rows.append([f"P({x} > {y})", interval(point, low, high), verdict, _seeds(n_x, n_y)])
    return Table(
        "Probability that a run of the one scores higher than a run of the other [95% interval]",
        ["Pair", "Probability", "In words", "Seeds"],
        rows,
    )


def _seeds(n_x: int, n_y: int) -> str:
    return f"{n_x}" if n_x == n_y else f"{n_x} and {n_y}"


def told_apart(analysis: Analysis) -> dict[str, list[str]]:
    """List for each algorithm those that it is likely to outdo: the interval is above one half.

    :param analysis: every number of the report
    :return: names, each with its probability
    """
    better: dict[str, list[str]] = {}
    for x, y, point, low, high, *_ in analysis.probability_of_improvement.itertuples(index=False):
        if low > 0.5:
            better.setdefault(x, []).append(f"{y} ({interval(point, low, high)})")
        elif high < 0.5:
            converse = interval(1 - point, 1 - high, 1 - low)
            better.setdefault(y, []).append(f"{x} ({converse})")
    return better


def sample_efficiency(analysis: Analysis) -> Table:
    """IQM at the quarters of the budget.

    :param analysis: every number of the report
    """
    table = analysis.sample_efficiency
    points = np.unique(table["fraction"].astype(float))
    quarters = [points[np.abs(points - q).argmin()] for q in (0.25, 0.5, 0.75, 1.0)]
    quarters = sorted(set(quarters))
    cells = _cells(table, "algorithm", "fraction")
    n_runs = _n_runs(table)
    return Table(
        "Interquartile mean of normalized scores along training [95% interval]",
        ["Algorithm", *(f"{q:.0%} of the budget" for q in quarters), "Seeds"],
        [
            [name, *(cells[name, q] for q in quarters), str(n_runs[name])]
            for name in analysis.grid.algorithms
            if name in n_runs
        ],
    )


def training_time(analysis: Analysis) -> Table:
    """Median seconds of training, and environment steps a second.

    :param analysis: every number of the report
    """
    cells = {}
    for key, rows in analysis.final.groupby(["algorithm", "environment"]):
        seconds = rows["wall_time"].median()
        rate = f" ({rows['step'].iloc[0] / seconds:,.0f}/s)" if seconds > 0 else ""
        cells[key] = f"{seconds:,.0f} s{rate}"
    environments = list(analysis.grid.environments)
    return Table(
        "Median time of training of the runs counted above (environment steps a second)",
        ["Algorithm", *environments],
        _rows(analysis, cells, environments),
    )


def absent(analysis: Analysis) -> Table:
    """Runs that statistics are without, seeds and environments of one kind in a row.

    :param analysis: every number of the report
    """
    seeds: dict[tuple[str, str, str], list[str]] = {}
    for algorithm, environment, seed, why in analysis.absent.itertuples(index=False):
        seeds.setdefault((algorithm, why, environment), []).append(str(seed))
    environments: dict[tuple[str, str, str], list[str]] = {}
    for (algorithm, why, environment), group in seeds.items():
        environments.setdefault((algorithm, why, ", ".join(group)), []).append(environment)
    return Table(
        "Runs that statistics are without",
        ["Algorithm", "Seeds", "Environments", "Why"],
        [[a, group, ", ".join(names), why] for (a, why, group), names in environments.items()],
    )


def references(analysis: Analysis) -> Table:
    """The scales of scores.

    :param analysis: every number of the report
    """
    known = analysis.references.environments
    return Table(
        f"Returns that are scores of 0 and 1 (version {analysis.references.version})",
        ["Environment", "0: random actions", "1: expert", "Expert"],
        [
            [name, _exact(known[name].random), _exact(known[name].expert), known[name].expert_name]
            for name in analysis.grid.environments
            if name in known
        ],
    )


def _exact(value: float) -> str:
    return f"{value:,.10g}"


def made_with(results: Iterable[RunResult], manifest: dict[str, Any]) -> Table:
    """Code, versions and machine: of each run where it recorded them, else of the whole grid.

    :param results: of the grid's runs
    :param manifest: of the grid
    """
    recorded = [result.made_with for result in results if result.made_with]
    names = dict.fromkeys(name for record in recorded for name in record)
    rows = [
        [_words(name), _counted(record[name] for record in recorded if record.get(name))]
        for name in names
    ]
    known = {name for name, *_ in rows}
    flat = [(k, v) for k, v in _flat(manifest) if v is not None and _words(k) not in known]
    rows += [[_words(name), str(value)] for name, value in flat]
    return Table("What the runs were made with", ["", ""], [row for row in rows if row[1]])


def _counted(values: Iterable[str | None]) -> str:
    counts = Counter(str(value) for value in values)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({number(n, 'run')})" for value, n in counts.items())


def _flat(manifest: dict[str, Any]) -> list[tuple[str, Any]]:
    """List a manifest's facts, those of its sections as well; grid and commands are shown apart."""
    facts: list[tuple[str, Any]] = []
    for key, value in manifest.items():
        if isinstance(value, dict) and key != "grid":
            facts += value.items()
        elif isinstance(value, str | int | float):
            facts.append((key, value))
    return facts


def _words(name: str) -> str:
    return name.replace("_", " ")


def best(table: pd.DataFrame, algorithms: Sequence[str], column: str = "point") -> pd.Series:
    """Return the row with the highest value, the first in the order of the grid where some tie.

    :param table: with a column ``algorithm``
    :param algorithms: in the order of the grid
    :param column: of the value
    """
    order = table.assign(place=[list(algorithms).index(name) for name in table["algorithm"]])
    return order.sort_values([column, "place"], ascending=[False, True]).iloc[0]
