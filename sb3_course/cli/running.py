"""The commands that run a grid: ``run`` and ``demo``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sb3_course.cli.parts.grid_options import (
    Address,
    Executor,
    GridFile,
    Results,
    Retries,
    RuntimeEnv,
    Workers,
    command_line,
    runtime_env_in,
    show_damage,
    show_plan,
)
from sb3_course.cli.parts.options import Track, TrackVideo
from sb3_course.cli.parts.terminal import (
    FAILED,
    INTERRUPTED,
    OK,
    RUNS_KEPT,
    print_error,
    print_line,
)
from sb3_course.common.files import shipped

if TYPE_CHECKING:
    from sb3_course.benchmark.plan import GridOutcome, GridPlan
    from sb3_course.benchmark.storage.result import RunResult

MAX_SEEDS = 30
"""Most seeds of an algorithm that are added unasked."""
DEMO = shipped("benchmarks/demo.yaml")


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
    executor: Executor = "local",
    address: Address = None,
    runtime_env: RuntimeEnv = None,
    retries: Retries = 1,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the TensorBoard files of SB3's logger to DIR."),
    ] = None,
    track: Track = None,
    track_video: TrackVideo = False,
    rerun: Annotated[
        bool,
        typer.Option("--rerun", help="Repeat finished runs, and replace the stored results."),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep finished runs although a module of yours has changed."),
    ] = False,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait",
            help="Do not wait for runs of other commands, and write no report.",
        ),
    ] = False,
    until_settled: Annotated[
        bool,
        typer.Option("--until-settled", help="Add rounds of seeds until questions are settled."),
    ] = False,
    max_seeds: Annotated[
        int | None,
        typer.Option(
            "--max-seeds",
            min=1,
            metavar="N",
            help=f"Most seeds of an algorithm with --until-settled (default: {MAX_SEEDS}).",
        ),
    ] = None,
) -> int:
    """Run a grid: finished runs are skipped, failed ones are tried again.

    Several processes can run this command on one grid at the same time, also on machines that
    share a folder: each run is done by one of them. A command ends, and writes the report, when
    all runs have ended, whoever has done them; with --no-wait, when none is left for it.

    With --rerun, every run (or those selected by --only) is repeated, and the stored results are
    replaced when all of them have finished. Until then they stay as they are, and after an
    interrupt the same command continues. Of a whole grid, stored runs of the same algorithm,
    environment and seed with other settings are removed as well; their number is printed first.

    With --until-settled, the algorithms of open questions get as many seeds again after each round,
    up to --max-seeds. A sequential test settles the questions: if nothing differs, it settles one
    in at most 5 of 100 grids, although it looks after every round.

    For example:

    sb3-course run benchmarks/demo.yaml

    sb3-course run benchmarks/demo.yaml --workers 4 --only algorithm=A2C --only seed=0

    sb3-course run benchmarks/demo.yaml --dry-run

    sb3-course run benchmarks/demo.yaml --executor ray --address auto

    sb3-course run benchmarks/demo.yaml --track wandb --track-video

    sb3-course run benchmarks/regression/dilemmas.yaml --rerun

    sb3-course run benchmarks/classic.yaml --until-settled --max-seeds 40
    """
    from sb3_course.benchmark.definition.grid import load_grid

    brought = runtime_env_in(runtime_env, executor, address)
    if max_seeds is not None and not until_settled:
        raise typer.BadParameter("--max-seeds requires --until-settled")
    if no_wait and rerun:
        raise typer.BadParameter(
            "--rerun replaces results once all have ended: leave out --no-wait"
        )
    if track_video and not (track or load_grid(grid).track):
        raise typer.BadParameter("--track-video requires --track, or `track` in the grid")
    how = {
        "executor": executor,
        "workers": workers,
        "address": address,
        "runtime_env": brought,
        "retries": retries,
        "tensorboard": tensorboard,
        "track": track or (),
        "track_video": track_video,
    }
    if until_settled:
        if only or rerun or dry_run or no_wait:
            raise typer.BadParameter(
                "--until-settled chooses the runs: leave out --only, --rerun, --dry-run, --no-wait"
            )
        return _run_in_rounds(grid, max_seeds or MAX_SEEDS, results, keep, **how)
    from sb3_course.benchmark.plan import plan_grid

    plan = plan_grid(grid, only=only or [], results=results, rerun=rerun, keep=keep)
    show_damage(plan.grid, results)
    show_plan(plan)
    if dry_run:
        _list_runs(plan)
        return OK
    return _run(plan, **how, wait=not no_wait)


def demo(workers: Workers = None, results: Results = Path("results")) -> int:
    """Run the demonstration: six algorithms on two environments, in minutes.

    It ends with the path of the report, and with the mean final returns on each environment.

    For example:

    sb3-course demo

    sb3-course demo --workers 2 --results my_results
    """
    from sb3_course.benchmark.api import load_results
    from sb3_course.benchmark.plan import plan_grid
    from sb3_course.benchmark.reporting.answers import rankings

    plan = plan_grid(DEMO, results=results)
    show_plan(plan)
    code = _run(plan, workers=workers)
    if code != INTERRUPTED:
        for line in rankings(plan.grid.environments, load_results(DEMO, results=results)):
            print_line(line)
        n = len(plan.grid.seeds)
        print_line(f"Means of {n} seeds, which show that everything works; claims need more.")
    return code


def _run(plan: "GridPlan", wait: bool = True, **how: Any) -> int:
    from sb3_course.benchmark.plan import run_plan

    how |= {"console": Console(stderr=True), "command": command_line()}
    try:
        outcome = run_plan(plan, wait=wait, report=wait, **how)
    except KeyboardInterrupt:
        print_error(RUNS_KEPT)
        return INTERRUPTED
    if not wait:
        print_line(f"{len(outcome.results)} of {len(plan.runs)} runs have ended")
    elif outcome.page is None:
        print_error(
            f"stored results in {plan.kept.folder} are unchanged: the same command continues"
        )
    else:
        print_line(str(outcome.page))
    return _show_failures(outcome.failures)


def _run_in_rounds(grid: Path, max_seeds: int, results: Path, keep: bool, **how: Any) -> int:
    from sb3_course.benchmark.plan import run_plan
    from sb3_course.benchmark.until_settled import in_rounds

    stderr = Console(stderr=True)

    def execute(plan: "GridPlan") -> "GridOutcome":
        show_plan(plan)
        return run_plan(plan, report=False, console=stderr, command=command_line(), **how)

    try:
        outcome = in_rounds(grid, max_seeds, results, execute, stderr, keep)
    except KeyboardInterrupt:
        print_error(RUNS_KEPT)
        return INTERRUPTED
    print_line(str(outcome.page))
    return _show_failures(outcome.failures)


def _list_runs(plan: "GridPlan") -> None:
    waiting = {spec.id for spec in plan.todo}
    for spec in plan.runs:
        state = "to do" if spec.id in waiting else "done "
        print_line(f"{state}  {spec.label}, {spec.config.total_timesteps:,} steps")


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
