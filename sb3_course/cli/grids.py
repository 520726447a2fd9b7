"""The commands for grids: ``run``, ``demo``, ``status``, ``report`` and ``regression``."""

import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sb3_course.cli.terminal import FAILED, INTERRUPTED, OK, print_error, print_line
from sb3_course.common.files import shipped

if TYPE_CHECKING:
    from sb3_course.benchmark.api import GridPlan
    from sb3_course.benchmark.definition.grid import Grid
    from sb3_course.benchmark.storage.result import RunResult

DEMO = shipped("benchmarks/demo.yaml")

GridFile = Annotated[Path, typer.Argument(metavar="GRID", help="Grid file (YAML).")]
Results = Annotated[
    Path,
    typer.Option("--results", metavar="DIR", help="Folder of all results, one subfolder per grid."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", help="Parallel runs (default: one per CPU)."),
]


def run(
    grid: GridFile,
    workers: Workers = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="KEY=VALUE",
            help="Execute only the runs with this algorithm, environment or seed.",
        ),
    ] = None,
    results: Results = Path("results"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs and whether they are done.")
    ] = False,
    executor: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Where runs execute: in processes of this machine, or on Ray."),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Running Ray cluster, as in 10.0.0.1:6379, or auto (default: start one here).",
        ),
    ] = None,
    retries: Annotated[
        int,
        typer.Option(
            "--retries", min=0, metavar="N", help="How often to retry a run whose process died."
        ),
    ] = 1,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the TensorBoard files of SB3's logger to DIR."),
    ] = None,
    rerun: Annotated[
        bool,
        typer.Option("--rerun", help="Repeat finished runs, and replace the stored results."),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep finished runs although a module of yours has changed."),
    ] = False,
) -> int:
    """Run a grid: finished runs are skipped, failed ones are tried again.

    Several processes can run this command on one grid at the same time, also on machines that
    share a folder: each run is done by one of them.

    With --rerun, every run (or those selected by --only) is repeated, and the stored results are
    replaced when all of them have finished. Until then they stay as they are, and after an
    interrupt the same command continues.

    For example:

    sb3-course run benchmarks/demo.yaml

    sb3-course run benchmarks/demo.yaml --workers 4 --only algorithm=A2C --only seed=0

    sb3-course run benchmarks/demo.yaml --dry-run

    sb3-course run benchmarks/demo.yaml --executor ray --address auto

    sb3-course run benchmarks/regression/dilemmas.yaml --rerun
    """
    if address is not None and executor != "ray":
        raise typer.BadParameter("--address requires --executor ray")
    from sb3_course.benchmark.api import plan_grid

    plan = plan_grid(grid, only=only or [], results=results, rerun=rerun, keep=keep)
    _show_damage(plan.grid, results)
    _show_plan(plan)
    if dry_run:
        _list_runs(plan)
        return OK
    return _run(plan, executor, workers, address, retries, tensorboard)


def demo(workers: Workers = None, results: Results = Path("results")) -> int:
    """Run the demonstration: six algorithms on two environments, in minutes.

    It ends with the path of the report, and with the mean final returns on each environment.

    For example:

    sb3-course demo

    sb3-course demo --workers 2 --results my_results
    """
    from sb3_course.benchmark.api import load_results, plan_grid
    from sb3_course.benchmark.reporting.answers import rankings

    plan = plan_grid(DEMO, results=results)
    _show_plan(plan)
    code = _run(plan, workers=workers)
    if code != INTERRUPTED:
        for line in rankings(plan.grid.environments, load_results(DEMO, results=results)):
            print_line(line)
        n = len(plan.grid.seeds)
        print_line(f"Means of {n} seeds, which show that everything works; claims need more.")
    return code


def status(grid: GridFile, results: Results = Path("results")) -> int:
    """Show the state of a grid: done, running, failed and missing runs, and the time left.

    The exit code is 1 if a run failed or a result is damaged, else 0.

    For example:

    sb3-course status benchmarks/demo.yaml

    watch -n 10 sb3-course status benchmarks/demo.yaml --results my_results
    """
    from sb3_course.benchmark.definition.grid import load_grid
    from sb3_course.benchmark.execution.status import read_status, show

    loaded = load_grid(grid)
    found = read_status(loaded.runs(), results / loaded.name)
    show(found, _console())
    damaged = _show_damage(loaded, results)
    return FAILED if found.failures or damaged else OK


def report(grid: GridFile, results: Results = Path("results")) -> int:
    """Write tables, figures and the report page from the stored results.

    The folder zoo/ next to them holds the returns in RL Zoo's layout, for rl_zoo3's plot scripts.
    The exit code is 1 if a result is damaged, and so in no statistic, else 0.

    For example:

    sb3-course report benchmarks/demo.yaml

    sb3-course report benchmarks/demo.yaml --results my_results
    """
    from sb3_course.benchmark.api import write_report
    from sb3_course.benchmark.definition.grid import load_grid

    damaged = _show_damage(load_grid(grid), results)
    print_line(str(write_report(grid, results=results)))
    return FAILED if damaged else OK


