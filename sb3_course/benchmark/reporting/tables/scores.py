"""Tables of aggregates over environments."""

from dataclasses import replace

import numpy as np
import pandas as pd

from sb3_course.benchmark.reporting.content import Cell, Table
from sb3_course.benchmark.reporting.numbers import quantity
from sb3_course.benchmark.reporting.tables.layout import matrix, not_apart
from sb3_course.benchmark.statistics.analysis import Analysis
from sb3_course.benchmark.statistics.metrics import STATISTICS

GAP = "Optimality gap"


def iqm(analysis: Analysis) -> Table:
    """Return the table of interquartile means of final scores.

    :param analysis: Every number of the report
    :return: One row per algorithm
    """
    n = quantity(len(analysis.aggregated), "environment")
    caption = f"Interquartile mean of final scores over {n}"
    best = not_apart(analysis)
    table = analysis.aggregates[analysis.aggregates["statistic"] == "IQM"]
    shown = matrix(analysis, table, "statistic", ["IQM"], caption, best, n_digits=2)
    return _ranked(shown, table.sort_values("point", ascending=False))


def other_aggregates(analysis: Analysis) -> Table:
    """Return the table of median, mean and optimality gap of final scores.

    :param analysis: Every number of the report
    :return: One row per algorithm
    """
    n = quantity(len(analysis.aggregated), "environment")
    caption = f"Other aggregates of final scores over {n}"
    names = [name for name in STATISTICS if name != "IQM"]
    rest, gap = (
        matrix(analysis, analysis.aggregates, "statistic", part, caption, best, True, 2)
        for part, best in (
            ([name for name in names if name != GAP], not_apart(analysis)),
            ([GAP], not_apart(analysis, lower=True)),
        )
    )
    rows = [[*one, *other[1:]] for one, other in zip(rest.rows, gap.rows, strict=True)]
    return Table(rest.caption, [*rest.header, *gap.header[1:]], rows, rest.styles, folded=True)


def ranks(analysis: Analysis) -> Table:
    """Return the table of mean ranks over environments.

    :param analysis: Every number of the report
    :return: One row per algorithm
    """
    table = analysis.ranks.assign(statistic="Mean rank", n_runs=_fewest(analysis))
    caption = f"Mean rank over {analysis.ranked_over} by mean final returns; 1 is best"
    best = not_apart(analysis, lower=True)
    shown = matrix(analysis, table, "statistic", ["Mean rank"], caption, best, True, 1)
    return _ranked(shown, table.sort_values("point"))


def _ranked(table: Table, best_first: pd.DataFrame) -> Table:
    """Return the rows of a table in another order of the algorithms."""
    order = {name: i for i, name in enumerate(best_first["algorithm"])}
    rows = sorted(table.cells, key=lambda row: order[row[0].text])
    return replace(table, rows=rows)


def _fewest(analysis: Analysis) -> list[int]:
    table = analysis.by_environment
    ranked = table[table["environment"].isin(analysis.shared)]
    by_algorithm = ranked.groupby("algorithm")["n_runs"].min()
    return [int(by_algorithm.get(name, 0)) for name in analysis.ranks["algorithm"]]


def sample_efficiency(analysis: Analysis) -> Table:
    """Return the table of interquartile means at the quarters of the budget.

    :param analysis: Every number of the report
    :return: One row per algorithm
    """
    table = analysis.sample_efficiency
    points = np.unique(table["fraction"].astype(float))
    quarters = {float(points[np.abs(points - q).argmin()]) for q in (0.25, 0.5, 0.75, 1.0)}
    names = {q: f"{q:.0%} of the budget" for q in sorted(quarters)}
    chosen = table[table["fraction"].isin(list(names))]
    named = chosen.assign(at=chosen["fraction"].map(names))
    caption = "Interquartile mean of scores along training"
    return matrix(analysis, named, "at", list(names.values()), caption, folded=True, n_digits=2)


def references(analysis: Analysis) -> Table:
    """Return the table of reference returns.

    :param analysis: Every number of the report
    :return: One row per environment that has reference returns
    """
    known = analysis.design.references.environments
    names = [name for name in analysis.design.environments if name in known]
    return Table(
        "Reference returns, whose scores are 0 and 1 (version "
        f"{analysis.design.references.version})",
        ["Environment", "0: random actions", "1: expert", "Expert"],
        [
            [
                name,
                Cell(_exact(known[name].random)),
                Cell(_exact(known[name].expert)),
                known[name].expert_name,
            ]
            for name in names
        ],
        folded=True,
    )


def _exact(value: float) -> str:
    return f"{value:,.10g}"
