"""How far a grid is, told by the names of its files alone, so that thousands of runs take no time.

A run is *done* once ``runs/`` has its result, *running* while it leaves its progress in ``logs/``,
*failed* if ``failed/`` has its traceback, and *missing* otherwise.
"""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sb3_course.benchmark.grid import RunSpec

SILENT = 120.0
"""Seconds without a sign of life after which a run no longer counts as running."""

STATES = {"done": "green", "running": "cyan", "failed": "red", "missing": "yellow"}


@dataclass(frozen=True)
class Progress:
    """Where a running run is.

    :param steps: environment steps taken
    :param rate: environment steps a second, 0 if not known yet
    :param silent: seconds since its last sign of life
    """

    steps: float
    rate: float
    silent: float

    def seconds_left(self, total: int) -> float | None:
        """Estimate when the run ends.

        :param total: length of the run in environment steps
        :return: seconds from now, or None if that cannot be told
        """
        return max(total - self.steps, 0) / self.rate if self.rate > 0 else None


@dataclass
class Status:
    """How far a grid is; see :func:`read_status`.

    :param states: each run and which of :data:`STATES` it is in
    :param progress: where the running ones are, and the ones that fell silent
    :param failures: the last line of each failed run's reason
    """

    states: list[tuple[RunSpec, str]] = field(default_factory=list)
    progress: list[tuple[RunSpec, Progress]] = field(default_factory=list)
    failures: list[tuple[RunSpec, str]] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        """How many runs are in each state."""
        return Counter(state for _, state in self.states)

    def seconds_left(self) -> float | None:
        """Estimate when no run is missing any more, at the rate of those that run now."""
        alive = [(spec, p) for spec, p in self.progress if p.silent < SILENT]
        rate = sum(p.rate for _, p in alive)
        steps = sum(max(spec.config.total_timesteps - p.steps, 0) for spec, p in alive)
        steps += sum(s.config.total_timesteps for s, state in self.states if state == "missing")
        return steps / rate if rate > 0 else None


def read_status(specs: Sequence[RunSpec], folder: Path, now: float | None = None) -> Status:
    """Find out how far a grid is.

    :param specs: its runs
    :param folder: ``results/GRID``
    :param now: ``time.time()``
    """
    now = time.time() if now is None else now
    done, failed = _names(folder / "runs", ".json"), _names(folder / "failed", ".json")
    begun = _names(folder / "logs", ".progress")
    status = Status()
    for spec in specs:
        key, state = spec.id, "missing"
        progress = _progress(folder / "logs" / f"{key}.progress", now) if key in begun else None
        if key in done:
            state = "done"
        elif progress is not None and progress.silent < SILENT:
            state = "running"
        elif key in failed:
            state = "failed"
            status.failures.append((spec, _reason(folder / "failed" / f"{key}.json")))
        if progress is not None and state in ("running", "missing"):
            status.progress.append((spec, progress))
        status.states.append((spec, state))
    return status


def _names(folder: Path, suffix: str) -> set[str]:
    if not folder.is_dir():
        return set()
    names = (path.name for path in folder.iterdir())
    return {name.removesuffix(suffix) for name in names if name.endswith(suffix)}


def _progress(path: Path, now: float) -> Progress | None:
    try:
        silent = max(now - path.stat().st_mtime, 0.0)
    except OSError:  # it has just ended
        return None
    try:
        left = json.loads(path.read_text())
        return Progress(float(left["steps"]), float(left["rate"]), silent)
    except (OSError, ValueError, KeyError, TypeError):  # it is being written at this moment
        return Progress(0.0, 0.0, silent)


def _reason(path: Path) -> str:
    try:
        failure = json.loads(path.read_text(encoding="utf-8"))["failure"] or ""
    except (OSError, ValueError, KeyError, TypeError):
        return f"{path.name} cannot be read"
    return next((line for line in reversed(failure.splitlines()) if line.strip()), "no reason")


def show(status: Status, console: Console) -> None:
    """Print tables: coloured on a terminal, plain columns elsewhere.

    :param status: how far the grid is
    :param console: where to print; what is no terminal should be wide enough not to break lines
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
        if progress.silent >= SILENT:
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
    """Tell a duration with the precision that an estimate has.

    :param seconds: in seconds
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} d {minutes // 60 % 24} h"
