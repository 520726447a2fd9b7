"""Progress of a grid: bars on a terminal, plain lines elsewhere."""

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
from sb3_course.common.numbers import readable

SECONDS_BETWEEN_LINES = 60.0


class Display(Protocol):
    """Interface of what shows progress, with the lines that all of them print alike."""

    def _print(self, text: str) -> None: ...

    def ended(self, result: RunResult) -> None:
        """Show a run that has ended."""

    def lost(self, spec: RunSpec, reason: str) -> None:
        """Show a run whose process died, and which starts again."""
        self._print(f"{spec.label}: started again, {reason.strip().rpartition(chr(10))[2]}")

    def noted(self, spec: RunSpec, line: str) -> None:
        """Show a line that a run has left."""
        self._print(f"{spec.label}: {line}")

    def ended_elsewhere(self, spec: RunSpec) -> None:
        """Show a run that another process has ended."""

    def tick(self) -> None:
        """Show the progress of the runs in progress."""


def summary(result: RunResult) -> str:
    """Return one line about a run that has ended.

    :param result: Result of the run
    :return: Line with its return and duration, or the reason of its failure
    """
    if result.failure is not None:
        return f"{result.spec.label}: FAILED, {result.reason}"
    returns = result.measurements[-1].returns
    (mean,) = readable(sum(returns) / len(returns))
    return f"{result.spec.label}: return {mean} in {result.seconds:.0f} s"


def _elsewhere(spec: RunSpec) -> str:
    return f"{spec.label}: ended by another process"


class Steps:
    """Count of the environment steps that all runs have taken together.

    :param specs: Runs to execute
    :param folder: Folder of their heartbeats
    """

    def __init__(self, specs: Iterable[RunSpec], folder: Path) -> None:
        self._waiting = {spec.id: spec for spec in specs}
        self._folder = folder
        self.runs = len(self._waiting)
        self.total = sum(spec.config.total_timesteps for spec in self._waiting.values())
        self._ended = 0

    @property
    def runs_ended(self) -> int:
        """Number of runs that have ended."""
        return self.runs - len(self._waiting)

    def ended(self, spec: RunSpec) -> None:
        """Count a run as ended, whether or not it failed.

        :param spec: The run
        """
        self._waiting.pop(spec.id)
        self._ended += spec.config.total_timesteps

    def running(self) -> Iterator[tuple[RunSpec, float, float]]:
        """Yield each run in progress with its steps and its steps per second."""
        for key, beat in heartbeats(self._folder):
            spec = self._waiting.get(key)
            if spec is not None and beat.alive:
                yield spec, min(beat.steps, spec.config.total_timesteps), beat.rate

    def taken(self) -> float:
        """Return the steps of the runs that have ended and of those in progress."""
        return self._ended + sum(steps for _, steps, _ in self.running())


class Lines(Display):
    """Progress in lines: one for each run that ends, and one for the whole grid now and then.

    :param console: Console to print to
    :param steps: Steps of the runs to execute
    :param whole: Whether to print lines for the whole grid
    """

    def __init__(self, console: Console, steps: Steps, whole: bool = True) -> None:
        self._console, self._steps, self._whole = console, steps, whole
        self._started = self._printed = time.monotonic()

    def ended(self, result: RunResult) -> None:
        """Print a line about a run that has ended."""
        self._steps.ended(result.spec)
        self._print(summary(result))

    def ended_elsewhere(self, spec: RunSpec) -> None:
        """Print a line about a run that another process has ended."""
        self._steps.ended(spec)
        self._print(_elsewhere(spec))

    def tick(self) -> None:
        """Print the progress of the whole grid, once a minute for each 1,000 runs.

        It takes a look at the heartbeats of all machines, which each of them may do.
        """
        now = time.monotonic()
        between = SECONDS_BETWEEN_LINES * max(self._steps.runs / 1000, 1.0)
        if not self._whole or now < self._printed + between:
            return
        self._printed = now
        taken, total = self._steps.taken(), self._steps.total
        rate = taken / (now - self._started)
        left = f", {timedelta(seconds=round((total - taken) / rate))} left" if rate else ""
        self._print(f"{taken:,.0f} of {total:,} steps, {rate:,.0f} a second{left}")

    def _print(self, text: str) -> None:
        line = f"[{self._steps.runs_ended}/{self._steps.runs}] {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Bars(Display):
    """Progress in bars: one for the grid, and one for each run in progress.

    :param progress: Live display, in which the bars are drawn
    :param steps: Steps of the runs to execute
    """

    def __init__(self, progress: Progress, steps: Steps) -> None:
        self._progress, self._steps = progress, steps
        self._bars: dict[str, Bar] = {}
        self._all = progress.add_task("all runs", total=steps.total, note="")

    def ended(self, result: RunResult) -> None:
        """Remove the bar of a run that has ended, and print a line about it."""
        self._end(result.spec, summary(result))

    def ended_elsewhere(self, spec: RunSpec) -> None:
        """Print a line about a run that another process has ended."""
        self._end(spec, _elsewhere(spec))

    def tick(self) -> None:
        """Move the bars to the steps taken so far."""
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
def display(console: Console, specs: list[RunSpec], folder: Path, whole: bool) -> Iterator[Display]:
    """Show progress within a context.

    :param console: Console to print to
    :param specs: Runs to execute
    :param folder: Folder of their heartbeats
    :param whole: Whether to print lines for the whole grid where there is no terminal
    :yield: Display, to be notified of what happens
    """
    steps = Steps(specs, folder)
    if not console.is_terminal:
        yield Lines(console, steps, whole)
        return
    columns = (
        TextColumn("{task.description}", markup=False),  # names may contain brackets
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress, steps)
