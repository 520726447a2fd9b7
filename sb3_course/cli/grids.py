"""Commands on what a grid has stored: ``status``, ``references``, ``regression``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sb3_course.cli.parts.grid_options import (
    GridFile,
    Results,
    Workers,
    console,
    show_damage,
)
from sb3_course.cli.parts.terminal import (
    FAILED,
    INTERRUPTED,
    OK,
    print_error,
    print_line,
)
from sb3_course.common.errors import UserError
from sb3_course.common.files import check_can_write_into
from sb3_course.common.numbers import readable

if TYPE_CHECKING:
    from sb3_course.benchmark.definition.grid import Grid
    from sb3_course.benchmark.storage.references import MeasuredReference


def status(grid: GridFile, results: Results = Path("results")) -> int:
    """Show the state of a grid: done, running, failed and missing runs, and the time left.

    Of a grid with a `search`, the trials of each study follow.

    The exit code is 1 if a run failed or a result is damaged, else 0.

    For example:

    sb3-course status benchmarks/demo.yaml

    watch -n 10 sb3-course status benchmarks/demo.yaml --results my_results
    """
    from sb3_course.benchmark.execution.rerun import other_user_code
    from sb3_course.benchmark.execution.status import read_status, repeated, show
    from sb3_course.benchmark.storage.grids import TUNING, stored_grid
    from sb3_course.benchmark.storage.store import Store

    loaded = stored_grid(grid, results)
    found = read_status(loaded.runs(), results / loaded.name)
    show(found, console())
    for line in repeated(loaded.runs(), results / loaded.name):
        print_line(line)
    if words := other_user_code(loaded.runs(), Store(results / loaded.name)):
        print_line(words)
    tuning, lost = results / loaded.name / TUNING, list[str]()
    if loaded.search is not None and tuning.is_dir():
        from sb3_course.benchmark.tuning.progress import show_status

        lost = show_status(loaded, tuning, console())
        for line in lost:
            print_error(line)
    damaged = show_damage(loaded, results) + lost
    return FAILED if found.failures or damaged else OK


def references(
    grid: GridFile,
    episodes: Annotated[
        int, typer.Option("--episodes", min=2, metavar="N", help="Episodes on each environment.")
    ] = 100,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, max=2**31, metavar="S", help="Seed of the first episode."),
    ] = 0,
    results: Results = Path("results"),
) -> int:
    """Measure the return of random actions where a grid's scores need it: the score 0.

    The score 1 is an expert's return: what the grid declares, as in `references: {MyTask: {expert:
    100}}`, or else Gymnasium's reward threshold. Aggregates over environments take those that have
    both; every other statistic needs neither. What is measured is kept in results/GRID.

    For example:

    sb3-course references my_grid.yaml

    sb3-course references my_grid.yaml --episodes 1000 && sb3-course report my_grid.yaml
    """
    from sb3_course.benchmark.definition.checks import checked_grid
    from sb3_course.benchmark.references import measured, unknown_random
    from sb3_course.benchmark.statistics.scores import references_of
    from sb3_course.benchmark.storage.references import read_references, write_references

    loaded = checked_grid(grid)
    folder = results / loaded.name
    check_can_write_into("--results", folder)
    found = read_references(folder)
    code = OK
    for name in unknown_random(loaded):
        try:
            reference = measured(loaded.environments[name].config(name), episodes, seed)
        except UserError as error:
            print_error(f"{name}: {error}")
            code = FAILED
            continue
        found[name] = reference
        write_references(folder, found)
        mean, low, high = readable(reference.random, reference.low, reference.high, least=2)
        print_line(
            f"{name}: random actions {mean} [{low}, {high}], {episodes} episodes from seed {seed}"
        )
    known = references_of(loaded, found).environments
    table = Table("environment", "0: random", "1: expert", "expert")
    for name in loaded.environments:
        scale = known.get(name)
        cells = ("—", "—", _to_add(loaded, name, found.get(name)))
        if scale is not None:
            ends = readable(scale.random, scale.expert, least=2)
            cells = (ends[0], ends[1], scale.expert_name)
        table.add_row(*map(Text, (name, *cells)))
    console().print(table)
    return code


def _to_add(grid: "Grid", name: str, measured: "MeasuredReference | None") -> str:
    """Return what a scale of an environment lacks."""
    declared = grid.references.get(name)
    if declared is None:
        return f"missing: add references: {{{name}: {{expert: NUMBER}}}} to the grid"
    if measured is None:
        return "the return of random actions could not be measured"
    return f"the declared expert {declared.expert:g} is not above random {measured.random:g}"


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
    from sb3_course.benchmark.statistics.regression import table
    from sb3_course.benchmark.storage.grids import stored_grid

    show_damage(stored_grid(grid, results), results)
    try:
        compared = compare_with_stored(
            grid, seeds, results=results, workers=workers, console=Console(stderr=True)
        )
    except KeyboardInterrupt:
        print_error("interrupted: new runs are discarded, stored results are unchanged")
        return INTERRUPTED
    console().print(table(compared, sys.stdout.isatty()))
    bad = [str(comparison) for comparison in compared if not comparison.verdict.good]
    for line in bad:
        print_error(line)
    return FAILED if bad else OK
