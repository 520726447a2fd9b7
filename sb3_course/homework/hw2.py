"""The second homework: run an experiment's grid, draw its figure, compare it with the handout."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from rich.console import Console

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.plan import GridPlan, plan_grid, run_plan
from sb3_course.benchmark.reporting.drawing import files
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.returns_table import csv_of, tidy
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from sb3_course.common.files import shipped, write_atomically, write_whole
from sb3_course.homework import learning_curves
from sb3_course.homework.expectations import Outcome, outcome
from sb3_course.homework.experiments import Experiment, Reaches
from sb3_course.homework.own_returns import OwnReturns, Task, read_own

FIGURE, WITH_OWN = "learning_curves", "with_own_returns"
"""Names of the figure without and with a student's returns."""
STORED = ("manifest.json", "runs.jsonl")
"""Files of a grid's finished runs; the runs come last, so that a copy is whole if it has them."""


@dataclass(frozen=True)
class Published:
    """What came of an experiment.

    :param figure: Figure, as PNG
    :param outcomes: What came of each expectation, and of those that a student's returns meet
    :param failures: Runs that failed
    :param notes: What was read of a student's, in lines
    """

    figure: Path | None
    outcomes: list[Outcome]
    failures: list[RunResult]
    notes: list[str] = field(default_factory=list)


def plan(
    experiment: Experiment,
    seeds: int | None,
    fraction: float,
    results: Path,
    own: Sequence[str],
    fresh: bool = False,
) -> GridPlan:
    """Check an experiment's grid and the student's returns, and list the runs.

    :param experiment: Experiment
    :param seeds: Number of seeds; None for the grid's own
    :param fraction: Share of the handout's environment steps
    :param results: Folder of all results
    :param own: Words ``NAME=PATH`` of a student's returns
    :param fresh: Whether the stored runs that come with the package are left aside, and those in
        ``results`` are repeated
    :return: Plan of the grid
    :raises UserError: If anything in them is wrong
    """
    grid = experiment.grid(seeds, fraction)
    if not fresh:
        bring(grid["name"], results)
    found = plan_grid(grid, results=results, rerun=fresh)
    _own(experiment, own)  # what is wrong with them is told before the runs, not after
    return found


def bring(name: str, results: Path) -> None:
    """Copy the runs of a grid that come with the package to where there are none.

    :param name: Name of the grid
    :param results: Folder of all results
    """
    source, target = shipped(f"results/{name}"), results / name
    if Store(target).finished() or not (source / STORED[-1]).is_file():
        return
    for file in STORED:
        write_atomically(target / file, (source / file).read_bytes())


def run(
    experiment: Experiment,
    planned: GridPlan,
    own: Sequence[str] = (),
    *,
    workers: int | None = None,
    console: Console | None = None,
    command: str | None = None,
) -> Published:
    """Run what is left of an experiment, and publish it.

    :param experiment: Experiment
    :param planned: Plan from :func:`plan`
    :param own: Words ``NAME=PATH`` of a student's returns
    :param workers: Number of runs at a time; None for one per CPU
    :param console: Console on which progress is shown
    :param command: Command to record in the manifest
    :return: What came of it
    :raises KeyboardInterrupt: If interrupted by Ctrl-C; the same call continues from there
    """
    ended = run_plan(planned, workers=workers, report=False, console=console, command=command)
    if planned.rerun and ended.failures:
        return Published(None, [], ended.failures)
    return publish(experiment, planned, own)


def publish(experiment: Experiment, planned: GridPlan, own: Sequence[str] = ()) -> Published:
    """Draw the stored runs of an experiment, and compare them with what is expected.

    :param experiment: Experiment
    :param planned: Plan from :func:`plan`
    :param own: Words ``NAME=PATH`` of a student's returns
    :return: What came of it
    """
    grid, store = planned.grid, planned.kept
    specs = grid.runs()
    found = store.read(specs)
    failures = [result for result in found if result.failure is not None]
    finished = [result for result in found if result.failure is None]
    if len(finished) == len(specs):
        store.pack()
    table = tidy(finished)
    mine, notes = _own(experiment, own)
    curves = [pd.DataFrame(columns=learning_curves.CURVES)]
    if finished:
        write_whole(store.folder / "returns.csv", csv_of(table))
        curves.append(learning_curves.curves(table, steps_of(grid)))
    if own:
        curves.append(learning_curves.own_curves(mine))
    drawn = pd.concat(curves[1:] or curves, ignore_index=True)
    theirs = drawn.iloc[len(drawn) - len(curves[-1]) :] if own else drawn.iloc[:0]
    outcomes = outcomes_of(experiment, grid, table) + _outcomes_of_own(experiment, theirs)
    if drawn.empty:
        return Published(None, outcomes, failures, notes)
    names = [a for a in grid.algorithms if a in set(table["algorithm"])]
    look = learning_curves.looks(names, list(dict.fromkeys(theirs["algorithm"])))
    environments = [e for e in grid.environments if e in set(drawn["environment"])]
    figure = learning_curves.draw(drawn, environments, look)
    name = WITH_OWN if own else FIGURE
    files.save(figure, store.folder / "figures", name)
    return Published(store.folder / "figures" / f"{name}.png", outcomes, failures, notes)


def outcomes_of(experiment: Experiment, grid: Grid, table: pd.DataFrame) -> list[Outcome]:
    """Compare an experiment's returns with what is expected.

    :param experiment: Experiment
    :param grid: Its grid
    :param table: Tidy returns of its runs
    :return: What came of each expectation
    """
    found = pd.DataFrame(columns=learning_curves.CURVES)
    if not table.empty:
        found = learning_curves.curves(table, steps_of(grid))
    return [outcome(check, found) for check in experiment.checks]


def steps_of(grid: Grid) -> dict[str, list[int]]:
    """Return the declared steps of the evaluations.

    :param grid: Grid
    :return: Environment steps of each environment
    """
    return {
        name: (environment.evaluation or grid.evaluation).steps(environment.total_timesteps)
        for name, environment in grid.environments.items()
    }


def _own(experiment: Experiment, own: Sequence[str]) -> OwnReturns:
    grid = Grid.model_validate(experiment.grid())  # of the handout's size, as a student's runs are
    given = [settings.params.get("n_steps") for settings in grid.algorithms.values()]
    n_steps = max((steps for steps in given if isinstance(steps, int)), default=1)
    tasks = {
        name: Task(str(task.config(name).id), task.total_timesteps, n_steps * task.n_envs)
        for name, task in grid.environments.items()
    }
    found = read_own(own, tasks)
    for name in set(found.table.get("algorithm", ())) & set(grid.algorithms):
        raise UserError(f"--returns {name}=…: a stored algorithm has this name; choose another")
    return found


def _outcomes_of_own(experiment: Experiment, theirs: pd.DataFrame) -> list[Outcome]:
    """Return whether each of a student's curves gets as high as one is expected to."""
    outcomes = []
    for (environment, name), rows in theirs.groupby(["environment", "algorithm"], sort=False):
        checks = [
            check
            for check in experiment.checks
            if isinstance(check, Reaches) and check.environment == environment
        ]
        if checks:
            check = max(checks, key=lambda check: check.least)
            says = f"yours, on {environment}: {check.least:,.0f} or more"
            says += " at best, in one run" if check.one_run else ""
            outcomes.append(outcome(replace(check, says=says, algorithms=(str(name),)), rows))
    return outcomes
