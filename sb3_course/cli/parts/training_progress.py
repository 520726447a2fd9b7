"""Progress of ``train``: a bar on a terminal, a line a minute elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import safe_mean

from sb3_course.common.numbers import readable

SECONDS_BETWEEN_LINES = 60.0
REFRESHES = 4.0
"""How often a second the bar moves."""


class TrainingProgress(BaseCallback):
    """Callback that shows steps, steps per second and the return of the last episodes.

    :param total: Environment steps in all, those of an earlier part included
    :param console: Console to print to
    """

    def __init__(self, total: int, console: Console) -> None:
        super().__init__()
        self._total, self._console = total, console
        self._bar: Progress | None = None
        self._next = 0.0

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the bar within a context, above which other lines are printed.

        :yield: Nothing
        """
        if not self._console.is_terminal:
            yield
            return
        columns = (
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console) as self._bar:
            self._bar.add_task("", total=self._total, note="")
            yield

    def _on_training_start(self) -> None:
        self._first, self._began = self.model.num_timesteps, time.monotonic()
        self._next = self._began + (0.0 if self._bar else SECONDS_BETWEEN_LINES)

    def _on_step(self) -> bool:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + (1.0 / REFRESHES if self._bar else SECONDS_BETWEEN_LINES)
            self._show(now)
        return True

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._show(time.monotonic())

    def _show(self, now: float) -> None:
        rate = (self.num_timesteps - self._first) / max(now - self._began, 1e-9)
        note = f"{self.num_timesteps:,} of {self._total:,} steps, {rate:,.0f} a second"
        if self.model.ep_info_buffer:
            (mean,) = readable(safe_mean([info["r"] for info in self.model.ep_info_buffer]))
            note += f", return {mean}"
        if self._bar is None:
            self._console.print(note, markup=False, highlight=False, soft_wrap=True)
        else:
            done = min(self.num_timesteps, self._total)
            self._bar.update(self._bar.task_ids[0], completed=done, note=note)
