"""Returns that a student brings: csv files, or the TensorBoard logs of the homework's own code.

===================  ==============================================================================
at a path            is read as
===================  ==============================================================================
csv                  one row per evaluation, with ``step`` and ``return_mean`` (or ``return``), and
                     perhaps ``seed`` and ``environment``
event file           the homework's log: ``Eval_AverageReturn`` at ``Train_EnvstepsSoFar``, both of
                     the same iteration
folder               all event files below it, each folder one run; those that the handout's code
                     has named after another environment are left out
===================  ==============================================================================

A run that does not say which of an experiment's tasks it is of is drawn in the one whose batches
are nearest to its own, or, of a csv file, whose number of steps is: small and large batches of
CartPole have 1,000 and 4,000 steps and end after 100,000 and 400,000.
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sb3_course.benchmark.logs.csv_text import read_csv
from sb3_course.benchmark.logs.points import points
from sb3_course.benchmark.logs.scalars import read_events
from sb3_course.benchmark.logs.search import EVENTS, kind_of
from sb3_course.benchmark.logs.tidy_csv import RETURNS
from sb3_course.common.errors import UserError, unknown

RETURN, STEPS = "Eval_AverageReturn", "Train_EnvstepsSoFar"
"""Names in the homework's log; both are logged once an iteration."""
MOST_FILES = 1000
HANDOUTS = re.compile(r"_([A-Za-z]\w*)-v\d+_\d\d-\d\d-\d{4}_\d\d-\d\d-\d\d")
"""What the handout's code adds to the name of a run's folder: environment, day and time."""


class Task(NamedTuple):
    """What a panel of an experiment's figure shows.

    :param env_id: Gymnasium id
    :param timesteps: Environment steps of a run
    :param batch: Environment steps of a batch
    """

    env_id: str
    timesteps: int
    batch: int


class OwnRun(NamedTuple):
    """A run that a student brings.

    :param place: File or folder
    :param environment: Name of the task, if that is said
    :param batch: Environment steps of a batch; 0 if unknown
    :param table: Its points
    """

    place: Path
    environment: str
    batch: float
    table: pd.DataFrame


class OwnReturns(NamedTuple):
    """What a student brings.

    :param table: Tidy returns: ``algorithm, environment, seed, step, return_mean, num_timesteps,
        wall_time``
    :param notes: A line for each run that was read, and for what was left out
    """

    table: pd.DataFrame
    notes: list[str]


def read_own(named: Sequence[str], tasks: Mapping[str, Task]) -> OwnReturns:
    """Read what a student brings.

    :param named: Words ``NAME=PATH``; paths of the same name are runs with different seeds
    :param tasks: Tasks of the experiment
    :return: Their returns
    :raises UserError: A word is none, what is at a path cannot be read, or the runs of a name have
        no step in common; names the path
    """
    runs: list[pd.DataFrame] = []
    notes: list[str] = []
    for word in named:
        name, sign, text = word.partition("=")
        if not (name.strip() and name.isprintable() and sign and text):
            raise UserError(f"--returns {word[:80]!r}; allowed: NAME=PATH, as in mine=data")
        path = Path(text)
        found, left_out = _of_tasks(path, _runs_at(path), tasks)
        notes += left_out
        for run in found:
            where = run.environment or nearest(run, tasks)
            if where not in tasks:
                raise UserError(f"{path}: {unknown('environment', where, tasks)}")
            seed = sum(other["algorithm"].iloc[0] == name for other in runs)
            runs.append(run.table.assign(algorithm=name, environment=where, seed=seed))
            end = run.table["step"].max()
            notes.append(f"{name}, seed {seed}: {run.place}, {where}, to {end:,.0f} steps")
    table = pd.concat(runs, ignore_index=True) if runs else pd.DataFrame()
    return OwnReturns(table, notes + _cut(table))


def _of_tasks(
    path: Path, runs: Sequence[OwnRun], tasks: Mapping[str, Task]
) -> tuple[list[OwnRun], list[str]]:
    """Leave out the runs whose folders are named after other environments, and say so."""
    known = {task.env_id.partition("-v")[0] for task in tasks.values()}
    kept, left_out = [], []
    for run in runs:
        named = HANDOUTS.search(str(run.place.absolute()))
        if named is None or named[1].rpartition("_")[2] in known:
            kept.append(run)
        else:
            left_out.append(f"left out: {run.place}, of {named[1].rpartition('_')[2]}")
    if runs and not kept:
        raise UserError(f"{path}: no run of {' or '.join(sorted(known))} in it; {left_out[0]}")
    return kept, left_out


