"""The benchmark suite from Python: run a grid, load its results, write its report.

.. code-block:: python

    from sb3_course.benchmark import load_results, run_grid, write_report

    outcome = run_grid("benchmarks/demo.yaml", workers=2)
    table = load_results("benchmarks/demo.yaml")
    page = write_report("benchmarks/demo.yaml")
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from sb3_course.benchmark.definition.checks import checked_grid
from sb3_course.benchmark.definition.constructor_checks import check_constructors
from sb3_course.benchmark.definition.grid import Grid, RunSpec, load_grid
from sb3_course.benchmark.definition.yaml_source import GridSource
from sb3_course.benchmark.execution import runner
from sb3_course.benchmark.execution.executors import make_executor
from sb3_course.benchmark.execution.rerun import replace_stored, staging_store
from sb3_course.benchmark.storage import manifest
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from sb3_course.benchmark.statistics.regression import Comparison

RESULTS = Path("results")


@dataclass(frozen=True)
class GridPlan:
    """What is to be run, and where its results go.

    :param grid: The grid
    :param kept: Its stored results
    :param store: Where new results go: ``kept``, or where they wait to replace it
    :param runs: Selected runs of the grid
    :param todo: Those of them that have not finished, the longest first
    :param rerun: Whether finished runs are made again
    """

    grid: Grid
    kept: Store
    store: Store
    runs: Sequence[RunSpec]
    todo: Sequence[RunSpec]
    rerun: bool


@dataclass(frozen=True)
class GridOutcome:
    """What came of a grid.

    :param results: Results of the selected runs, failed ones included
    :param page: The report's page; None where failed runs keep stored results from being replaced,
        or no report was asked for
    """

    results: list[RunResult]
    page: Path | None

    @property
    def failures(self) -> list[RunResult]:
        """The runs that failed, each with its reason."""
        return [result for result in self.results if result.failure is not None]


def plan_grid(
    grid: GridSource,
    *,
    only: Sequence[str] = (),
    results: str | Path = RESULTS,
    rerun: bool = False,
) -> GridPlan:
    """Check a grid and list its runs; nothing is run.

    :param grid: A YAML file, or the same as a mapping
    :param only: Conditions such as ``"algorithm=NPG"`` or ``"seed=0"``; those with the same key are
        alternatives, different keys all have to match
    :param results: Folder of all results; the grid gets its own
    :param rerun: Whether to make finished runs again and replace the stored results by them
    :return: The plan
    :raises GridError: A mistake in the grid or a setting that a constructor refuses; names each
    """
    loaded = checked_grid(grid)
    kept = Store(Path(results) / loaded.name)
    store = staging_store(kept) if rerun else kept
    runs = runner.select(loaded.runs(), only)
    todo = runner.to_do(runs, store)
    if todo:
        check_constructors(todo, grid)
    return GridPlan(loaded, kept, store, runs, todo, rerun)


def run_plan(
    plan: GridPlan,
    *,
    executor: Literal["local", "ray"] = "local",
    workers: int | None = None,
    address: str | None = None,
    retries: int = 1,
    tensorboard: str | Path | None = None,
    report: bool = True,
    console: Console | None = None,
    command: str | None = None,
) -> GridOutcome:
    """Run what a plan has to do, and write the report.

    :param plan: Plan from :func:`plan_grid`
    :param executor: Where runs execute: processes of this machine, or Ray
    :param workers: Runs at a time; None for one per CPU
    :param address: Address of a running Ray cluster; None starts one on this machine
    :param retries: How often a run whose process died is tried again
    :param tensorboard: Folder for the TensorBoard files of SB3's logger; None for none
    :param report: Whether to write tables, figures and the page
    :param console: Where progress is shown; None for nowhere
    :param command: Command that the manifest names
    :return: The outcome
    :raises KeyboardInterrupt: Ctrl-C; finished runs are kept, and the same call continues
    """
    started = time.time()
    store, kept = plan.store, plan.kept
    if plan.todo:
        log_folder = None if tensorboard is None else Path(tensorboard)
        place = make_executor(
            executor, plan.grid, store.folder, len(plan.todo), workers, address, log_folder
        )
        try:
            runner.run_all(plan.todo, store, place, console or Console(quiet=True), retries)
        finally:
            if store.finished() or store.failed():
                told = command or f"sb3_course.benchmark.run_grid({plan.grid.name!r})"
                manifest.write_manifest(plan.grid, store.folder, told, place.workers, started)
    results = store.read(plan.runs)
    if plan.rerun:
        if any(result.failure is not None for result in results):
            return GridOutcome(results, None)
        whole = len(plan.runs) == len(plan.grid.runs())
        replace_stored(kept, store, plan.runs, whole)
    if not report:
        return GridOutcome(results, None)
    page = kept.folder / "report.html"
    changed = plan.todo or plan.rerun or not kept.older_than(page)
    if changed or not manifest.is_of(plan.grid, kept.folder):
        page = _publish(plan.grid, kept)
    return GridOutcome(results, page)


def run_grid(
    grid: GridSource,
    *,
    only: Sequence[str] = (),
    results: str | Path = RESULTS,
    rerun: bool = False,
    executor: Literal["local", "ray"] = "local",
    workers: int | None = None,
    address: str | None = None,
    retries: int = 1,
    tensorboard: str | Path | None = None,
    report: bool = True,
    console: Console | None = None,
) -> GridOutcome:
    """Run a grid: finished runs are skipped, failed ones are tried again.

    .. code-block:: python

        outcome = run_grid(
            {
                "name": "mine",
                "seeds": 3,
                "environments": {"CartPole-v1": {"total_timesteps": 20_000, "n_envs": 8}},
                "algorithms": {"NPG": {"class": "NPG", "params": {"target_kl": 0.02}}},
            },
            workers=2,
        )
        print(outcome.page, len(outcome.failures))

    In a script, guard the call by ``if __name__ == "__main__":``, since worker processes import it.

    :param grid: A YAML file, or the same as a mapping
    :param only: Conditions on the runs; see :func:`plan_grid`
    :param results: Folder of all results; the grid gets its own
    :param rerun: Whether to make finished runs again and replace the stored results by them
    :param executor: Where runs execute: processes of this machine, or Ray
    :param workers: Runs at a time; None for one per CPU
    :param address: Address of a running Ray cluster; None starts one on this machine
    :param retries: How often a run whose process died is tried again
    :param tensorboard: Folder for the TensorBoard files of SB3's logger; None for none
    :param report: Whether to write tables, figures and the page
    :param console: Where progress is shown; None for nowhere
    :return: The outcome
    :raises GridError: A mistake in the grid or a setting that a constructor refuses; names each
    :raises KeyboardInterrupt: Ctrl-C; finished runs are kept, and the same call continues
    """
    return run_plan(
        plan_grid(grid, only=only, results=results, rerun=rerun),
        executor=executor,
        workers=workers,
        address=address,
        retries=retries,
        tensorboard=tensorboard,
        report=report,
        console=console,
    )


def load_results(grid: GridSource, *, results: str | Path = RESULTS) -> "pd.DataFrame":
    """Load the evaluations of a grid's finished runs as one tidy table.

    .. code-block:: python

        table = load_results("benchmarks/demo.yaml")
        table.groupby(["algorithm", "environment", "step"])["return_mean"].mean()

    :param grid: A YAML file, or the same as a mapping
    :param results: Folder of all results
    :return: Table with a row for each evaluation; :func:`.tidy` describes its columns
    :raises UserError: There are no results
    """
    from sb3_course.benchmark.storage.returns_table import tidy

    loaded = load_grid(grid)
    return tidy(_stored(loaded, results).read(loaded.runs()))


def write_report(grid: GridSource, *, results: str | Path = RESULTS) -> Path:
    """Write tables, figures and the page from the stored results of a grid.

    Once every run of the grid has finished, its files in ``runs`` become one, ``runs.jsonl``.

    .. code-block:: python

        page = write_report("benchmarks/demo.yaml")

    :param grid: A YAML file, or the same as a mapping
    :param results: Folder of all results
    :return: The page, ``results/GRID/report.html``
    :raises UserError: There are no results
    """
    loaded = load_grid(grid)
    return _publish(loaded, _stored(loaded, results))


def compare_with_stored(
    grid: GridSource,
    n_seeds: int = 3,
    *,
    results: str | Path = RESULTS,
    workers: int | None = None,
    console: Console | None = None,
) -> list["Comparison"]:
    """Train the first stored seeds of a grid again, and compare; stored results stay as they are.

    :param grid: A YAML file, or the same as a mapping
    :param n_seeds: Number of stored seeds to train
    :param results: Folder of all results
    :param workers: Runs at a time; None for one per CPU
    :param console: Where progress is shown; None for nowhere
    :return: One comparison for each algorithm on each environment
    :raises UserError: Too few runs are stored
    """
    from sb3_course.benchmark.statistics import regression

    loaded = checked_grid(grid)
    stored = regression.stored_tasks(loaded, Store(Path(results) / loaded.name), n_seeds)
    specs = [result.spec for runs in stored.values() for result in runs[:n_seeds]]
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        place = make_executor("local", loaded, store.folder, len(specs), workers)
        todo = runner.to_do(specs, store)
        runner.run_all(todo, store, place, console or Console(quiet=True))
        new = regression.by_task(store.read(specs))
    return [regression.compare(stored[task], new[task], len(stored)) for task in stored]


def _stored(grid: Grid, results: str | Path) -> Store:
    folder = Path(results) / grid.name
    if not folder.is_dir():
        raise UserError(f"no results in {folder}; `sb3-course run` or run_grid() makes them")
    return Store(folder)


def _publish(grid: Grid, store: Store) -> Path:
    """Write everything that is derived from the results; a finished grid is packed first."""
    from sb3_course.benchmark.reporting.report import publish
    from sb3_course.benchmark.storage.rl_zoo import write_zoo

    if store.finished() >= {spec.id for spec in grid.runs()}:
        store.pack()
    page = publish(grid, store)
    write_zoo(store.read(grid.runs()), store.folder / "zoo")
    return page
