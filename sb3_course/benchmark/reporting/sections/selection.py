"""Which algorithms and environments a figure shows."""

import re
from collections.abc import Collection, Sequence

import pandas as pd

from sb3_course.benchmark.reporting.drawing.families import Group, groups
from sb3_course.benchmark.reporting.drawing.styles import Styles
from sb3_course.benchmark.reporting.tables.layout import look
from sb3_course.benchmark.statistics.analysis import Analysis


def named_groups(analysis: Analysis, name: str) -> list[tuple[str, Group]]:
    """Distribute the algorithms over figures and name their files.

    :param analysis: Every number of the report
    :param name: Name of the first figure's files
    :return: Names of files with the algorithms of each figure
    """
    order = [
        name for name in analysis.design.algorithms if name in set(analysis.final["algorithm"])
    ]
    found: dict[str, Group] = {}
    for group in groups(_best_first(analysis, order), order):
        words = re.sub(r"\W+", "_", group.title.lower()).strip("_")
        file = f"{name}_{words}" if found else name
        found[file if file not in found else f"{file}_{len(found)}"] = group
    return list(found.items())


def _best_first(analysis: Analysis, algorithms: Sequence[str]) -> list[str]:
    """Sort by what the report's answer sorts by, then by mean rank, of which ties are many."""
    scores = analysis.aggregates[analysis.aggregates["statistic"] == "IQM"]
    score, rank = (
        dict(zip(table["algorithm"], table["point"], strict=True))
        for table in (scores, analysis.ranks)
    )
    worst = float("inf")
    return sorted(algorithms, key=lambda a: (-score.get(a, -worst), rank.get(a, worst)))


def shown(analysis: Analysis, names: Collection[str]) -> Styles:
    """Return the styles of some algorithms, chosen among all of the report's algorithms.

    :param analysis: Every number of the report
    :param names: Names of algorithms, in any order
    :return: Styles in the order of the report
    """
    present = set(names)
    return {name: style for name, style in look(analysis).items() if name in present}


def with_rows(analysis: Analysis, table: pd.DataFrame, names: Collection[str]) -> list[str]:
    """Return the environments on which some of the algorithms are in a table.

    :param analysis: Every number of the report
    :param table: Table with ``algorithm`` and ``environment``
    :param names: Names of algorithms
    :return: Environments in the order of the report
    """
    found = set(table.loc[table["algorithm"].isin(list(names)), "environment"])
    return [name for name in analysis.design.environments if name in found]
