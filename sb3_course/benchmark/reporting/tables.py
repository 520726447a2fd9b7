"""The numbers of an analysis as tables of texts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sb3_course.benchmark.reporting.content import Record, Table, interval, quantity
from sb3_course.benchmark.statistics.analysis import Analysis
from sb3_course.benchmark.statistics.metrics import STATISTICS
from sb3_course.benchmark.statistics.pairs import ALL, DIFFERENCES, PROBABILITIES

NOTHING = "—"
MEASURES = [*PROBABILITIES, *DIFFERENCES]


def _cells(table: pd.DataFrame, row: str, column: str) -> dict[tuple[str, Any], str]:
    """Return the estimates of a table as text, by the values of two of its columns."""
    chosen = table[[row, column, "point", "low", "high"]].itertuples(index=False)
    return {(r, c): interval(point, low, high) for r, c, point, low, high in chosen}


def _estimates_and_runs(table: pd.DataFrame, digits: int = 2) -> dict[tuple[str, str], str]:
    """Return estimates and their numbers of runs as text, by algorithm and environment."""
    columns = ["algorithm", "environment", "point", "low", "high", "n_runs"]
    return {
        (algorithm, environment): f"{interval(point, low, high, digits)} ({n})"
        for algorithm, environment, point, low, high, n in table[columns].itertuples(index=False)
    }


def _rows(
    analysis: Analysis, cells: Mapping[Any, str], environments: Sequence[str]
) -> list[list[str]]:
    """Arrange cells by algorithm and environment in one row per algorithm of the grid."""
    return [
        [name, *(cells.get((name, environment), NOTHING) for environment in environments)]
        for name in analysis.design.algorithms
    ]


def _n_runs(table: pd.DataFrame) -> dict[str, int]:
    return dict(zip(table["algorithm"], table["n_runs"], strict=True))


def returns(analysis: Analysis) -> Table:
    """Return the table of final returns.

    :param analysis: Every number of the report
    :return: Mean and standard deviation over runs, by algorithm and environment
    """
    cells = {}
    for key, values in analysis.final.groupby(["algorithm", "environment"])["return_mean"]:
        spread = f" ± {values.std():,.1f}" if len(values) > 1 else ""
        cells[key] = f"{values.mean():,.1f}{spread} ({len(values)})"
    environments = list(analysis.design.environments)
    return Table(
        "Final return: mean over runs ± sample standard deviation (number of runs)",
        ["Algorithm", *environments],
        _rows(analysis, cells, environments),
    )


def best_of_runs(analysis: Analysis) -> Table:
    """Return the table of each run's highest evaluation.

    :param analysis: Every number of the report
    :return: Mean over runs, by algorithm and environment
    """
    cells = _estimates_and_runs(analysis.best, 1)
    environments = list(analysis.design.environments)
    return Table(
        "Highest mean return of a run's evaluations: mean over runs [95% interval] (number of "
        "runs); a maximum favors algorithms that fluctuate more, so compare the final return, too",
        ["Algorithm", *environments],
        _rows(analysis, cells, environments),
    )


def comparisons(analysis: Analysis) -> Table:
    """Return the table of answers to the grid's questions, over all environments.

    :param analysis: Every number of the report
    :return: One row per question
    """
    table = analysis.comparisons[analysis.comparisons["environment"] == ALL]
    cells = _cells(table, "question", "measure")
    columns = ["question", "x", "y", "n_runs_x", "n_runs_y"]
    pairs = table[columns].drop_duplicates().itertuples(index=False)
    rows = [
        [question, x, y, *(cells.get((question, m), NOTHING) for m in MEASURES), _seeds(n_x, n_y)]
        for question, x, y, n_x, n_y in pairs
    ]
    return Table(
        "X against Y [95% interval]: probability that a run of X is higher at the end, and in its "
        "mean over the run; interquartile mean of X minus that of Y, of the same two scores",
        ["Question", "X", "Y", *MEASURES, "Seeds"],
        rows,
    )


def comparisons_by_environment(analysis: Analysis) -> Table:
    """Return the table of answers to the grid's questions on each environment.

    :param analysis: Every number of the report
    :return: Difference of the mean scores over the run, by question and environment
    """
    table = analysis.comparisons[analysis.comparisons["measure"] == "P(X > Y) over the run"]
    cells, environments = (
        _cells(table, "question", "environment"),
        list(analysis.design.environments),
    )
    pairs = table[["question", "x", "y"]].drop_duplicates().itertuples(index=False)
    return Table(
        "Probability that the mean return over the run is higher for X than for Y [95% interval]",
        ["X against Y", *environments],
        [
            [f"{x} against {y}", *(cells.get((question, env), NOTHING) for env in environments)]
            for question, x, y in pairs
        ],
    )


def aggregates(analysis: Analysis) -> Table:
    """Return the table of IQM, median, mean and optimality gap over all environments.

    :param analysis: Every number of the report
    :return: One row per algorithm
    """
    cells = _cells(analysis.aggregates, "algorithm", "statistic")
    n_runs = _n_runs(analysis.aggregates)
    return Table(
        f"Normalized final scores over {quantity(len(analysis.aggregated), 'environment')} "
        "[95% interval], and the number of seeds that finished on all of them",
        ["Algorithm", *STATISTICS, "Seeds"],
        [
            [name, *(cells[name, statistic] for statistic in STATISTICS), str(n_runs[name])]
            for name in analysis.design.algorithms
            if name in n_runs
        ],
    )


def by_environment(analysis: Analysis) -> Table:
    """Return the table of interquartile means on each environment, over all of its runs.

    :param analysis: Every number of the report
    :return: One row per algorithm
    """
    cells = _estimates_and_runs(analysis.by_environment, 1)
    environments = list(analysis.design.environments)
    return Table(
        "Interquartile mean of final returns [95% interval] (number of runs)",
        ["Algorithm", *environments],
        _rows(analysis, cells, environments),
    )


def probability_of_improvement(analysis: Analysis) -> Table:
    """Return the table of P(X > Y) of every pair, with the probably better algorithm first.

    :param analysis: Every number of the report
    :return: One row per pair, with the result in words
    """
    rows = []
    columns = ["x", "y", "point", "low", "high", "n_runs_x", "n_runs_y", "p_holm", "apart"]
    table = analysis.probability_of_improvement[columns]
    for x, y, point, low, high, n_x, n_y, p, apart in table.itertuples(index=False):
        if point < 0.5:
            x, y, point, low, high, n_x, n_y = y, x, 1 - point, 1 - high, 1 - low, n_y, n_x
        verdict = f"{x} is likely to score higher" if apart else "no clear difference"
        numbers = [interval(point, low, high), f"{p:.3f}"]
        rows.append([f"P({x} > {y})", *numbers, verdict, _seeds(n_x, n_y)])
    return Table(
        "Probability that a run of X scores higher than a run of Y [95% interval]",
        ["Pair", "Probability", "p (Holm)", "Result", "Seeds"],
        rows,
    )


def _seeds(n_x: int, n_y: int) -> str:
    return f"{n_x}" if n_x == n_y else f"{n_x} and {n_y}"


def clear_improvements(analysis: Analysis) -> dict[str, list[str]]:
    """List for each algorithm those that it clearly improves on, corrected for all pairs.

    :param analysis: Every number of the report
    :return: Names of the other algorithms, each with its probability
    """
    better: dict[str, list[str]] = {}
    table = analysis.probability_of_improvement
    columns = ["x", "y", "point", "low", "high"]
    for x, y, point, low, high in table[table["apart"]][columns].itertuples(index=False):
        if point > 0.5:
            better.setdefault(x, []).append(f"{y} ({interval(point, low, high)})")
        else:
            converse = interval(1 - point, 1 - high, 1 - low)
            better.setdefault(y, []).append(f"{x} ({converse})")
    return better


def sample_efficiency(analysis: Analysis) -> Table:
    """Return the table of interquartile means at the quarters of the budget.

    :param analysis: Every number of the report
    :return: One row per algorithm
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
            for name in analysis.design.algorithms
            if name in n_runs
        ],
    )