def _cut(table: pd.DataFrame) -> list[str]:
    """Return which curves end early, as they are means over all of their runs."""
    notes: list[str] = []
    if table.empty:
        return notes
    for (environment, name), rows in table.groupby(["environment", "algorithm"]):
        ends = rows.groupby("seed")["step"].max()
        begin, end = rows.groupby("seed")["step"].min().max(), ends.min()
        where = f"{name}, {environment}"
        if begin > end:
            raise UserError(
                f"--returns {where}: its runs have no step in common, as seed {ends.idxmin()} ends "
                f"at {end:,.0f}: leave that one out, or give it another name"
            )
        if end < 0.9 * ends.max():
            notes.append(f"{where}: the curve ends at {end:,.0f} steps, with seed {ends.idxmin()}")
    return notes


def nearest(run: OwnRun, tasks: Mapping[str, Task]) -> str:
    """Return the task with the nearest batches, or number of steps if those are unknown, by ratio.

    :param run: Run
    :param tasks: Tasks
    :return: Name of the task
    """
    size = run.batch or float(run.table["step"].max())

    def distance(name: str) -> float:
        task = tasks[name]
        return abs(math.log(max(1.0, size) / (task.batch if run.batch else task.timesteps)))

    return min(tasks, key=distance)


def _runs_at(path: Path) -> list[OwnRun]:
    """Return the runs at a path."""
    if path.is_dir():
        folders: dict[Path, list[Path]] = defaultdict(list)
        for file in sorted(path.rglob("*")):
            if kind_of(file.name) == EVENTS and file.is_file():
                folders[file.parent].append(file)
        if not folders or len(folders) > MOST_FILES:
            raise UserError(f"{path}: {len(folders)} folders with event files; allowed: 1 to 1,000")
        return [_of_events(folder, files) for folder, files in folders.items()]
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder")
    if kind_of(path.name) == EVENTS:
        return [_of_events(path, [path])]
    if path.suffix == ".csv":
        return _of_csv(path)
    raise UserError(f"{path}: allowed: a .csv file, an event file of TensorBoard, or a folder")


def _of_events(place: Path, files: Sequence[Path]) -> OwnRun:
    """Read a log of the homework's code, whose steps are iterations."""
    scalars = read_events(files, (RETURN, STEPS))
    lacking = [name for name in (RETURN, STEPS) if name not in scalars]
    if lacking:
        raise UserError(f"{files[0]}: no {' and no '.join(lacking)} in it, as the homework logs")
    taken = dict(zip(scalars[STEPS].steps, scalars[STEPS].values, strict=True))
    logged = zip(scalars[RETURN].steps, scalars[RETURN].values, strict=True)
    pairs = [(round(taken[i]), value) for i, value in logged if i in taken]
    table = _points(files[0], pairs)
    return OwnRun(place, "", float(np.median(np.diff(table["step"], prepend=0))), table)


def _of_csv(path: Path) -> list[OwnRun]:
    try:
        table = read_csv(path)
        column = next((name for name in RETURNS if name in table.header), RETURNS[0])
        steps, values = table.numbers("step"), table.numbers(column)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    several = set(table.text("algorithm")) if "algorithm" in table.header else set()
    if len(several) > 1:
        raise UserError(f"{path}: of {', '.join(sorted(several))[:200]}; allowed: one algorithm")
    blank = [""] * len(steps)
    cells = (
        table.text(name) if name in table.header else blank for name in ("environment", "seed")
    )
    of_run = zip(*([cell.strip() for cell in column] for column in cells), strict=True)
    runs: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for run, pair in zip(of_run, zip(steps, values, strict=True), strict=True):
        runs[run].append(pair)
    if not runs:
        raise UserError(f"{path}: no row in it")
    for (environment, seed), pairs in runs.items():
        if len({step for step, _ in pairs}) < len(pairs):
            which = " and ".join(word for word in (environment, seed) if word)
            raise UserError(
                f"{path}: two rows with the same step{f' of {which}' * bool(which)}; allowed: one "
                "row for each step of a run, with its seed in a column `seed`"
            )
    return [
        OwnRun(path, environment, 0.0, _points(path, pairs))
        for (environment, _), pairs in runs.items()
    ]


def _points(path: Path, pairs: Sequence[tuple[float, float]]) -> pd.DataFrame:
    try:
        return points(*zip(*pairs, strict=True)) if pairs else points([], [])
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
