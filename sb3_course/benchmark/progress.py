"""Show how far a grid is: bars on a terminal, plain lines elsewhere."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import TaskID as Bar

from sb3_course.benchmark.grid import RunSpec
from sb3_course.benchmark.run import RunResult


class Display(Protocol):
    """Something that shows progress."""

    def landed(self, result: RunResult) -> None:
        """Take note of a run that ended."""

    def tick(self) -> None:
        """Show where the running runs are."""


def summary(result: RunResult) -> str:
    """Describe a run that ended in a line.

    :param result: its result
    """
    if result.failure is not None:
        return f"{result.spec.label}: FAILED, {result.failure.strip().splitlines()[-1]}"
    returns = result.measurements[-1].returns
    mean = sum(returns) / len(returns)
    return f"{result.spec.label}: return {mean:,.1f} in {result.seconds:.0f} s"


class Lines:
    """One line for each run that ended.

    :param console: where to print
    :param total: how many runs there are to do
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total, self._done = console, total, 0

    def landed(self, result: RunResult) -> None:
        """Print a line."""
        self._done += 1
        line = f"[{self._done}/{self._total}] {summary(result)}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def tick(self) -> None:
        """Print nothing."""


class Bars:
    """A bar for the grid, and one for each running run with its steps and steps a second.

    :param progress: the live display
    :param specs: the runs to do
    :param folder: where the runs leave their progress
    """

    def __init__(self, progress: Progress, specs: Iterable[RunSpec], folder: Path) -> None:
        self._progress = progress
        self._waiting = {spec.id: spec for spec in specs}
        self._folder = folder
        self._bars: dict[str, Bar] = {}
        self._all = progress.add_task("all runs", total=len(self._waiting), note="")

    def landed(self, result: RunResult) -> None:
        """Replace a run's bar with a line."""
        bar = self._bars.pop(result.spec.id, None)
        if bar is not None:
            self._progress.remove_task(bar)
        self._waiting.pop(result.spec.id)
        self._progress.advance(self._all)
        self._progress.console.print(summary(result), markup=False, highlight=False)

    def tick(self) -> None:
        """Read the progress that the runs left."""
        for key, spec in self._waiting.items():
            state = _read(self._folder / f"{key}.progress")
            if state is None:
                continue
            total = spec.config.total_timesteps
            if key not in self._bars:
                self._bars[key] = self._progress.add_task(spec.label, total=total, note="")
            steps, rate = state["steps"], state["rate"]
            note = f"{steps:,.0f} of {total:,} steps, {rate:,.0f} a second"
            self._progress.update(self._bars[key], completed=min(steps, total), note=note)


def _read(path: Path) -> dict[str, float] | None:
    try:
        state: dict[str, float] = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):  # not begun, or being written at this moment
        return None
    return state


@contextmanager
def display(console: Console, specs: list[RunSpec], folder: Path) -> Iterator[Display]:
    """Show progress for as long as the context lasts.

    :param console: where to show it
    :param specs: the runs to do
    :param folder: where the runs leave their progress
    """
    if not console.is_terminal:
        yield Lines(console, len(specs))
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress, specs, folder)
