"""The results of a report in sentences."""

from collections.abc import Iterable, Iterator

import pandas as pd

from sb3_course.benchmark.reporting.content import Record, Section
from sb3_course.benchmark.reporting.numbers import interval, number, quantity
from sb3_course.benchmark.reporting.tables import layout, pairs
from sb3_course.benchmark.statistics.analysis import Analysis
from sb3_course.benchmark.statistics.coverage import caveat
from sb3_course.common.numbers import digits

MIN_SEEDS = 5
"""Number of seeds below which no claim should be made."""
MAX_NAMES = 5
"""Number of names above which a sentence counts them instead."""


def summary(analysis: Analysis, record: Record) -> Section:
    """Return the section that comes first: what was run, and the result in a few sentences.

    :param analysis: Every number of the report
    :param record: How the runs were made
    :return: Section "Summary"
    """
    design, n_finished, n_failed = analysis.design, analysis.n_runs, len(record.failures)
    total = n_finished + n_failed if record.n_runs is None else record.n_runs
    missing = total - n_finished - n_failed
    state = f"{n_finished:,} of {total:,} runs finished"
    if record.n_runs is None:
        state = f"{quantity(n_finished, 'run')} read"
    state += f", {n_failed:,} failed" if n_failed else ""
    state += f", {missing:,} not run" if missing else ""
    counts = (
        f"{quantity(len(design.algorithms), 'algorithm')}, "
        f"{quantity(len(design.environments), 'environment')}, "
        f"{quantity(len(design.seeds), 'seed')}: {state}."
    )
    return Section("Summary", [counts], points=list(answers(analysis)))


def rankings(environments: Iterable[str], table: pd.DataFrame) -> list[str]:
    """Describe the mean final returns of finished runs, the highest first.

    :param environments: Environments in the order of the grid
    :param table: Tidy returns, see :func:`~.returns_table.tidy`
    :return: A line for each environment, as in ``CartPole-v1: NPG 500, A2C 421``
    """
    by_run = table.sort_values("step").groupby(["environment", "algorithm", "seed"], sort=False)
    final = by_run["return_mean"].last().groupby(["environment", "algorithm"], sort=False).mean()
    lines = []
    for environment in environments:
        if environment in final.index.get_level_values(0):
            ranked = final[environment].sort_values(ascending=False, kind="stable")
            n_digits = 0 if ranked.abs().max() >= 10 else digits(ranked)
            means = ", ".join(f"{name} {number(mean, n_digits)}" for name, mean in ranked.items())
            lines.append(f"{environment}: {means}")
    return lines


def answers(analysis: Analysis) -> Iterator[str]:
    """Describe the main results in sentences.

    :param analysis: Every number of the report
    :yield: One sentence per result
    """
    iqm = analysis.aggregates[analysis.aggregates["statistic"] == "IQM"]
    if len(iqm) > 1:
        yield _best(analysis, iqm, "Highest interquartile mean of scores", 2, lower=False)
    elif analysis.by_environment["environment"].nunique() == 1 and analysis.ranks_compare:
        table = analysis.by_environment
        n_digits = digits(table["point"])
        yield _best(analysis, table, "Highest interquartile mean of returns", n_digits, lower=False)
    elif analysis.ranks_compare:
        what = f"Best mean rank over {analysis.ranked_over}"
        yield _best(analysis, analysis.ranks, what, 1, lower=True)
    if n_pairs := len(analysis.probability_of_improvement):
        n_apart = sum(map(len, pairs.told_apart(analysis).values()))
        yield f"Told apart: {n_apart} of {quantity(n_pairs, 'pair')} of algorithms."
    yield from warnings(analysis)


def _best(analysis: Analysis, table: pd.DataFrame, what: str, n_digits: int, lower: bool) -> str:
    top = table["point"].min() if lower else table["point"].max()
    first = [name for name in analysis.design.algorithms if name in _at(table, top)]
    near = layout.not_apart(analysis, lower)(table)
    beaten = layout.wins(analysis)
    better = [n for n in analysis.design.algorithms if any((n, top) in beaten for top in first)]
    others = [n for n in analysis.design.algorithms if n in near and n not in first + better]
    row = table[table["algorithm"] == first[0]].iloc[0]
    value = interval(row["point"], row["low"], row["high"], n_digits)
    tie = " (a tie)" if len(first) > 1 else ""
    names = ", ".join(others) if len(others) <= MAX_NAMES else f"{len(others)} others"
    rest = f"; not told apart from it: {names}" if others else ""
    rest += f"; told apart from it, with runs that end higher: {', '.join(better)}" * bool(better)
    without = set(analysis.by_environment["algorithm"]) - set(table["algorithm"])
    lacking = [n for n in analysis.design.algorithms if n in without]
    rest += f"; without {', '.join(lacking)}, which lacks runs on some environment" * bool(lacking)
    return f"{what}: {' and '.join(first)}{tie}, {value}{rest}."


def _at(table: pd.DataFrame, value: float) -> set[str]:
    return set(table.loc[table["point"] == value, "algorithm"])


def warnings(analysis: Analysis) -> Iterator[str]:
    """Yield what readers should know before they trust an interval.

    :param analysis: Every number of the report
    :yield: One sentence per warning
    """
    if not len(analysis.by_environment):
        return
    fewest = int(analysis.by_environment["n_runs"].min())
    if fewest < MIN_SEEDS:
        yield (
            f"An algorithm has only {quantity(fewest, 'run')} on some environment; use at least "
            f"{MIN_SEEDS} seeds for claims."
        )
    several = analysis.by_environment["n_runs"]
    if text := caveat(int(several[several > 1].min()) if (several > 1).any() else 1):
        yield text
