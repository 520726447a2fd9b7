"""The command ``tune``: better settings for the algorithms of a grid."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

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
)
from sb3_course.cli.parts.terminal import (
    FAILED,
    INTERRUPTED,
    OK,
    print_error,
    print_line,
)

if TYPE_CHECKING:
    from sb3_course.benchmark.tuning.tuner import TuningOutcome, TuningPlan


def tune(
    grid: GridFile,
    workers: Workers = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="KEY=VALUE",
            help="Tune only this algorithm, or on this environment.",
        ),
    ] = None,
    results: Results = Path("results"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be tuned, and its steps.")
    ] = False,
    executor: Executor = "local",
    address: Address = None,
    runtime_env: RuntimeEnv = None,
    retries: Retries = 1,
) -> int:
    """Search better settings for the algorithms of a grid: what its `search` says, with Optuna.

    A trial is one setting on several seeds, none of which is published. Successive halving prunes
    over environment steps and seeds. The best settings, and those of the grid, are run again on
    fresh seeds before one is chosen. It writes results/GRID/tuning/tuned.yaml, a grid for
    `run`, and report.html beside it.

    Several processes can run this command on one grid at the same time. After an interrupt, or if
    a process is killed, the same command continues; no run that is stored is executed again.

    The exit code is 1 if nothing could be chosen for an algorithm that was asked for, 2 if no trial
    of any has had a return, else 0.

    For example:

    sb3-course tune benchmarks/search_cartpole.yaml --dry-run

    sb3-course tune benchmarks/search_cartpole.yaml --workers 2 --only algorithm=NPG
    """
    brought = runtime_env_in(runtime_env, executor, address)
    from sb3_course.benchmark.tuning.tuner import plan_tuning, run_tuning

    plan = plan_tuning(grid, only=only or [], results=results)
    _show_plan(plan)
    if dry_run:
        return OK
    try:
        outcome = run_tuning(
            plan,
            executor=executor,
            workers=workers,
            address=address,
            runtime_env=brought,
            retries=retries,
            console=Console(stderr=True),
            command=command_line(),
        )
    except KeyboardInterrupt:
        print_error("interrupted: trials and runs are kept; the same command continues from there")
        return INTERRUPTED
    return _show(outcome, plan)


def _show_plan(plan: "TuningPlan") -> None:
    from sb3_course.benchmark.tuning.sensitivity import runs_of

    for subject in plan.subjects:
        search, rungs = subject.search, " → ".join(subject.rung_names)
        along = runs_of(subject, {})
        curves = f", {len(along)} runs for the sensitivity" if along else ""
        n_steps = subject.expected_steps() + sum(s.config.total_timesteps for s in along)
        print_line(
            f"{subject.label}: {search.trials} trials ({rungs}), the best {search.confirm.best} on "
            f"{len(search.fresh_seeds())} fresh seeds{curves}: about {n_steps:,} steps"
        )


def _show(outcome: "TuningOutcome", plan: "TuningPlan") -> int:
    from sb3_course.benchmark.tuning.finals import is_decided

    for line in (*outcome.provenance, str(outcome.tuned), str(outcome.page)):
        print_line(line)
    asked = {subject.label for subject in plan.subjects}
    mine = [finals for subject, finals in outcome.finals if subject.label in asked]
    return OK if all(map(is_decided, mine)) else FAILED
