"""The command ``slurm``, which writes what a cluster's scheduler runs."""

from pathlib import Path
from typing import Annotated

import typer

from sb3_course.cli.parts.grid_options import GridFile, Results, command_line
from sb3_course.cli.parts.terminal import OK, print_error, print_line


def slurm(
    grid: GridFile,
    array: Annotated[
        int, typer.Option("--array", min=1, max=10_000, metavar="N", help="Number of tasks.")
    ],
    time: Annotated[
        str,
        typer.Option("--time", metavar="TIME", help="Time limit of a task, as sbatch takes it."),
    ],
    cpus: Annotated[
        int,
        typer.Option("--cpus", min=1, metavar="N", help="CPUs of a task: runs at a time."),
    ] = 1,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(
            "--sbatch",
            metavar="OPTION",
            help="Further option of sbatch without its dashes, as in partition=long; repeatable.",
        ),
    ] = None,
    results: Results = Path("results"),
) -> int:
    """Write the script of a Slurm array whose tasks share a grid.

    Started with bash, the script submits an array and, after it, a job that writes the report. Each
    task executes runs that no other one has, so the array may be smaller than the grid. A task that
    is preempted, or runs out of time, goes back into Slurm's queue; with checkpoint_every in the
    grid, its runs then go on from their checkpoints. All machines must share the folder of results.

    For example:

    sb3-course slurm benchmarks/classic.yaml --array 16 --time 4:00:00 --cpus 4 > job.sh

    sb3-course slurm benchmarks/classic.yaml --array 16 --time 1-12 --sbatch partition=long > job.sh

    bash job.sh
    """
    from sb3_course.benchmark.definition.checks import checked_grid
    from sb3_course.benchmark.execution.clusters.slurm import SlurmArray, notes, script

    asked = SlurmArray(array, time, cpus, tuple(sbatch or ()))
    checked = checked_grid(grid)
    for note in notes(checked, asked):
        print_error(note)
    print_line(script(checked, grid, asked, results, command_line()).rstrip("\n"))
    return OK
