"""From a grid to its runs and their report: what there is to do, and doing it."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from sb3_course.benchmark.definition.field_types import ExecutorKind
from sb3_course.benchmark.definition.grid import Grid, RunSpec
from sb3_course.benchmark.definition.selection import select
from sb3_course.benchmark.definition.yaml_source import GridSource
from sb3_course.benchmark.execution.clusters.shared_folder import unshared
from sb3_course.benchmark.execution.rerun import (
    other_user_code,
    replace_stored,
    staging_store,
)
from sb3_course.benchmark.storage import manifest
from sb3_course.benchmark.storage.grids import RESULTS
from sb3_course.benchmark.storage.references import read_references
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.rounds import read_rounds, with_rounds
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError, check_sequence, check_whole, unknown
from sb3_course.common.files import remove_abandoned, write_whole
from sb3_course.common.tracking.tracker import Tracking, check_trackers

MADE_FROM = ".report"
"""File beside a report, with a digest of what it was made from."""

# What imports torch is imported where it is used, since a report does without.


@dataclass(frozen=True)
class GridPlan:
    """Plan of a grid: its runs, and which of them are to be executed.

    :param grid: Validated grid
    :param kept: Store of the grid's results
    :param store: Store of new results: ``kept``, or where they wait until they replace ``kept``
    :param runs: Selected runs of the grid
    :param todo: Selected runs that have not finished, the longest first
    :param rerun: Whether finished runs are repeated
    :param notes: What the user should know of the runs to be executed, in lines
    """

    grid: Grid
    kept: Store
    store: Store
    runs: Sequence[RunSpec]
    todo: Sequence[RunSpec]
    rerun: bool
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class GridOutcome:
    """Outcome of a grid.

    :param results: Results of the selected runs, including failed ones
    :param page: Page of the report; None without a report, or if runs of a rerun failed, in which
        case the stored results are not replaced
    """

    results: list[RunResult]
    page: Path | None

    @property
    def failures(self) -> list[RunResult]:
        """Results of the runs that failed, each with its reason."""
        return [result for result in self.results if result.failure is not None]


def plan_grid(
    grid: GridSource,
    *,
    only: Sequence[str] = (),
    results: str | Path = RESULTS,
    rerun: bool = False,
    keep: bool = False,
) -> GridPlan:
    """Check a grid and list its runs, without executing any.

    .. code-block:: python

        plan = plan_grid("benchmarks/demo.yaml", only=["algorithm=NPG", "seed=0"])
        print(len(plan.todo), "of", len(plan.runs), "runs to do")

    :param grid: Grid file, or its content as a mapping
    :param only: Conditions, as in :func:`.run_grid`, like what follows
    :param results: Folder of all results
    :param rerun: Whether to repeat finished runs and replace their stored results
    :param keep: Whether to keep finished runs although a module of the user has changed since
    :return: The plan
    :raises GridError: If the grid has mistakes or a constructor refuses its settings; the message
        lists all of them
    :raises UserError: If a condition matches no run, or files are in the way of results
    """
    from sb3_course.benchmark.definition.checks import checked_grid
    from sb3_course.benchmark.definition.constructor_checks import check_constructors
    from sb3_course.benchmark.execution import runner

    check_sequence("only", only)
    loaded = checked_grid(grid)
    kept = Store(Path(results) / loaded.name)
    loaded = with_rounds(loaded, read_rounds(kept.folder))
    remove_abandoned(kept.folder)
    manifest.read_manifest(kept.folder)  # a damaged one is told before hours of work, not after
    read_references(kept.folder)
    store = staging_store(kept, loaded.runs()) if rerun else kept
    runs = select(loaded.runs(), only, _names)
    todo = runner.to_do(runs, store)
    if not (rerun or keep) and (words := other_user_code(runs, kept)):
        raise UserError(words)
    notes: list[str] = []
    if todo:
        store.check_free(todo)
        notes = [*unshared(kept.folder), *check_constructors(todo, grid)]
    if rerun and len(runs) == len(loaded.runs()) and (old := kept.replaced(runs)):
        notes.append(
            f"at the end, {len(old)} stored run{'s' if len(old) > 1 else ''} of the same names and "
            "seeds with other settings will be removed: give the grid another name to keep them"
        )
    return GridPlan(loaded, kept, store, runs, todo, rerun, notes)


def _names(run: RunSpec) -> dict[str, list[str]]:
    return {
        "algorithm": [run.algorithm],
        "environment": [run.environment],
        "seed": [str(run.seed)],
    }


def run_plan(
    plan: GridPlan,
    *,
    executor: ExecutorKind = "local",
    workers: int | None = None,
    address: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    retries: int = 1,
    tensorboard: str | Path | None = None,
    track: Sequence[str] = (),
    track_video: bool = False,
    wait: bool = True,
    report: bool = True,
    console: Console | None = None,
    command: str | None = None,
) -> GridOutcome:
    """Execute the runs of a plan and write the report.

    :param plan: Plan from :func:`plan_grid`
    :param executor: As in :func:`.run_grid`, like what follows
    :param workers: Number of runs at a time
    :param address: Address of a running Ray cluster
    :param runtime_env: What Ray brings to each machine
    :param retries: Number of times that a run whose process died is started again
    :param tensorboard: Folder for the TensorBoard files of SB3's logger
    :param track: Trackers that the runs are sent to, besides those of the grid
    :param track_video: Whether they get a video of each trained policy
    :param wait: Whether to wait for runs that other commands execute
    :param report: Whether to write tables, figures and the page
    :param console: Console on which progress is shown
    :param command: Command to record in the manifest; None for the call of :func:`.run_grid`
    :return: Results and the page of the report
    :raises UserError: If an argument is not what is allowed, a tracker is unknown or not
        installed, an environment renders no images for a video, or the logs of TensorBoard cannot
        be written
    :raises KeyboardInterrupt: If interrupted by Ctrl-C; the same call continues from there
    """
    from sb3_course.benchmark.execution import runner
    from sb3_course.benchmark.execution.executors import make_executor
    from sb3_course.building import check_logs

    check_execution(executor, workers, retries)
    check_sequence("track", track)
    started = time.monotonic()
    tracking = _tracking(plan, track, track_video)
    store, kept = plan.store, plan.kept
    if plan.todo:
        log_folder = None if tensorboard is None else Path(tensorboard)
        if log_folder is not None:
            check_logs(log_folder)
        runs_on = make_executor(
            executor,
            plan.grid,
            store.folder,
            len(plan.todo),
            workers,
            address,
            log_folder,
            tracking,
            runtime_env,
        )
        command = command or f"sb3_course.benchmark.run_grid({plan.grid.name!r})"
        facts = (plan.grid, store.folder, command, runs_on.workers)
        # At the beginning, too: a kill would leave runs of a grid that no manifest has.
        manifest.write_manifest(*facts, started=time.monotonic())
        try:
            shown = console or Console(quiet=True)
            runner.run_all(plan.todo, store, runs_on, shown, retries, wait)
        except BaseException:
            with suppress(OSError, UserError):  # which would hide what went wrong first
                manifest.write_manifest(*facts, started)
            raise
        manifest.write_manifest(*facts, started)
        if console is not None and (words := other_user_code(plan.runs, store)):
            console.print(words, markup=False)
    results = store.read(plan.runs)
    if plan.rerun:
        if any(result.failure is not None for result in results):
            return GridOutcome(results, None)
        whole = len(plan.runs) == len(plan.grid.runs())
        replace_stored(kept, store, plan.runs, whole)
    if not report:
        return GridOutcome(results, None)
    page = kept.folder / "report.html"
    if not (page.exists() and _made_from(kept.folder) == _content(plan.grid, kept)):
        page = publish_grid(plan.grid, kept)
    return GridOutcome(results, page)


def check_execution(executor: Any, workers: Any, retries: Any) -> None:
    """Check the arguments that say where runs are executed.

    :param executor: Name of an executor
    :param workers: Number of runs at a time; None for one for each core
    :param retries: Number of times that a run whose process died is started again
    :raises UserError: One is another; the message says which are allowed
    """
    if executor not in get_args(ExecutorKind):
        raise UserError(unknown("executor", executor, get_args(ExecutorKind)))
    check_whole("retries", retries, 0)
    check_whole("workers", workers, none=True)


def _tracking(plan: GridPlan, track: Sequence[str], video: bool) -> Tracking | None:
    """Return what follows the runs, once it is checked that it can; None without trackers."""
    from sb3_course.common.video import check_renders

    trackers = tuple(dict.fromkeys([*plan.grid.track, *track]))
    check_trackers(trackers)
    if not trackers:
        return None
    for env in {spec.env.name: spec.env for spec in plan.todo if video}.values():
        check_renders(env)
    return Tracking(trackers, plan.grid.name, Path.cwd(), video)


def publish_grid(grid: Grid, store: Store) -> Path:
    """Write all files that are derived from a grid and its results; a finished one is packed first.

    :param grid: Grid
    :param store: Store of its results
    :return: Page of the report
    """
    from sb3_course.benchmark.reporting.report import publish

    runs = grid.runs()
    if store.sound(runs) >= {spec.id for spec in runs}:
        store.pack()
    manifest.follow_grid(store.folder, grid)
    content = _content(grid, store)  # before: a run may end while the page is written
    page = publish(grid, store)
    write_whole(store.folder / MADE_FROM, content)
    return page


def _content(grid: Grid, store: Store) -> str:
    """Return a digest of all that a report is made from: the grid, and what is stored of it."""
    rounds, references = read_rounds(store.folder), read_references(store.folder)
    parts = (
        manifest.configuration(grid),
        sorted(store.finished()),
        sorted(store.failed()),
        store.changed_at(),
        None if rounds is None else rounds.model_dump(mode="json"),
        {name: found.model_dump(mode="json") for name, found in references.items()},
    )
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _made_from(folder: Path) -> str | None:
    try:
        return (folder / MADE_FROM).read_text()
    except (OSError, ValueError):  # it is no UTF-8
        return None
