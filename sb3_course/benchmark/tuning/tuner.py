"""Tune the algorithms of a grid: trials, the best ones again, and the grid with what was chosen."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage
from rich.console import Console

from sb3_course.benchmark.definition.checks import checked_grid
from sb3_course.benchmark.definition.constructor_checks import check_constructors
from sb3_course.benchmark.definition.field_types import ExecutorKind
from sb3_course.benchmark.definition.grid import Grid, RunSpec
from sb3_course.benchmark.definition.selection import select
from sb3_course.benchmark.definition.yaml_source import GridSource, Source
from sb3_course.benchmark.execution import runner
from sb3_course.benchmark.execution.executors import Executor, make_executor
from sb3_course.benchmark.execution.heartbeat import logs_folder
from sb3_course.benchmark.execution.rerun import other_user_code
from sb3_course.benchmark.execution.run_queue import RunLocks
from sb3_course.benchmark.plan import check_execution
from sb3_course.benchmark.storage import manifest
from sb3_course.benchmark.storage.grids import JOURNAL, RESULTS, TUNING
from sb3_course.benchmark.storage.rounds import read_rounds
from sb3_course.benchmark.storage.store import Store
from sb3_course.benchmark.tuning import finals, sensitivity
from sb3_course.benchmark.tuning.finals import (
    Final,
    candidates_of,
    chosen_of,
    finals_of,
    is_decided,
)
from sb3_course.benchmark.tuning.journal import open_journal
from sb3_course.benchmark.tuning.progress import trial_display
from sb3_course.benchmark.tuning.sensitivity import Point
from sb3_course.benchmark.tuning.study import Hopeless, SharedStudy, stored_trials
from sb3_course.benchmark.tuning.subject import Subject, references_for, subjects_of
from sb3_course.benchmark.tuning.trial_queue import TrialQueue, refusal_by_constructors
from sb3_course.benchmark.tuning.trials import is_over, runs_of_trials
from sb3_course.benchmark.tuning.tuned_grid import write_tuned
from sb3_course.common.errors import UserError, check_sequence, refuse_in_worker
from sb3_course.common.files import remove_abandoned


@dataclass(frozen=True)
class TuningPlan:
    """What is tuned, and where.

    :param source: Grid, for messages
    :param grid: Validated grid
    :param store: Store of the runs of trials, ``results/GRID/tuning``
    :param subjects: What each study is about
    """

    source: Source
    grid: Grid
    store: Store
    subjects: Sequence[Subject]


@dataclass(frozen=True)
class TuningOutcome:
    """What tuning has found.

    :param finals: What was tuned, with what its best settings have reached; the first is chosen
    :param provenance: What the choices rest upon, in lines
    :param tuned: Grid with the chosen settings
    :param page: Page on the studies
    """

    finals: Sequence[tuple[Subject, Sequence[Final]]]
    provenance: Sequence[str]
    tuned: Path
    page: Path


def plan_tuning(
    grid: GridSource, *, only: Sequence[str] = (), results: str | Path = RESULTS
) -> TuningPlan:
    """Check a grid and its search, and list the studies, without executing any run.

    :param grid: Grid file, or its content as a mapping
    :param only: Conditions such as ``"algorithm=NPG"``; a study has to match one of those with the
        same key, for every key
    :param results: Folder of all results
    :return: The plan
    :raises GridError: If the grid has mistakes, or a constructor refuses its own settings, a choice
        or the bound of a range
    :raises UserError: If it has no search, seeds overlap, a condition matches nothing, scores need
        reference returns, or stored runs were made with other code of the user
    """
    check_sequence("only", only)
    loaded = checked_grid(grid)
    if loaded.search is None:
        raise UserError(
            f"{loaded.name} has no `search`, as in "
            "search: {algorithms: {NPG: {target_kl: {low: 0.003, high: 0.1, log: true}}}}"
        )
    folder = Path(results) / loaded.name / TUNING
    if (rounds := read_rounds(folder.parent)) is not None:
        loaded.search.check_seeds({seed for seeds in rounds.seeds for seed in seeds})
    subjects = _selected(subjects_of(loaded, references_for(loaded, folder.parent)), only)
    remove_abandoned(folder)
    manifest.read_manifest(folder)
    store = Store(folder)
    _check_user_code(subjects, store)
    runs = [spec for subject in subjects for spec in subject.fresh_runs({})]
    store.check_free(runs)
    source = Source(grid)
    check_constructors(runs, source, loaded.search)
    return TuningPlan(source, loaded, store, subjects)


def _check_user_code(subjects: Sequence[Subject], store: Store) -> None:
    runs = [spec for subject in subjects for spec in subject.fresh_runs({})]
    runs += [s for subject in subjects for rung in subject.rungs for s in subject.runs({}, rung)]
    if (store.folder / JOURNAL).exists():
        storage = open_journal(store.folder)
        for subject in subjects:
            for trial in stored_trials(storage, subject):
                settings = subject.settings(trial.params)
                runs += [s for rung in subject.rungs for s in subject.runs(settings, rung)]
    if words := other_user_code(runs, store):
        found = words.partition(": --rerun")[0]
        raise UserError(f"{found}: set it back, or move the folder away")


def _selected(subjects: Sequence[Subject], conditions: Sequence[str]) -> list[Subject]:
    chosen = select(subjects, conditions, _names)
    by_environment = any(c.startswith("environment=") for c in conditions)
    if by_environment and any(subject.search.shared for subject in chosen):
        raise UserError("--only environment=… : search.shared has one setting for all environments")
    return chosen


def _names(subject: Subject) -> dict[str, Sequence[str]]:
    return {"algorithm": [subject.algorithm], "environment": subject.environments}


def tune_grid(
    grid: GridSource,
    *,
    only: Sequence[str] = (),
    results: str | Path = RESULTS,
    executor: ExecutorKind = "local",
    workers: int | None = None,
    address: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    retries: int = 1,
    console: Console | None = None,
) -> TuningOutcome:
    """Search better settings for algorithms of a grid; what is stored is not run again.

    .. code-block:: python

        outcome = tune_grid("mine.yaml", workers=2)
        run_grid(outcome.tuned)

    :param grid: Grid file with a ``search``, or its content as a mapping
    :param only: Conditions, as in :func:`plan_tuning`
    :param results: Folder of all results; the studies are in ``GRID/tuning``
    :param executor: As in :func:`.run_grid`, like what follows
    :param workers: Number of runs at a time
    :param address: Address of a running Ray cluster
    :param runtime_env: What Ray brings to each machine
    :param retries: Number of times that a run whose process died is started again
    :param console: Console on which progress is shown
    :return: What was found
    :raises UserError: As :func:`plan_tuning` does, and if no trial of any study has had a return
    :raises KeyboardInterrupt: If interrupted by Ctrl-C; the same call continues from there
    """
    refuse_in_worker("tune_grid")
    check_execution(executor, workers, retries)
    plan = plan_tuning(grid, only=only, results=results)
    return run_tuning(
        plan,
        executor=executor,
        workers=workers,
        address=address,
        runtime_env=runtime_env,
        retries=retries,
        console=console,
    )


def run_tuning(
    plan: TuningPlan,
    *,
    executor: ExecutorKind = "local",
    workers: int | None = None,
    address: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    retries: int = 1,
    console: Console | None = None,
    command: str | None = None,
) -> TuningOutcome:
    """Execute the studies of a plan.

    :param plan: Plan from :func:`plan_tuning`
    :param executor: As in :func:`tune_grid`, like what follows
    :param workers: Number of runs at a time
    :param address: Address of a running Ray cluster
    :param runtime_env: What Ray brings to each machine
    :param retries: Number of times that a run whose process died is started again
    :param console: Console on which progress is shown
    :param command: Command to record in the manifest; None for the call of :func:`tune_grid`
    :return: What was found
    :raises Hopeless: If no trial of any study has had a return
    :raises KeyboardInterrupt: If interrupted by Ctrl-C; the same call continues from there
    """
    check_execution(executor, workers, retries)
    started, folder = time.monotonic(), plan.store.folder
    shown = console or Console(quiet=True)

    def make(n_runs: int) -> Any:
        return make_executor(
            executor, plan.grid, folder, n_runs, workers, address, runtime_env=runtime_env
        )

    make(1)  # refuses what it cannot reach before anything is written
    storage = open_journal(folder)

    def run(specs: Sequence[RunSpec]) -> None:
        if todo := runner.to_do(specs, plan.store):
            runner.run_all(todo, plan.store, make(len(todo)), shown, retries)

    hopeless: list[Hopeless] = []
    try:
        for subject in plan.subjects:
            try:
                with closing(SharedStudy(storage, folder, subject)) as study:
                    _search(plan, study, make(subject.most_runs), shown, retries)
                    study.check_hope()
                    run(runs_of_trials(study.trials(), subject))  # what is damaged or missing
                    candidates = candidates_of(subject, study.trials())
            except Hopeless as error:  # the others may be better
                hopeless.append(error)
                shown.print(str(error), markup=False, highlight=False, soft_wrap=True)
                continue
            run(finals.runs_of(subject, candidates))
            if is_decided(found := finals_of(subject, candidates, plan.store)):
                known = plan.store.failed()  # a value that fails would fail again
                around = sensitivity.runs_of(subject, chosen_of(found))
                run([spec for spec in around if spec.id not in known])
    finally:
        if plan.store.finished() or plan.store.failed():
            command = command or f"sb3_course.benchmark.tuning.tune_grid({plan.grid.name!r})"
            with suppress(OSError, UserError):  # which would hide what went wrong first
                manifest.write_manifest(plan.grid, folder, command, workers, started)
    outcome = publish_tuning(plan, storage)
    if len(hopeless) == len(plan.subjects):
        raise hopeless[0]
    return outcome


def _search(
    plan: TuningPlan, study: SharedStudy, executor: Executor, console: Console, retries: int
) -> None:
    if study.over:
        return
    logs_folder(plan.store.folder).mkdir(parents=True, exist_ok=True)
    with RunLocks(plan.store.folder) as locks, trial_display(console, study) as display:
        queue = TrialQueue(
            study, plan.store, locks, refusal_by_constructors(plan.source), display.trial_ended
        )
        runner.run_queued(queue, plan.store, executor, display, retries, wait=True)


def publish_tuning(plan: TuningPlan, storage: BaseStorage) -> TuningOutcome:
    """Write the tuned grid and the page, from what is stored.

    :param plan: Plan from :func:`plan_tuning`, of all or of some studies
    :param storage: Journal
    :return: What was found so far
    """
    from sb3_course.benchmark.tuning.page.sections import StudyRecord, write_tuning_page

    records = []
    for subject in subjects_of(plan.grid, plan.subjects[0].references):
        found: list[Final] = []
        curves: dict[str, list[Point]] = {}
        failed: list[str] = []
        trials = stored_trials(storage, subject)
        if is_over(trials, subject):
            found = finals_of(subject, candidates_of(subject, trials), plan.store)
        if is_decided(found):
            curves, failed = sensitivity.curves(subject, chosen_of(found), plan.store)
        records.append(StudyRecord(subject, trials, found, curves, failed))
    if all(record.finals for record in records):
        plan.store.pack()
    chosen = [(record.subject, record.finals) for record in records]
    lines = [line for each in records for line in each.provenance]
    tuned = write_tuned(plan.grid, chosen, lines, plan.store.folder)
    page = write_tuning_page(plan.grid.name, records, plan.store.folder)
    return TuningOutcome(chosen, lines, tuned, page)
