"""Tables of returns, stability and other measures on each environment."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from sb3_course.benchmark.reporting.content import Cell, Table
from sb3_course.benchmark.reporting.numbers import number, quantity
from sb3_course.benchmark.reporting.tables.layout import arranged, highest, matrix
from sb3_course.benchmark.statistics.analysis import Analysis
from sb3_course.common.numbers import digits


def present(analysis: Analysis) -> list[str]:
    """Return the environments that have complete runs, in the order of the report.

    :param analysis: Every number of the report
    :return: Names of environments
    """
    found = set(analysis.final["environment"])
    return [name for name in analysis.design.environments if name in found]


def at_the_end(analysis: Analysis) -> Table:
    """Return the table of interquartile means of final returns.

    :param analysis: Every number of the report
    :return: One row per algorithm, one column per environment
    """
    caption = "Interquartile mean of final returns"
    environments = present(analysis)
    return matrix(analysis, analysis.by_environment, "environment", environments, caption, highest)


def over_the_run(analysis: Analysis) -> Table:
    """Return the table of interquartile means of each run's mean return after its first evaluation.

    :param analysis: Every number of the report
    :return: One row per algorithm, one column per environment
    """
    caption = (
        "Interquartile mean of each run's mean return over its evaluations but the first, which "
        "is the higher the faster it learned"
    )
    environments = present(analysis)
    return matrix(
        analysis, analysis.over_run, "environment", environments, caption, highest, folded=True
    )


def means(analysis: Analysis) -> Table:
    """Return the table of mean final returns with their standard deviations.

    :param analysis: Every number of the report
    :return: One row per algorithm, one column per environment
    """
    runs = analysis.final.groupby(["algorithm", "environment"], as_index=False)
    table = runs.agg(mean=("return_mean", "mean"), std=("return_mean", "std"), n=("seed", "size"))
    counts = set(table["n"])
    same = f"; {quantity(int(counts.pop()), 'run')} each" if len(counts) == 1 else ""
    cells = {}
    for _, rows in table.groupby("environment"):
        n_digits = digits(rows["mean"])
        for algorithm, environment, mean, std, n in rows.itertuples(index=False):
            spread = "" if pd.isna(std) else f"± {number(std, n_digits)}"
            note = f"{spread}{'' if same else f' ({n})'}".strip()
            cells[algorithm, environment] = Cell(number(mean, n_digits), note)
    caption = "Mean of final returns ± sample standard deviation over runs"
    caption += same or " (number of runs)"
    return arranged(analysis, caption, cells, present(analysis))


def best_of_runs(analysis: Analysis) -> Table:
    """Return the table of each run's highest evaluation.

    :param analysis: Every number of the report
    :return: One row per algorithm, one column per environment
    """
    caption = (
        "Mean of each run's highest evaluation, which favors algorithms that fluctuate: compare "
        "it with the end and with the section on stability"
    )
    environments = present(analysis)
    return matrix(analysis, analysis.best, "environment", environments, caption, folded=True)


STABILITY = {
    "spread": "Interquartile range of final returns over runs; smaller is steadier",
    "gap": "Mean over runs of the highest return minus the final one; smaller is steadier",
    "worst_drop": "Mean over runs of the largest fall from an earlier evaluation; smaller is "
    "steadier",
}
"""Captions of the tables of stability, by column."""


def stability(analysis: Analysis) -> Iterator[Table]:
    """Return the tables of how much runs differ, and how much a run falls.

    :param analysis: Every number of the report
    :yield: One table per measure, with one row per algorithm and one column per environment
    """
    environments = present(analysis)
    for measure, caption in STABILITY.items():
        cells = {}
        for environment in environments:
            rows = analysis.stability[analysis.stability["environment"] == environment]
            n_digits = digits(rows[measure])
            for algorithm, value in zip(rows["algorithm"], rows[measure], strict=True):
                cells[algorithm, environment] = Cell(number(value, n_digits))
        yield arranged(analysis, caption, cells, environments)


def metrics(analysis: Analysis) -> Iterator[Table]:
    """Return the tables of the final values of measured quantities, such as success rates.

    :param analysis: Every number of the report
    :yield: One table per metric, with one row per algorithm and one column per environment
    """
    for name, rows in analysis.metrics.groupby("metric", sort=False):
        last = rows["step"] == rows.groupby("environment")["step"].transform("max")
        environments = [e for e in analysis.design.environments if e in set(rows["environment"])]
        largest = np.abs(rows["point"].to_numpy(dtype=float)).max()
        caption = f"Mean of {name} at the end"
        n_digits = 2 if largest < 10 else None
        yield matrix(analysis, rows[last], "environment", environments, caption, n_digits=n_digits)
