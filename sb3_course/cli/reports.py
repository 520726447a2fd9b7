"""The command ``report``: of a grid, or of anybody's logs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sb3_course.cli.parts.grid_options import Results
from sb3_course.cli.parts.terminal import FAILED, OK, print_error, print_line

SHOWN = 20


def report(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Grid file; or folders of results or logs, tables (CSV) or logs, each as PATH "
            "or LABEL=PATH.",
        ),
    ],
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Meaning of the parts of a log's path (default: RL Zoo's, "
            "{algorithm}/{environment}_{seed}).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the report (default: the grid's, else report/ in --results).",
        ),
    ] = None,
    results: Results = Path("results"),
) -> int:
    """Write tables, figures and the report page of a grid, or of logs that others have written.

    Of a grid, the folder zoo/ next to them holds the returns in RL Zoo's layout, for rl_zoo3's plot
    scripts.

    Several paths make one report. It reads results of this program, tables with one row per
    evaluation (algorithm, environment, seed, step, return_mean), and the logs of Stable-Baselines3:
    evaluations.npz, monitor.csv, progress.csv and TensorBoard's files. What could not be read is
    shown, and listed in the report. A label is written after the names of a path's algorithms, so
    that they are told apart from those of another path. In a layout, * stands for any text within
    a name.

    The exit code is 1 if something could not be read, and so is in no statistic, else 0.

    For example:

    sb3-course report benchmarks/demo.yaml

    sb3-course report results/demo zoo=rl-baselines3-zoo/logs --out compared

    sb3-course report runs --layout '{environment}/{algorithm}_{seed}'
    """
    from sb3_course.benchmark.api import write_report

    problems: list[str] = []

    def tell(lines: Sequence[str]) -> None:
        problems.extend(lines)
        _show(lines)

    source = paths[0] if len(paths) == 1 else paths
    page = write_report(source, layout=layout, results=results, out=out, tell=tell)
    print_line(str(page))
    return FAILED if problems else OK


def _show(problems: Sequence[str]) -> None:
    for line in problems[:SHOWN]:
        print_error(line)
    if len(problems) > SHOWN:
        print_error(f"and {len(problems) - SHOWN:,} more, which the report lists")
