"""The commands on grids: ``run``, ``demo``, ``status``, ``report`` and ``regression``."""

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

from sb3_course.cli.terminal import FAILED, INTERRUPTED, OK, complain, say

if TYPE_CHECKING:
    from sb3_course.benchmark.api import GridPlan
    from sb3_course.benchmark.storage.result import RunResult

DEMO = Path(__file__).resolve().parents[2] / "benchmarks" / "demo.yaml"

GridFile = Annotated[Path, typer.Argument(metavar="GRID", help="A grid file (YAML).")]
Results = Annotated[
    Path, typer.Option("--results", metavar="DIR", help="Folder of all results; GRID gets its own.")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", help="Runs at a time (default: one per CPU)."),
]


def run(
    grid: GridFile,
    workers: Workers = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="KEY=VALUE", help="Runs with this algorithm, environment or seed."
        ),
    ] = None,
    results: Results = Path("results"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs and whether they are done.")
    ] = False,
    executor: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Where runs execute: processes of this machine, or Ray."),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A running Ray cluster, as in 10.0.0.1:6379, or auto [default: start one here].",
        ),
    ] = None,
    retries: Annotated[
        int,
        typer.Option(
            "--retries", min=0, metavar="N", help="How often a run whose process died is retried."
        ),
    ] = 1,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the TensorBoard files of SB3's logger to DIR."),
    ] = None,
    rerun: Annotated[
        bool,
        typer.Option("--rerun", help="Run finished runs again, and replace the stored results."),
    ] = False,
) -> int:
    """Run a grid: finished runs are skipped, failed ones are tried again.

    Several of these commands may work on one grid at once, on machines that share a folder too:
    each run is done by one of them.

    With --rerun every run is made again (or those that --only names), and the stored results are
    replaced once all of them have finished; until then they stay as they are, and after an
    interrupt the same command continues.

    For example:

    sb3-course run benchmarks/demo.yaml

    sb3-course run benchmarks/demo.yaml --workers 4 --only algorithm=A2C --only seed=0

    sb3-course run benchmarks/demo.yaml --dry-run

    sb3-course run benchmarks/demo.yaml --executor ray --address auto

    sb3-course run benchmarks/regression/cartpole.yaml --rerun
    """
    if address is not None and executor != "ray":
        raise typer.BadParameter("--address is for --executor ray")
    from sb3_course.benchmark.api import plan_grid

    plan = plan_grid(grid, only=only or [], results=results, rerun=rerun)
    _show_plan(plan)
    if dry_run:
        _list(plan)
        return OK
    return _run(plan, executor, workers, address, retries, tensorboard)


def demo(workers: Workers = None, results: Results = Path("results")) -> int:
    """Run the demonstration: six algorithms on two environments, in minutes.

    For example:

    sb3-course demo

    sb3-course demo --workers 2 --results my_results
    """
    if not DEMO.exists():
        raise typer.BadParameter(
            "the demonstration's grid is in a checkout of the project alone, as "
            "benchmarks/demo.yaml; give `sb3-course run` a copy of it"
        )
    from sb3_course.benchmark.api import plan_grid

    plan = plan_grid(DEMO, results=results)
    _show_plan(plan)
    return _run(plan, workers=workers)


def status(grid: GridFile, results: Results = Path("results")) -> int:
    """Show the state of a grid: runs done, running, failed and missing, and the time left.

    The exit code is 1 if a run failed, else 0.

    For example:

    sb3-course status benchmarks/demo.yaml

    watch -n 10 sb3-course status benchmarks/demo.yaml --results my_results
    """
    from sb3_course.benchmark.definition.grid import load_grid
    from sb3_course.benchmark.execution.status import read_status, show

    loaded = load_grid(grid)
    found = read_status(loaded.runs(), results / loaded.name)
    show(found, _console())
    return FAILED if found.failures else OK


