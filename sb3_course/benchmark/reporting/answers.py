"""The results of a report in sentences: its summary and the answers to the grid's questions."""

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from sb3_course.benchmark.reporting import tables
from sb3_course.benchmark.reporting.content import BAR, Record, Section, interval, quantity
from sb3_course.benchmark.statistics.analysis import Analysis

MIN_SEEDS = 5
"""Number of seeds below which bootstrap intervals are known to be too narrow."""
MAX_ALGORITHMS = 6
"""Number of algorithms above which the summary lists the pairs of the best one only."""


def summary(analysis: Analysis, record: Record) -> Section:
    """Return the section that comes first and states the main results.

    :param analysis: Every number of the report
    :param record: How the runs were made
    :return: Section "Summary"
    """
    design, n_finished, n_failed = analysis.design, analysis.n_runs, len(record.failures)
    total = n_finished + n_failed if record.n_runs is None else record.n_runs
    missing = total - n_finished - n_failed
    state = f"{n_finished} of {total} runs finished"
    if record.n_runs is None:
        state = f"{quantity(n_finished, 'run')} read"
    state += f", {n_failed} failed" if n_failed else ""
    state += f", {missing} not run" if missing else ""
    counts = (
        f"Algorithms: {len(design.algorithms)}. Environments: {len(design.environments)}. "
        f"Seeds: {len(design.seeds)}. {state}."
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
            means = ", ".join(f"{name} {mean:,.0f}" for name, mean in ranked.items())
            lines.append(f"{environment}: {means}")
    return lines


def answers(analysis: Analysis) -> Iterator[str]:
    """Describe the main results in sentences.

    :param analysis: Every number of the report
    :yield: One sentence per result
    """
    names = analysis.design.algorithms
    iqm = analysis.aggregates[analysis.aggregates["statistic"] == "IQM"]
    if len(iqm) > 1:
        rows = tables.best(iqm, names)
        first = rows.iloc[0]
        value = interval(first["point"], first["low"], first["high"])
        equal = f" {first['point']:,.2f} each" if len(rows) > 1 else f" {value}"
        yield f"Highest interquartile mean of scores: {_joined(rows)},{equal}."
        few = len(iqm) <= MAX_ALGORITHMS
        yield from _improvements(analysis, names if few else list(rows["algorithm"]))
    means = analysis.final.groupby(["environment", "algorithm"], as_index=False)
    ends = means.agg(value=("return_mean", "mean"), n=("seed", "size"))
    for environment in analysis.design.environments:
        rows = ends[ends["environment"] == environment]
        if len(rows) > 1:
            highest = tables.best(rows, names, "value")
            number = f"{highest['value'].max():,.1f}"
            runs = " each" if len(highest) > 1 else f" ({quantity(highest.iloc[0]['n'], 'run')})"
            yield f"Highest mean return on {environment}: {_joined(highest)}, {number}{runs}."
    if len(ends) and (fewest := ends["n"].min()) < MIN_SEEDS:
        yield (
            f"An algorithm has only {quantity(fewest, 'seed')} on some environment, which makes "
            f"intervals too narrow to be reliable; use at least {MIN_SEEDS} seeds for claims."
        )


def _joined(rows: pd.DataFrame) -> str:
    """Return the names of the best algorithms: one, or those that tie."""
    *others, last = rows["algorithm"]
    return f"{', '.join(others)} and {last} (a tie)" if others else str(last)


def _improvements(analysis: Analysis, algorithms: Sequence[str]) -> Iterator[str]:
    better = tables.clear_improvements(analysis)
    n_pairs, n_clear = len(analysis.probability_of_improvement), sum(map(len, better.values()))
    yield (
        f"Clear differences: {n_clear} of {quantity(n_pairs, 'pair')}, by a permutation test at 5% "
        "with Holm's correction."
    )
    for name in (name for name in algorithms if name in better):
        yield f"{name} is likely to score higher than {', '.join(better[name])}."


def questions(analysis: Analysis) -> Section:
    """Return the section that answers the grid's questions, each by comparing two algorithms.

    :param analysis: Every number of the report
    :return: Section "Questions"
    """
    table = tables.comparisons(analysis)
    by_environment = tables.comparisons_by_environment(analysis)
    return Section(
        "Questions",
        [
            f"Scores are defined below. Intervals: {BAR}. A question remains open if the interval "
            "of a probability contains 0.5 or that of a difference contains 0."
        ],
        points=[
            *(_answer(*cells) for cells in table.rows),
            *_unanswered(analysis, [question for question, *_ in table.rows]),
        ],
        tables=[table, by_environment] if table.rows else [],
    )


def _answer(
    question: str,
    x: str,
    y: str,
    probability: str,
    over: str,
    end: str,
    whole: str,
    seeds: str,
) -> str:
    return (
        f"{question} A run of {x} scores higher than a run of {y} with probability {probability}, "
        f"over the run {over}; the difference of their interquartile means is {end} at the end and "
        f"{whole} over the run ({seeds} seeds)."
    )


def _unanswered(analysis: Analysis, answered: Sequence[str]) -> Iterator[str]:
    for question, why in analysis.answers[["question", "why"]].itertuples(index=False):
        if question not in answered:
            yield f"{question} Not answered: {why}."
