"""Show how far a grid is: bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import TaskID as Bar

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.execution.heartbeat import heartbeats
from sb3_course.benchmark.storage.result import RunResult

SECONDS_BETWEEN_LINES = 60.0


class Display(Protocol):
    """Something that shows progress."""

    def landed(self, result: RunResult) -> None:
        """Take note of a run that ended."""

    def lost(self, spec: RunSpec, reason: str) -> None:
        """Take note of a run whose process died, and which starts again."""

    def ended_elsewhere(self, spec: RunSpec) -> None:
        """Take note of a run that another process ended."""

    def tick(self) -> None:
        """Show where the running runs are."""


def summary(result: RunResult) -> str:
    """Describe a run that ended in a line.

    :param result: its result
    """
    if result.failure is not None:
        return f"{result.spec.label}: FAILED, {result.reason}"
    returns = result.measurements[-1].returns
    mean = sum(returns) / len(returns)
    return f"{result.spec.label}: return {mean:,.1f} in {result.seconds:.0f} s"


def _again(spec: RunSpec, reason: str) -> str:
    return f"{spec.label}: started again, {reason.strip().rpartition(chr(10))[2]}"


def _elsewhere(spec: RunSpec) -> str:
    return f"{spec.label}: ended by another process"


class Steps:
    """Environment steps taken by all runs together.

    :param specs: the runs to do
    :param folder: where the runs leave their progress
    """

    def __init__(self, specs: Iterable[RunSpec], folder: Path) -> None:
        self._waiting = {spec.id: spec for spec in specs}
        self._folder = folder
        self.runs = len(self._waiting)
        self.total = sum(spec.config.total_timesteps for spec in self._waiting.values())
        self._ended = 0

    @property
    def runs_ended(self) -> int:
        """How many runs have ended."""
        return self.runs - len(self._waiting)

    def ended(self, spec: RunSpec) -> None:
        """Count a run as done, failed ones included.

        :param spec: the run
        """
        self._waiting.pop(spec.id)
        self._ended += spec.config.total_timesteps

    def running(self) -> Iterator[tuple[RunSpec, float, float]]:
        """Read the progress that runs left: the run, its steps, and its steps a second."""
        for key, beat in heartbeats(self._folder):
            spec = self._waiting.get(key)
            if spec is not None and beat.alive:
                yield spec, min(beat.steps, spec.config.total_timesteps), beat.rate

    def taken(self) -> float:
        """Add up the steps of runs that ended and of runs under way."""
        return self._ended + sum(steps for _, steps, _ in self.running())


class Lines:
    """A line for each run that ended, and now and then one on the whole.

    :param console: where to print
    :param steps: of the runs to do
    """

    def __init__(self, console: Console, steps: Steps) -> None:
        self._console, self._steps = console, steps
        self._started = self._spoke = time.monotonic()

    def landed(self, result: RunResult) -> None:
        """Print a line."""
        self._steps.ended(result.spec)
        self._print(summary(result))

    def lost(self, spec: RunSpec, reason: str) -> None:
        """Print a line."""
        self._print(_again(spec, reason))

    def ended_elsewhere(self, spec: RunSpec) -> None:
        """Print a line."""
        self._steps.ended(spec)
        self._print(_elsewhere(spec))

    def tick(self) -> None:
        """Print how far the whole is, once a minute."""
        now = time.monotonic()
        if now < self._spoke + SECONDS_BETWEEN_LINES:
            return
        self._spoke = now
        taken, total = self._steps.taken(), self._steps.total
        rate = taken / (now - self._started)
        left = f", {_hours((total - taken) / rate)} left" if rate else ""
        self._print(f"{taken:,.0f} of {total:,} steps, {rate:,.0f} a second{left}")

    def _print(self, text: str) -> None:
        line = f"[{self._steps.runs_ended}/{self._steps.runs}] {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _hours(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


class Bars:
    """A bar for the grid, and one for each running run with its steps and steps a second.

    :param progress: the live display
    :param steps: of the runs to do
    """

    def __init__(self, progress: Progress, steps: Steps) -> None:
        self._progress, self._steps = progress, steps
        self._bars: dict[str, Bar] = {}
        self._all = progress.add_task("all runs", total=steps.total, note="")

    def landed(self, result: RunResult) -> None:
        """Replace a run's bar with a line."""
        self._end(result.spec, summary(result))

    def lost(self, spec: RunSpec, reason: str) -> None:
        """Print a line."""
        self._print(_again(spec, reason))

    def ended_elsewhere(self, spec: RunSpec) -> None:
        """Replace a run's bar with a line."""
        self._end(spec, _elsewhere(spec))

    def tick(self) -> None:
        """Read the progress that the runs left."""
        for spec, steps, rate in self._steps.running():
            total = spec.config.total_timesteps
            if spec.id not in self._bars:
                self._bars[spec.id] = self._progress.add_task(spec.label, total=total, note="")
            note = f"{steps:,.0f} of {total:,} steps, {rate:,.0f} a second"
            self._progress.update(self._bars[spec.id], completed=steps, note=note)
        note = f"{self._steps.runs_ended} of {self._steps.runs} runs"
        self._progress.update(self._all, completed=self._steps.taken(), note=note)

    def _end(self, spec: RunSpec, line: str) -> None:
        bar = self._bars.pop(spec.id, None)
        if bar is not None:
            self._progress.remove_task(bar)
        self._steps.ended(spec)
        self._print(line)

    def _print(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False)


@contextmanager
def display(console: Console, specs: list[RunSpec], folder: Path) -> Iterator[Display]:
    """Show progress for as long as the context lasts.

    :param console: where to show it
    :param specs: the runs to do
    :param folder: where the runs leave their progress
    """
    steps = Steps(specs, folder)
    if not console.is_terminal:
        yield Lines(console, steps)
        return
    columns = (
        TextColumn("{task.description}", markup=False),  # brackets in a name are brackets
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress, steps)
