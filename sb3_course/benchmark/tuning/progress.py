"""Progress of a study: shown by the command that works on it, or read by any other one."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sb3_course.benchmark.definition.grid import Grid, RunSpec
from sb3_course.benchmark.execution.progress import Display, summary
from sb3_course.benchmark.execution.runner import to_do
from sb3_course.benchmark.storage.grids import JOURNAL
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.store import Store
from sb3_course.benchmark.tuning import finals, sensitivity
from sb3_course.benchmark.tuning.finals import candidates_of
from sb3_course.benchmark.tuning.journal import open_journal
from sb3_course.benchmark.tuning.study import SharedStudy, abandoned, stored_trials
from sb3_course.benchmark.tuning.subject import Subject, references_for, subjects_of
from sb3_course.benchmark.tuning.trials import (
    FAILED,
    REFUSED,
    has_value,
    is_over,
    last_value,
    n_counted,
    ranked,
    reason_of,
    runs_of_trials,
)

SECOND_CHANCES = "second chances"
"""What a study is at whose trials have ended, of which some are gone on with."""


class TrialDisplay(Display):
    """Display of trials: a line for each that ends, and a bar on a terminal.

    :param console: Console to print to
    :param study: Study
    :param progress: Bars on a terminal
    """

    def __init__(self, console: Console, study: SharedStudy, progress: Progress) -> None:
        self._console, self._study, self._progress = console, study, progress
        n = study.subject.search.trials
        self._bar = progress.add_task(study.subject.label, total=n, note="")

    def trial_ended(self, trial: Trial, rung: int, value: float | None) -> None:
        """Print a line about a trial that has ended.

        :param trial: The trial
        :param rung: Index of its last rung
        :param value: Value there; None if it has none
        """
        subject = self._study.subject
        held = self._study.held(trial.number)
        found = f"no value, {reason_of(held)}" if value is None else after(subject, rung, value)
        settings = in_words(subject.settings(trial.params))
        self._print(f"{subject.label}: trial {trial.number}: {found}; {settings}")
        self.tick()

    def ended(self, result: RunResult) -> None:
        """Print a line about a run that failed; of others the trial tells."""
        if result.failure is not None:
            self._print(summary(result))

    def ended_elsewhere(self, spec: RunSpec) -> None:
        """Show nothing: the command that did the run does."""

    def tick(self) -> None:
        """Move the bar to the number of trials that have ended."""
        trials = self._study.trials()
        n = n_counted(t for t in trials if t.state.is_finished())
        best = ranked(trials, self._study.subject)
        note = f"best {last_value(best[0]):,.4g}" if best else ""
        if n == self._study.subject.search.trials and not self._study.over:
            note += f", {SECOND_CHANCES}"
        self._progress.update(self._bar, completed=n, note=note)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def trial_display(console: Console, study: SharedStudy) -> Iterator[TrialDisplay]:
    """Show the trials of a study within a context.

    :param console: Console to print to
    :param study: Study
    :yield: Display, to be notified of what happens
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.completed:.0f} of {task.total:.0f} trials"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield TrialDisplay(progress.console, study, progress)


def after(subject: Subject, rung: int, value: float) -> str:
    """Return a value with what it was measured after.

    :param subject: What is tuned
    :param rung: Index of the rung
    :param value: Value of a setting there
    :return: Text such as ``187.3 on 1 of 5 seeds, stopped at 20,000 steps``
    """
    at = subject.rungs[rung]
    stops = {stop for spec in subject.runs({}, at) if (stop := spec.config.stop_at) is not None}
    part = f", stopped at {min(stops):,} steps" if stops else ""
    return f"{value:,.4g} on {at.n_seeds} of {len(subject.search.seeds)} seeds{part}"


def error_in_words(error: float) -> str:
    """Return a standard error to two digits, or whole from 100 on.

    :param error: Standard error
    :return: Text such as ``0.52`` or ``1,840``
    """
    return f"{error:,.0f}" if error >= 99.5 else f"{error:,.2g}"