def report(grid: GridFile, results: Results = Path("results")) -> int:
    """Write tables, figures and the page from the stored results.

    Beside them, zoo/ holds the returns in RL Zoo's layout, for rl_zoo3's plot scripts.

    For example:

    sb3-course report benchmarks/demo.yaml

    sb3-course report benchmarks/demo.yaml --results my_results
    """
    from sb3_course.benchmark.api import write_report

    say(str(write_report(grid, results=results)))
    return OK


def regression(
    grid: GridFile,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, metavar="K", help="How many stored seeds to train.")
    ] = 3,
    workers: Workers = None,
    results: Results = Path("results"),
) -> int:
    """Train the first stored seeds of a grid again, and compare: does the code still learn as well?

    Where versions and processor are those of the stored runs, every return has to be the same.
    Elsewhere the mean of the new runs has to fall into the band that the stored ones give, 10 at
    least; it does in all but about 1 of 1,000 rounds if nothing has changed. The stored results
    stay as they are; `run GRID --rerun` replaces them. The exit code is 1 if a verdict is bad,
    else 0.

    For example:

    sb3-course regression benchmarks/regression/mujoco.yaml

    sb3-course regression benchmarks/regression/cartpole.yaml --seeds 10 --workers 2
    """
    from sb3_course.benchmark.api import compare_with_stored
    from sb3_course.benchmark.statistics.regression import table

    _stop_on_sigterm()
    try:
        compared = compare_with_stored(
            grid, seeds, results=results, workers=workers, console=Console(stderr=True)
        )
    except KeyboardInterrupt:
        complain("interrupted: new runs are discarded, stored results are unchanged")
        return INTERRUPTED
    _console().print(table(compared, sys.stdout.isatty()))
    bad = [str(comparison) for comparison in compared if not comparison.verdict.good]
    for line in bad:
        complain(line)
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
        complain("interrupted: finished runs are kept; the same command continues from there")
        return INTERRUPTED
    if outcome.page is None:
        complain(f"stored results in {plan.kept.folder} are unchanged: the same command continues")
    else:
        say(str(outcome.page))
    return _show_failures(outcome.failures)


def _show_plan(plan: "GridPlan") -> None:
    what = "runs to repeat" if plan.rerun else "runs"
    n_runs, n_todo = len(plan.runs), len(plan.todo)
    say(f"{plan.grid.name}: {n_runs} {what}, {n_runs - n_todo} done, {n_todo} to do")
    if plan.rerun and plan.todo and "-dirty" in plan.store.folder.name:
        complain("files differ from the last commit, which the stored runs will name as -dirty")


def _list(plan: "GridPlan") -> None:
    waiting = {spec.id for spec in plan.todo}
    for spec in plan.runs:
        state = "to do" if spec.id in waiting else "done "
        say(f"{state}  {spec.label}, {spec.config.total_timesteps:,} steps")


def _show_failures(failures: Sequence["RunResult"]) -> int:
    if not failures:
        return OK
    table = Table("algorithm", "environment", "seed", "error", title="Failed runs")
    for result in failures:
        spec = result.spec
        cells = (spec.algorithm, spec.environment, str(spec.seed), result.reason)
        table.add_row(*map(Text, cells))  # no markup: brackets are brackets
    Console(stderr=True).print(table)
    complain(f"{len(failures)} runs failed; the report holds their tracebacks")
    return FAILED


def _console() -> Console:
    """Return a console that breaks lines on a terminal alone."""
    return Console() if sys.stdout.isatty() else Console(width=1000)


def _stop_on_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does


def _command() -> str:
    """Return the command that is running, with files outside this folder by name alone."""
    here = Path.cwd()
    words = []
    for word in sys.argv[1:]:
        path = Path(word)
        inside = path.is_absolute() and path.is_relative_to(here)
        short = str(path.relative_to(here)) if inside else path.name
        words.append(short if path.is_absolute() else word)
    return shlex.join(["sb3-course", *words])
