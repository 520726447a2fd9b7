"""Python interface of the benchmark suite: run a grid, load its results, write its report.

.. code-block:: python

    from sb3_course.benchmark import load_results, run_grid, write_report

    outcome = run_grid("benchmarks/demo.yaml", workers=2)
    table = load_results("benchmarks/demo.yaml")
    page = write_report("benchmarks/demo.yaml")
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sb3_course.benchmark.definition.field_types import ExecutorKind
from sb3_course.benchmark.definition.yaml_source import GridSource
from sb3_course.benchmark.execution.rerun import other_user_code
from sb3_course.benchmark.plan import (
    GridOutcome,
    plan_grid,
    publish_grid,
    run_plan,
)
from sb3_course.benchmark.storage.grids import RESULTS
from sb3_course.benchmark.storage.rounds import read_rounds, with_rounds
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError, check_whole, refuse_in_worker

if TYPE_CHECKING:
    import pandas as pd

    from sb3_course.benchmark.statistics.regression import Comparison


def run_grid(
    grid: GridSource,
    *,
    only: Sequence[str] = (),
    results: str | Path = RESULTS,
    rerun: bool = False,
    keep: bool = False,
    executor: ExecutorKind = "local",
    workers: int | None = None,
    address: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    retries: int = 1,
    tensorboard: str | Path | None = None,
    track: Sequence[str] = (),
    track_video: bool = False,
    report: bool = True,
    console: Console | None = None,
) -> GridOutcome:
    """Run a grid; finished runs are skipped, failed ones are repeated.

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

    In a script, place the call under ``if __name__ == "__main__":``, because worker processes
    import the script.

    :param grid: Grid file, or its content as a mapping
    :param only: Conditions such as ``"algorithm=NPG"`` or ``"seed=0"``; a run has to match one of
        those with the same key, for every key
    :param results: Folder of all results, with a subfolder for each grid
    :param rerun: Whether to repeat finished runs and replace their stored results, once all new
        runs have finished
    :param keep: Whether to keep finished runs although a module of the user has changed since
    :param executor: ``"local"`` for processes of this machine, ``"ray"`` for a Ray cluster
    :param workers: Number of runs at a time; None for one per CPU
    :param address: Address of a running Ray cluster; None starts one on this machine
    :param runtime_env: What Ray brings to each machine, with the keys of its ``runtime_env``
    :param retries: Number of times that a run whose process died is started again
    :param tensorboard: Folder for the TensorBoard files of SB3's logger; None for none
    :param track: Trackers that the runs are sent to, besides those of the grid: ``"tensorboard"``,
        ``"wandb"``, ``"mlflow"``, ``"trackio"``
    :param track_video: Whether they get a video of each trained policy
    :param report: Whether to write tables, figures and the page
    :param console: Console on which progress is shown; None for no output
    :return: Results of the selected runs, and the page of the report
    :raises GridError: If the grid has mistakes or a constructor refuses its settings; the message
        lists all of them
    :raises UserError: As :func:`.plan_grid` does
    :raises KeyboardInterrupt: If interrupted by Ctrl-C; the same call continues from there
    """
    refuse_in_worker("run_grid")
    return run_plan(
        plan_grid(grid, only=only, results=results, rerun=rerun, keep=keep),
        executor=executor,
        workers=workers,
        address=address,
        runtime_env=runtime_env,
        retries=retries,
        tensorboard=tensorboard,
        track=track,
        track_video=track_video,
        report=report,
        console=console,
    )


def load_results(
    source: GridSource | Sequence[GridSource],
    *,
    layout: str | None = None,
    results: str | Path = RESULTS,
) -> "pd.DataFrame":
    """Load the returns of runs as a tidy table; warn of what could not be read.

    .. code-block:: python

        table = load_results("benchmarks/demo.yaml")
        table.groupby(["algorithm", "environment", "step"])["return_mean"].mean()

        load_results(["results/mine", "zoo=rl-baselines3-zoo/logs", "other/returns.csv"])

    :param source: Grid, folder of results or logs, table or log, or several: :func:`.read_logs`
    :param layout: Pattern of the paths of runs in folders of logs; None for RL Zoo's
    :param results: Folder of all results, with a subfolder for each grid
    :return: Table with one row per evaluation, whose columns :func:`.tidy` describes
    :raises UserError: If a grid has mistakes or no results, or the layout fits none of the logs
    """
    from sb3_course.benchmark.logs.reading import read_logs

    logs = read_logs(source, layout, Path(results))
    _tell(logs.problems, None)
    return logs.table


def write_report(
    source: GridSource | Sequence[GridSource],
    *,
    layout: str | None = None,
    results: str | Path = RESULTS,
    out: str | Path | None = None,
    tell: Callable[[Sequence[str]], None] | None = None,
) -> Path:
    """Write the report of runs: tables, figures and a page; tell what could not be read.

    The files of a grid whose runs have all finished become one, ``runs.jsonl``.

    .. code-block:: python

        page = write_report("benchmarks/demo.yaml")
        page = write_report(["results/demo", "zoo=rl-baselines3-zoo/logs"], out="compared")

    :param source: As in :func:`load_results`, like what follows
    :param layout: Pattern of the paths of runs in folders of logs
    :param results: Folder of all results
    :param out: Folder of the report; None for that of the grid, else ``report`` in ``results``
    :param tell: Function that gets lines on what could not be read, and on modules of the user that
        have changed since, before the report is written; None to warn
    :return: Path of the page, ``report.html`` in that folder
    :raises UserError: If a grid has mistakes or no results, or the layout fits none of the logs
    """
    from sb3_course.benchmark.logs.reading import OF_LOGS, grid_of, read_logs
    from sb3_course.benchmark.reporting.report import publish, publish_logs

    folder = None if out is None else Path(out)
    if (found := grid_of(source, Path(results))) is not None:
        if layout is not None:
            raise UserError(OF_LOGS)
        grid, store = found
        changed = other_user_code(grid.runs(), store)
        _tell([*store.damage(grid.runs()), *([changed] if changed else [])], tell)
        if folder is None or folder.resolve() == store.folder.resolve():
            return publish_grid(grid, store)
        return publish(grid, store, folder)
    logs = read_logs(source, layout, Path(results))
    _tell(logs.problems, tell)
    return publish_logs(logs, folder or Path(results) / "report")


def _tell(problems: Sequence[str], tell: Callable[[Sequence[str]], None] | None) -> None:
    if tell is not None:
        tell(problems)
        return
    for line in problems:
        warnings.warn(line, stacklevel=3)


def compare_with_stored(
    grid: GridSource,
    n_seeds: int = 8,
    *,
    results: str | Path = RESULTS,
    workers: int | None = None,
    console: Console | None = None,
) -> list["Comparison"]:
    """Train the first stored seeds of a grid again, and compare their returns with the stored ones.

    The stored results stay unchanged.

    :param grid: Grid file, or its content as a mapping
    :param n_seeds: Number of stored seeds to train again
    :param results: Folder of all results
    :param workers: Number of runs at a time; None for one per CPU
    :param console: Console on which progress is shown; None for no output
    :return: Comparisons, one for each algorithm on each environment
    :raises GridError: If the grid has mistakes
    :raises UserError: If too few runs are stored, or learning nothing would go unnoticed
    """
    from sb3_course.benchmark.definition.checks import checked_grid
    from sb3_course.benchmark.execution import runner
    from sb3_course.benchmark.execution.executors import make_executor
    from sb3_course.benchmark.statistics import regression

    refuse_in_worker("compare_with_stored")
    check_whole("n_seeds", n_seeds, 1)
    check_whole("workers", workers, none=True)
    loaded = checked_grid(grid)
    kept = Store(Path(results) / loaded.name)
    loaded = with_rounds(loaded, read_rounds(kept.folder))
    stored = regression.stored_tasks(loaded, kept, n_seeds)
    specs = [result.spec for runs in stored.values() for result in runs[:n_seeds]]
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        executor = make_executor("local", loaded, store.folder, len(specs), workers)
        todo = runner.to_do(specs, store)
        runner.run_all(todo, store, executor, console or Console(quiet=True))
        new = regression.by_task(store.read(specs))
    return [regression.compare(stored[task], new[task], len(stored)) for task in stored]