def training_time(analysis: Analysis) -> Table:
    """Return the table of median training times and environment steps per second.

    :param analysis: Every number of the report
    :return: Seconds and steps per second, by algorithm and environment
    """
    cells = {}
    known = analysis.final[analysis.final["wall_time"].notna()]  # logs may not hold times
    for key, rows in known.groupby(["algorithm", "environment"]):
        seconds = rows["wall_time"].median()
        rate = f" ({rows['step'].iloc[0] / seconds:,.0f}/s)" if seconds > 0 else ""
        cells[key] = f"{seconds:,.0f} s{rate}"
    environments = list(analysis.design.environments)
    return Table(
        "Median training time of the runs counted above (environment steps per second)",
        ["Algorithm", *environments],
        _rows(analysis, cells, environments),
    )


def absent(analysis: Analysis) -> Table:
    """Return the table of runs that are missing from a statistic.

    :param analysis: Every number of the report
    :return: One row per algorithm, reason and group of seeds
    """
    seeds: dict[tuple[str, str, str], list[str]] = {}
    for algorithm, environment, seed, why in analysis.absent.itertuples(index=False):
        seeds.setdefault((algorithm, why, environment), []).append(str(seed))
    environments: dict[tuple[str, str, str], list[str]] = {}
    for (algorithm, why, environment), group in seeds.items():
        environments.setdefault((algorithm, why, ", ".join(group)), []).append(environment)
    return Table(
        "Runs that are missing from a statistic",
        ["Algorithm", "Seeds", "Environments", "Reason"],
        [[a, group, ", ".join(names), why] for (a, why, group), names in environments.items()],
    )


