"""The commands of the course's homeworks: ``homework hw1`` and ``homework hw2``."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sb3_course.cli.parts.grid_options import Results, Workers, command_line, show_plan
from sb3_course.cli.parts.terminal import (
    FAILED,
    INTERRUPTED,
    OK,
    RUNS_KEPT,
    print_error,
    print_line,
)
from sb3_course.homework.experiments import ANALYSIS, EXPERIMENTS, NAMES, check_names

if TYPE_CHECKING:
    from sb3_course.homework.expectations import Outcome

homework = typer.Typer(
    help="Run the experiments of CS285's homeworks (fall 2023).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@homework.command(short_help="The experiments of homework 1: behavioral cloning and DAgger.")
def hw1(
    files: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Folder with your copies of the homework's files, at any depth: experts such as "
            "Ant.pkl, demonstrations such as expert_data_Ant-v4.pkl.",
        ),
    ],
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Number of seeds.")] = 3,
    rounds: Annotated[
        int, typer.Option(min=0, metavar="N", help="Rounds of DAgger after cloning.")
    ] = 6,
    results: Results = Path("results"),
) -> int:
    """Run the experiments of homework 1 (imitation), beside returns from one student's notes.

    Tasks whose files are missing are listed. Finished runs are stored, so that the same command
    continues. The files are read as plain data; nothing in them is executed.

    For example:

    sb3-course homework hw1 --files homework_fall2023/hw1/cs285

    sb3-course homework hw1 --files hw1 --seeds 1 --rounds 1
    """
    from sb3_course.homework import hw1 as homework1

    tasks, missing = homework1.find_tasks(files)
    for line in missing:
        print_error(f"left out: {line}")
    planned, folder = homework1.plan(tasks, seeds, rounds), results / homework1.NAME
    code = OK
    try:
        homework1.execute(tasks, planned, folder, print_line)
    except KeyboardInterrupt:
        print_error(RUNS_KEPT)
        code = INTERRUPTED
    rows, figure = homework1.publish(planned, folder)
    if figure is not None:
        _print(Table(*homework1.TABLE, title="Returns of cloned policies"), rows)
        print_line(str(figure))
    return code


@homework.command(short_help="The experiments of homework 2: policy gradients.")
def hw2(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EXPERIMENT",
            help=f"Some of {', '.join(NAMES)} (default: all but humanoid, which takes half a day).",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Number of seeds (default: 3, of pendulum 5, of humanoid 1)."
        ),
    ] = None,
    fraction: Annotated[
        float,
        typer.Option(metavar="F", help="Share of the handout's environment steps, as in 0.1."),
    ] = 1.0,
    returns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="Your own returns: csv, the homework's TensorBoard log, or a folder; repeatable.",
        ),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Run all again, without the runs that come with the package."),
    ] = False,
    workers: Workers = None,
    results: Results = Path("results"),
) -> int:
    """Run the experiments of homework 2 (policy gradients), draw and check them.

    Runs that come with the package are not repeated. Finished runs are stored, so that the same
    command continues. With --returns, your own learning curves are in the same figure.

    For example:

    sb3-course homework hw2 cartpole

    sb3-course homework hw2 cheetah --fraction 0.1 --seeds 2

    sb3-course homework hw2 lunarlander --returns mine=data

    sb3-course homework hw2 analysis
    """
    names = check_names(experiments or [])
    if returns and len([name for name in names if name != ANALYSIS]) != 1:
        raise typer.BadParameter("--returns requires one EXPERIMENT, that of the returns")
    code = OK
    for name in names:
        if name == ANALYSIS:
            code = max(code, _analysis(results))
        else:
            how = (seeds, fraction, results, returns or [], fresh)
            code = max(code, _experiment(name, *how, workers=workers))
        if code == INTERRUPTED:
            break
    return code


def _experiment(
    name: str,
    seeds: int | None,
    fraction: float,
    results: Path,
    returns: list[str],
    fresh: bool,
    workers: int | None,
) -> int:
    from sb3_course.homework import hw2 as homework2

    experiment = EXPERIMENTS[name]
    planned = homework2.plan(experiment, seeds, fraction, results, returns, fresh)
    show_plan(planned)
    try:
        published = homework2.run(
            experiment,
            planned,
            returns,
            workers=workers,
            console=Console(stderr=True),
            command=command_line(),
        )
    except KeyboardInterrupt:
        print_error(RUNS_KEPT)
        return INTERRUPTED
    for result in published.failures:
        print_error(f"failed: {result.spec.label}: {result.reason}")
    if planned.rerun and published.failures:
        print_error(
            f"stored results in {planned.kept.folder} are unchanged: the same command continues"
        )
        return FAILED
    for line in published.notes:
        print_line(line)
    _show(experiment.title, published.outcomes)
    if fraction < 1:
        print_line(f"With {fraction:g} of the steps; what is expected is expected of all of them.")
    if published.figure is not None:
        print_line(str(published.figure))
    return FAILED if published.failures else OK


def _analysis(results: Path) -> int:
    from sb3_course.homework import analysis

    folder = results / analysis.NAME
    try:
        table, off = analysis.analyze(folder, note=print_line)
    except KeyboardInterrupt:
        print_error("interrupted: nothing is written")
        return INTERRUPTED
    _print(
        Table(*analysis.TABLE, title="One parameter: gradient and variance"),
        analysis.rows_of(table),
    )
    for row in off.itertuples():
        print_error(f"{row.kind}, {row.process}, θ = {row.theta}: the sampled gradient is far off")
    print_line(str(folder / "figures" / "analysis.png"))
    return OK if off.empty else FAILED


def _show(title: str, outcomes: "list[Outcome]") -> None:
    from sb3_course.homework.expectations import TABLE

    _print(Table(*TABLE, title=title), [result.row for result in outcomes])


def _print(table: Table, rows: Iterable[Sequence[str]]) -> None:
    table.title_justify = "left"
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(table)