def regression(
    grid: GridFile,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, metavar="K", help="Number of stored seeds to train.")
    ] = 8,
    workers: Workers = None,
    results: Results = Path("results"),
) -> int:
    """Train the first stored seeds of a grid again, and check that the code still learns as well.

    With the versions and the processor of the stored runs, every return must be the same.
    Otherwise a rank test compares the new runs with the stored ones of other seeds; if nothing has
    changed, it fails in at most 1 of 1,000 rounds. The table holds its power: the probability that
    a policy that learns nothing, or half as much, is caught. The stored results stay as they are;
    `run GRID --rerun` replaces them. The exit code is 1 if a verdict is bad, else 0.

    For example:

    sb3-course regression benchmarks/regression/mujoco.yaml

    sb3-course regression benchmarks/regression/dilemmas.yaml --seeds 10 --workers 2
    """
    from sb3_course.benchmark.api import compare_with_stored
    from sb3_course.benchmark.definition.grid import load_grid
    from sb3_course.benchmark.statistics.regression import table

    _show_damage(load_grid(grid), results)
    _stop_on_sigterm()
    try:
        compared = compare_with_stored(
            grid, seeds, results=results, workers=workers, console=Console(stderr=True)
        )
    except KeyboardInterrupt:
        print_error("interrupted: new runs are discarded, stored results are unchanged")
        return INTERRUPTED
    _console().print(table(compared, sys.stdout.isatty()))
    bad = [str(comparison) for comparison in compared if not comparison.verdict.good]
    for line in bad:
        print_error(line)
    return FAILED if bad else OK


def _run(
    plan: "GridPlan",
    executor: Literal["local", "ray"] = "local",
    workers: int | None = None,
    address: str | None = None,
    retries: int = 1,
    tensorboard: Path | None = None,
) -> int:
    from sb3_course.benchmark.api import run_plan

    _stop_on_sigterm()
    try:
        outcome = run_plan(
            plan,
            executor=executor,
            workers=workers,
            address=address,
            retries=retries,
            tensorboard=tensorboard,
            console=Console(stderr=True),
            command=_command(),
        )
    except KeyboardInterrupt:
        print_error("interrupted: finished runs are kept; the same command continues from there")
        return INTERRUPTED
    if outcome.page is None:
        print_error(
            f"stored results in {plan.kept.folder} are unchanged: the same command continues"
        )
    else:
        print_line(str(outcome.page))
    return _show_failures(outcome.failures)


def _show_plan(plan: "GridPlan") -> None:
    what = "runs to repeat" if plan.rerun else "runs"
    n_runs, n_todo = len(plan.runs), len(plan.todo)
    print_line(f"{plan.grid.name}: {n_runs} {what}, {n_runs - n_todo} done, {n_todo} to do")
    if plan.rerun and plan.todo and "-dirty" in plan.store.folder.name:
        print_error("uncommitted changes: the stored runs will name their commit with -dirty")


def _list_runs(plan: "GridPlan") -> None:
    waiting = {spec.id for spec in plan.todo}
    for spec in plan.runs:
        state = "to do" if spec.id in waiting else "done "
        print_line(f"{state}  {spec.label}, {spec.config.total_timesteps:,} steps")


def _show_damage(grid: "Grid", results: Path) -> list[str]:
    from sb3_course.benchmark.storage.store import Store

    lines = Store(results / grid.name).damage(grid.runs())
    for line in lines:
        print_error(line)
    return lines


def _show_failures(failures: Sequence["RunResult"]) -> int:
    if not failures:
        return OK
    table = Table("algorithm", "environment", "seed", "error", title="Failed runs")
    for result in failures:
        spec = result.spec
        cells = (spec.algorithm, spec.environment, str(spec.seed), result.reason)
        table.add_row(*map(Text, cells))  # Text keeps brackets from being read as markup
    Console(stderr=True).print(table)
    print_error(f"{len(failures)} runs failed; their tracebacks are in the report")
    return FAILED


def _console() -> Console:
    """Return a console that wraps lines only on a terminal."""
    return Console() if sys.stdout.isatty() else Console(width=1000)


def _stop_on_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does


def _command() -> str:
    """Return the running command; files outside the working directory keep only their names."""
    here = Path.cwd()
    words = []
    for word in sys.argv[1:]:
        path = Path(word)
        inside = path.is_absolute() and path.is_relative_to(here)
        short = str(path.relative_to(here)) if inside else path.name
        words.append(short if path.is_absolute() else word)
    return shlex.join(["sb3-course", *words])
