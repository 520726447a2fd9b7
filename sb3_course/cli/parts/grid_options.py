"""Arguments that several commands on grids have, and what they say to the user."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from sb3_course.cli.parts.terminal import print_error, print_line
from sb3_course.common.files import check_link

if TYPE_CHECKING:
    from sb3_course.benchmark.definition.grid import Grid
    from sb3_course.benchmark.plan import GridPlan


def _no_file(path: Path) -> Path:
    """Refuse a folder that is a file, or below one."""
    check_link(path)
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir():
        raise typer.BadParameter(f"{there} is a file; allowed: a folder")
    return path


GridFile = Annotated[Path, typer.Argument(metavar="GRID", help="Grid file (YAML).")]
Results = Annotated[
    Path,
    typer.Option(
        "--results",
        metavar="DIR",
        help="Folder of all results, one subfolder per grid.",
        callback=_no_file,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", help="Parallel runs (default: one per CPU)."),
]
Executor = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Where runs execute: in processes of this machine, or on Ray."),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Running Ray cluster, as in 10.0.0.1:6379, or auto (default: start one here).",
    ),
]
RuntimeEnv = Annotated[
    Path | None,
    typer.Option(
        "--runtime-env",
        metavar="FILE",
        help="What Ray brings to each machine: YAML with Ray's keys, as in pip: [sb3-course].",
    ),
]
Retries = Annotated[
    int,
    typer.Option(
        "--retries", min=0, metavar="N", help="How often to retry a run whose process died."
    ),
]


def runtime_env_in(file: Path | None, executor: str, address: str | None) -> dict[str, Any] | None:
    """Read what Ray is to bring to each machine; options of a cluster are given with one alone.

    :param file: Value of ``--runtime-env``, a YAML file; None for nothing
    :param executor: Where runs execute
    :param address: Value of ``--address``
    :return: Content of the file
    :raises typer.BadParameter: If one of both is given without Ray
    :raises UserError: If the file cannot be read, or is no mapping
    """
    from yaml import YAMLError

    from sb3_course.common.errors import UserError
    from sb3_course.common.yaml_values import described, read_yaml

    for option, value in (("--address", address), ("--runtime-env", file)):
        if value is not None and executor != "ray":
            raise typer.BadParameter(f"{option} requires --executor ray")
    if file is None:
        return None
    try:
        content = read_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--runtime-env: {file} cannot be read: {error}") from error
    except YAMLError as error:
        raise UserError(f"--runtime-env: {file}, {described(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"--runtime-env: {file} is no mapping, as in pip: [sb3-course]")
    return content


def show_damage(grid: "Grid", results: Path) -> list[str]:
    """Print a line for each damaged result.

    :param grid: Grid
    :param results: Folder of all results
    :return: Lines
    """
    from sb3_course.benchmark.storage.store import Store

    lines = Store(results / grid.name).damage(grid.runs())
    for line in lines:
        print_error(line)
    return lines


def console() -> Console:
    """Return a console that wraps lines only on a terminal."""
    return Console() if sys.stdout.isatty() else Console(width=1000)


def command_line() -> str:
    """Return the running command; files outside the working directory keep only their names."""
    here = Path.cwd()
    words = []
    for word in sys.argv[1:]:
        path = Path(word)
        inside = path.is_absolute() and path.is_relative_to(here)
        short = str(path.relative_to(here)) if inside else path.name
        words.append(short if path.is_absolute() else word)
    return shlex.join(["sb3-course", *words])


def show_plan(plan: "GridPlan") -> None:
    """Print what a command is about to run.

    :param plan: Plan of a grid
    """
    what = "runs to repeat" if plan.rerun else "runs"
    n_runs, n_todo = len(plan.runs), len(plan.todo)
    print_line(f"{plan.grid.name}: {n_runs} {what}, {n_runs - n_todo} done, {n_todo} to do")
    for note in plan.notes:
        print_line(note)
    if plan.rerun and plan.todo and "-dirty" in plan.store.folder.name:
        print_error("uncommitted changes: the stored runs will name their commit with -dirty")