def in_words(settings: dict[str, Any]) -> str:
    """Return settings in one line.

    :param settings: Hyper-parameters by name
    :return: Text such as ``gamma 0.99, n_steps 64``
    """
    return ", ".join(f"{name} {value}" for name, value in settings.items()) or "as in the grid"


def stage_of(subject: Subject, trials: Sequence[FrozenTrial], store: Store) -> str:
    """Return what a study is at: its trials, or how far what follows them is.

    :param subject: What is tuned
    :param trials: Trials so far
    :param store: Store of the results
    :return: Text such as ``fresh seeds, 12 of 40 runs``, or what was chosen
    """
    if not is_over(trials, subject):
        first = n_counted(trial for trial in trials if trial.state.is_finished())
        return "trials" if first < subject.search.trials else SECOND_CHANCES
    if not any(map(has_value, trials)):
        return "nothing chosen"
    candidates = candidates_of(subject, trials)
    if left := _share(finals.runs_of(subject, candidates), store):
        return f"fresh seeds, {left}"
    found = finals.finals_of(subject, candidates, store)
    if not finals.is_decided(found):
        return "nothing chosen"
    if left := _share(sensitivity.runs_of(subject, finals.chosen_of(found)), store):
        return f"sensitivity, {left}"
    return f"chosen: {found[0].candidate.label}"


def _share(specs: Sequence[RunSpec], store: Store) -> str:
    """Return how many runs have ended; nothing if all have."""
    ended = store.sound(specs) | store.failed()
    n = sum(spec.id in ended for spec in specs)
    return f"{n} of {len(specs)} runs" if n < len(specs) else ""


def status_table(
    studies: Sequence[tuple[Subject, Sequence[FrozenTrial], Collection[int]]], terminal: bool
) -> Table:
    """Return the status of studies as a table.

    :param studies: What is tuned, with its trials so far, and the numbers of those in progress that
        no command works on any more
    :param terminal: Whether it is drawn with lines, for a terminal
    :return: Table with one row per study
    """
    table = Table("search", box=box.SIMPLE_HEAD if terminal else None)
    numbers = ("trials", "of", "ended", "running", "interrupted", "refused", "failed")
    for name in (*numbers, "best value", "measured on"):
        table.add_column(name, justify="right")
    for subject, trials, left in studies:
        kinds = Counter(kind for t in trials for kind in (REFUSED, FAILED) if kind in t.user_attrs)
        open_now = [trial for trial in trials if trial.state == TrialState.RUNNING]
        running = n_counted(trial for trial in open_now if trial.number not in left)
        idle = n_counted(trial for trial in open_now if trial.number in left)
        counted = n_counted(trials)
        best = ranked(trials, subject)
        value, where = "", ""
        if best:
            rung = len(best[0].intermediate_values) - 1
            value, _, where = after(subject, rung, last_value(best[0])).partition(" on ")
        counts = (counted, subject.search.trials, counted - running - idle, running, idle)
        cells = (*map(str, (*counts, kinds[REFUSED], kinds[FAILED])), value, where)
        table.add_row(Text(subject.label), *cells)
    return table


def show_status(grid: Grid, folder: Path, console: Console) -> list[str]:
    """Print how far the studies of a grid are, if any has begun.

    :param grid: Grid
    :param folder: Folder of its tuning
    :param console: Console to print to
    :return: Lines on stored runs that are gone, and with them the returns behind a trial's value
    """
    if grid.search is None or not (folder / JOURNAL).exists():
        return []
    storage = open_journal(folder)
    studies, lines, store = [], [], Store(folder)
    for subject in subjects_of(grid, references_for(grid, folder.parent)):
        trials = stored_trials(storage, subject)
        studies.append((subject, trials, abandoned(folder, subject, trials)))
        if missing := to_do(runs_of_trials(trials, subject), store):
            lines.append(
                f"{subject.label}: {len(missing)} runs of its trials are missing in {folder}, or "
                "damaged: `sb3-course tune` makes them again"
            )
    console.print(status_table(studies, console.is_terminal), highlight=False)
    for subject, trials, _ in studies:
        if trials:
            line = f"{subject.label}: {stage_of(subject, trials, store)}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    return lines
