"""Tables of missing runs, training times and versions."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sb3_course.benchmark.definition.user_code import REGISTRATION_OF, SOURCE_OF
from sb3_course.benchmark.reporting.content import Cell, Record, Table
from sb3_course.benchmark.reporting.numbers import quantity
from sb3_course.benchmark.reporting.tables.layout import arranged, records
from sb3_course.benchmark.reporting.tables.returns import present
from sb3_course.benchmark.statistics.analysis import Analysis
from sb3_course.common.numbers import digits, number


def training_time(analysis: Analysis) -> Table:
    """Return the table of median training times and environment steps per second.

    :param analysis: Every number of the report
    :return: Seconds and steps per second, by algorithm and environment
    """
    cells = {}
    known = analysis.final[analysis.final["wall_time"].notna()]  # logs may not hold times
    for (algorithm, environment), rows in known.groupby(["algorithm", "environment"]):
        seconds = rows["wall_time"].median()
        rate = f"({rows['step'].iloc[0] / seconds:,.0f}/s)" if seconds > 0 else ""
        cells[str(algorithm), str(environment)] = Cell(
            f"{number(seconds, digits([seconds]))} s", rate
        )
    caption = "Median training time of the runs counted above (environment steps per second)"
    return arranged(analysis, caption, cells, present(analysis))


def absent(analysis: Analysis) -> Table:
    """Return the table of runs that are missing from a statistic.

    :param analysis: Every number of the report
    :return: One row per algorithm, reason and group of seeds
    """
    seeds: dict[tuple[str, str, str], list[str]] = {}
    for algorithm, environment, seed, why in records(analysis.absent):
        seeds.setdefault((algorithm, why, environment), []).append(str(seed))
    environments: dict[tuple[str, str, str], list[str]] = {}
    for (algorithm, why, environment), group in seeds.items():
        environments.setdefault((algorithm, why, ", ".join(group)), []).append(environment)
    return Table(
        "Runs that are missing from a statistic",
        ["Algorithm", "Seeds", "Environments", "Reason"],
        [[a, group, ", ".join(names), why] for (a, why, group), names in environments.items()],
    )


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
    known_rows = [row for row in rows if row[1]]
    return Table("Code, versions and machine", ["", ""], known_rows, folded=True)


def _occurrences(values: Iterable[str | None]) -> str:
    counts = Counter(str(value) for value in values)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({quantity(n, 'run')})" for value, n in counts.items())


def _flat(manifest: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """List the facts of a manifest and its sections, except grid, commands and users' code."""
    facts: list[tuple[str, Any]] = []
    for key, value in manifest.items():
        if isinstance(value, dict) and key not in ("grid", "user_code"):  # runs record the latter
            facts += value.items()
        elif isinstance(value, str | int | float):
            facts.append((key, value))
    return facts


def _words(name: str) -> str:
    """Return the name of a fact in words; the names of the user's modules are left as they are."""
    of_user = name.startswith((SOURCE_OF, REGISTRATION_OF))
    return name if of_user else name.replace("_", " ")