def references(analysis: Analysis) -> Table:
    """Return the table of reference returns.

    :param analysis: Every number of the report
    :return: One row per environment that has reference returns
    """
    known = analysis.design.references.environments
    return Table(
        f"Reference returns with scores of 0 and 1 (version {analysis.design.references.version})",
        ["Environment", "0: random actions", "1: expert", "Expert"],
        [
            [name, _exact(known[name].random), _exact(known[name].expert), known[name].expert_name]
            for name in analysis.design.environments
            if name in known
        ],
    )


def _exact(value: float) -> str:
    return f"{value:,.10g}"


def made_with(record: Record) -> Table:
    """Return the table of code, versions and machine that the runs were made with.

    Each run's own record is used where it has one, and the grid's manifest otherwise.

    :param record: How the runs were made
    :return: One row per fact
    """
    recorded = [result.made_with for result in record.results if result.made_with]
    names = dict.fromkeys(name for facts in recorded for name in facts)
    rows = [
        [_words(name), _occurrences(facts[name] for facts in recorded if facts.get(name))]
        for name in names
    ]
    known = {name for name, *_ in rows}
    flat = [(k, v) for k, v in _flat(record.manifest) if v is not None and _words(k) not in known]
    rows += [[_words(name), str(value)] for name, value in flat]
    return Table("Code, versions and machine", ["", ""], [row for row in rows if row[1]])


def _occurrences(values: Iterable[str | None]) -> str:
    counts = Counter(str(value) for value in values)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({quantity(n, 'run')})" for value, n in counts.items())


def _flat(manifest: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """List the facts of a manifest and its sections, except grid and commands."""
    facts: list[tuple[str, Any]] = []
    for key, value in manifest.items():
        if isinstance(value, dict) and key != "grid":
            facts += value.items()
        elif isinstance(value, str | int | float):
            facts.append((key, value))
    return facts


def _words(name: str) -> str:
    return name.replace("_", " ")


def best(table: pd.DataFrame, algorithms: Sequence[str], column: str = "point") -> pd.DataFrame:
    """Return the rows with the highest value, in the order of the grid: several if they tie.

    :param table: Table with a column ``algorithm``
    :param algorithms: Algorithms in the order of the grid
    :param column: Column of the value
    :return: Rows of the best algorithms
    """
    ranked = table.assign(position=[list(algorithms).index(name) for name in table["algorithm"]])
    first: pd.DataFrame = ranked[ranked[column] == ranked[column].max()]
    return first.sort_values("position")
