"""Status of a grid, read from its files.

A run is *done* if ``runs/`` or ``runs.jsonl`` has its result, *running* if ``logs/`` has a recent
heartbeat, *failed* if ``failed/`` has its traceback or its result is damaged, and *missing*
otherwise.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.execution.heartbeat import Heartbeat, heartbeats, logs_folder
from sb3_course.benchmark.execution.rerun import STAGED
from sb3_course.benchmark.storage.store import Store

STATES = {"done": "green", "running": "cyan", "failed": "red", "missing": "yellow"}


@dataclass
class Status:
    """Status of a grid, from :func:`read_status`.

    :param states: Every run with its state, one of :data:`STATES`
    :param progress: Runs in progress with their heartbeats, including runs that fell silent
    :param failures: Failed runs, each with the last line of its reason
    """

    states: list[tuple[RunSpec, str]] = field(default_factory=list)
    progress: list[tuple[RunSpec, Heartbeat]] = field(default_factory=list)
    failures: list[tuple[RunSpec, str]] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        """Number of runs in each state."""
        return Counter(state for _, state in self.states)

    def seconds_left(self) -> float | None:
        """Estimate the seconds until no run is missing, at the rate of the runs in progress."""
        alive = [(spec, p) for spec, p in self.progress if p.alive]
        rate = sum(p.rate for _, p in alive)
        steps = sum(max(spec.config.total_timesteps - p.steps, 0) for spec, p in alive)
        steps += sum(s.config.total_timesteps for s, state in self.states if state == "missing")
        return steps / rate if rate > 0 else None


def read_status(specs: Sequence[RunSpec], folder: Path, now: float | None = None) -> Status:
    """Read the status of a grid.

    :param specs: Runs of the grid
    :param folder: Folder of its results, ``results/GRID``
    :param now: Current time as of ``time.time()``; None to read the clock
    :return: Status of the runs
    """
    results = {result.spec.id: result for result in Store(folder).read(specs)}
    begun = dict(heartbeats(logs_folder(folder), now))
    status = Status()
    for spec in specs:
        key, state = spec.id, "missing"
        progress, result = begun.get(key), results.get(key)
        if result is not None and result.failure is None:
            state = "done"
        elif progress is not None and progress.alive:
            state = "running"
        elif result is not None:
            state = "failed"
            status.failures.append((spec, result.reason or "no reason"))
        if progress is not None and state in ("running", "missing"):
            status.progress.append((spec, progress))
        status.states.append((spec, state))
    return status


def repeated(specs: Sequence[RunSpec], folder: Path) -> list[str]:
    """Return how far the runs of ``run --rerun`` are, which replace the stored ones in the end.

    :param specs: Runs of the grid
    :param folder: Folder of its results
    :return: A line for each state of the code with which some were made, none without any
    """
    lines = []
    for staged in sorted((folder / STAGED).glob("*/")):
        counts = read_status(specs, staged).counts
        if counts.total() > counts["missing"]:
            parts = ", ".join(f"{counts[state]:,} {state}" for state in STATES)
            lines.append(f"--rerun by one state of the code: {parts}; these replace the others")
    return lines


def show(status: Status, console: Console) -> None:
    """Print the status in tables: colored on a terminal, plain columns elsewhere.

    :param status: Status of the grid
    :param console: Console to print to; without a terminal, it should be wide enough for all lines
    """
    tables = [_overview(status)]
    tables += [_running(status)] if status.progress else []
    tables += [_failed(status)] if status.failures else []
    for table in tables:
        table.box = box.SIMPLE_HEAD if console.is_terminal else None
        console.print(table)
        if table.box is None:
            console.print()
    counts, left = status.counts, status.seconds_left()
    parts = ", ".join(f"{counts[state]:,} {state}" for state in STATES)
    note = "" if left is None else f"; the rest takes {duration(left)} at the present speed"
    console.print(f"{counts.total():,} runs: {parts}{note}", highlight=False, soft_wrap=True)


def _overview(status: Status) -> Table:
    cells: dict[tuple[str, str], Counter[str]] = {}
    for spec, state in status.states:
        cells.setdefault(spec.names, Counter())[state] += 1
    table = Table("algorithm", "environment")
    for state in STATES:
        table.add_column(state, justify="right")
    for names, counts in cells.items():
        numbers = [
            Text(str(counts[s]), style if counts[s] else "dim") for s, style in STATES.items()
        ]
        table.add_row(*map(Text, names), *numbers)
    return table


def _running(status: Status) -> Table:
    table = Table("running")
    for name in ("steps", "of", "a second", "ends in"):
        table.add_column(name, justify="right")
    for spec, progress in status.progress:
        total = spec.config.total_timesteps
        left = progress.seconds_left(total)
        ends = Text("unknown" if left is None else duration(left))
        if not progress.alive:
            ends = Text(f"silent for {duration(progress.silent)}: stopped?", "red")
        numbers = (f"{progress.steps:,.0f}", f"{total:,}", f"{progress.rate:,.0f}")
        table.add_row(Text(spec.label), *numbers, ends)
    return table


def _failed(status: Status) -> Table:
    table = Table("failed", "reason")
    for spec, reason in status.failures:
        table.add_row(Text(spec.label), Text(reason, "red"))
    return table


def duration(seconds: float) -> str:
    """Format a duration, as precisely as an estimate can be.

    :param seconds: Duration in seconds
    :return: Duration in one or two units, such as ``3 h 5 min``
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} d {minutes // 60 % 24} h"
