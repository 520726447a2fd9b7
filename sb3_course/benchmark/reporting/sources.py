"""Where the returns of a report were read that no grid made."""

from collections import defaultdict
from collections.abc import Sequence

from sb3_course.benchmark.logs.reading import RESULTS, TABLE, Logs
from sb3_course.benchmark.logs.run_log import EVALUATION, TRAINING
from sb3_course.benchmark.logs.search import shown
from sb3_course.benchmark.reporting.content import Section, Table
from sb3_course.benchmark.statistics.curves import seldom_measured
from sb3_course.benchmark.statistics.design import Design

MOST_UNREAD = 1000


def sources(logs: Logs, design: Design, numbered: Sequence[str] = ()) -> Section:
    """Return the section on the logs of a report: what they hold, and what could not be read.

    :param logs: Logs
    :param design: What the report compares
    :param numbered: Algorithms whose runs were numbered, see :func:`.common_seeds`
    :return: Section "Logs"
    """
    text = [
        "Evaluations of SB3's EvalCallback are deterministic unless it was told otherwise. A "
        "training episode is one of the policy that explores, and counts when it ended, so "
        "returns of training are not comparable with those of evaluations.",
    ]
    if mixed := _mixed(logs):
        text.append(f"Here, both are compared with each other on: {', '.join(mixed)}.")
    text += [f"{shown(line)}." for line in logs.mixed]
    text += [
        f"RL Zoo made {name} with env_kwargs ({shown(settings)}), so the shipped reference returns "
        "are not of it."
        for name, settings in _other_tasks(logs)
    ]
    text += [
        f"{name} has settings of its own in {place}: {settings}. The other paths do not say which "
        "theirs has."
        for name, place, settings in _changed_tasks(logs)
    ]
    text.append(
        "Runs are compared over the steps that all algorithms of an environment have been measured "
        "over. Of one that was measured less than twice there, most of what is shown is "
        "interpolated from measurements further apart."
    )
    if numbered:
        text.append(
            "Runs with no seed that is on all environments are numbered from 0 on each of them: "
            f"{', '.join(numbered)}."
        )
    tables = [_compared(logs, design), _read(logs)]
    if logs.unread:
        tables.append(_unread(logs))
    return Section("Logs", text, tables=tables)


def _compared(logs: Logs, design: Design) -> Table:
    sparse = seldom_measured(logs.table, design.environments)
    rows = [
        [name, f"{steps[0]:,} to {steps[-1]:,}", str(len(steps)), ", ".join(sparse[name]) or "none"]
        for name, steps in design.environments.items()
    ]
    return Table(
        "Environment steps at which runs are compared",
        ["Environment", "Steps", "Points", "Measured less than twice there"],
        rows,
    )


def _mixed(logs: Logs) -> list[str]:
    """Return the environments on which evaluations are compared with training episodes."""
    measured: dict[str, set[str]] = defaultdict(set)
    for run in logs.runs:
        measured[run.environment].add(run.measured)
    return [name for name, what in measured.items() if {EVALUATION, TRAINING} <= what]


def _changed_tasks(logs: Logs) -> list[tuple[str, str, str]]:
    """Return the environments that a grid has changed, and that are in logs of no grid as well."""
    elsewhere = {run.environment for run in logs.runs if run.source != RESULTS}
    return [
        (name, shown(folder), shown(str(settings)))
        for grid, folder in logs.grids
        for name in grid.environments
        if name in elsewhere
        and (settings := grid.config(next(iter(grid.algorithms)), name).env_settings)
    ]


def _other_tasks(logs: Logs) -> list[tuple[str, str]]:
    """Return the environments that RL Zoo has made with arguments, and these."""
    tasks: dict[str, set[str]] = defaultdict(set)
    for run in logs.runs:
        if run.task:
            tasks[run.environment].add(run.task)
    return [(name, "; ".join(sorted(found))) for name, found in tasks.items()]


def _read(logs: Logs) -> Table:
    seeds: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for run in logs.runs:
        what = f"{run.measured}: {run.source}" if run.measured else run.source
        place = run.path if run.source in (RESULTS, TABLE) else run.path.parent
        seeds[run.algorithm, run.environment, what, shown(place)].append(str(run.seed))
    rows = [[a, e, what, ", ".join(found), place] for (a, e, what, place), found in seeds.items()]
    header = ["Algorithm", "Environment", "Returns of", "Seeds", "Read from"]
    return Table("What was read", header, rows)


def _unread(logs: Logs) -> Table:
    rows = [[shown(path), shown(reason)] for path, reason in logs.unread[:MOST_UNREAD]]
    more = len(logs.unread) - len(rows)
    rows += [[f"and {more:,} more", ""]] if more else []
    return Table("What was not read", ["Path", "Reason"], rows)
