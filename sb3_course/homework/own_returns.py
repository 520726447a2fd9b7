"""Returns that a student brings: csv files, or the TensorBoard logs of the homework's own code.

===================  ==============================================================================
at a path            is read as
===================  ==============================================================================
csv                  one row per evaluation, with ``step`` and ``return_mean`` (or ``return``), and
                     perhaps ``seed`` and ``environment``
event file           the homework's log: ``Eval_AverageReturn`` at ``Train_EnvstepsSoFar``, both of
                     the same iteration
folder               all event files below it, each folder one run
===================  ==============================================================================

A run that does not say which of an experiment's environments it is of is drawn in the one whose
number of steps is nearest to its own: small and large batches of CartPole end after 100,000 and
400,000 steps.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

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


def read_own(named: Sequence[str], lengths: Mapping[str, int]) -> pd.DataFrame:
    """Read what a student brings.

    :param named: Words ``NAME=PATH``; paths of the same name are runs with different seeds
    :param lengths: Environments of the experiment, with their numbers of steps
    :return: Tidy returns: ``algorithm, environment, seed, step, return_mean, num_timesteps,
        wall_time``
    :raises UserError: A word is none, or what is at a path cannot be read; names the path
    """
    runs: list[pd.DataFrame] = []
    for word in named:
        name, sign, text = word.partition("=")
        if not (name.strip() and name.isprintable() and sign and text):
            raise UserError(f"--returns {word[:80]!r}; allowed: NAME=PATH, as in mine=data")
        path = Path(text)
        found = _runs_at(path)
        for environment, table in found:
            where = environment or nearest(int(table["step"].max()), lengths)
            if where not in lengths:
                raise UserError(f"{path}: {unknown('environment', where, lengths)}")
            seed = sum(run["algorithm"].iloc[0] == name for run in runs)
            runs.append(table.assign(algorithm=name, environment=where, seed=seed))
    return pd.concat(runs, ignore_index=True) if runs else pd.DataFrame()


def nearest(steps: int, lengths: Mapping[str, int]) -> str:
    """Return the environment whose number of steps is nearest, as a ratio.

    :param steps: Environment steps of a run
    :param lengths: Number of steps by environment
    :return: Name of the environment
    """
    return min(lengths, key=lambda name: abs(math.log(max(1, steps) / lengths[name])))


def _runs_at(path: Path) -> list[tuple[str, pd.DataFrame]]:
    """Return the runs at a path, each with the name of its environment if that is said."""
    if path.is_dir():
        folders: dict[Path, list[Path]] = defaultdict(list)
        for file in sorted(path.rglob("*")):
            if kind_of(file.name) == EVENTS and file.is_file():
                folders[file.parent].append(file)
        if not folders or len(folders) > MOST_FILES:
            raise UserError(f"{path}: {len(folders)} folders with event files; allowed: 1 to 1,000")
        return [("", _of_events(files)) for files in folders.values()]
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder")
    if kind_of(path.name) == EVENTS:
        return [("", _of_events([path]))]
    if path.suffix == ".csv":
        return _of_csv(path)
    raise UserError(f"{path}: allowed: a .csv file, an event file of TensorBoard, or a folder")


def _of_events(files: Sequence[Path]) -> pd.DataFrame:
    """Read a log of the homework's code, whose steps are iterations."""
    scalars = read_events(files, (RETURN, STEPS))
    lacking = [name for name in (RETURN, STEPS) if name not in scalars]
    if lacking:
        raise UserError(f"{files[0]}: no {' and no '.join(lacking)} in it, as the homework logs")
    taken = dict(zip(scalars[STEPS].steps, scalars[STEPS].values, strict=True))
    logged = zip(scalars[RETURN].steps, scalars[RETURN].values, strict=True)
    pairs = [(round(taken[i]), value) for i, value in logged if i in taken]
    return _points(files[0], pairs)


def _of_csv(path: Path) -> list[tuple[str, pd.DataFrame]]:
    try:
        table = read_csv(path)
        column = next((name for name in RETURNS if name in table.header), RETURNS[0])
        steps, values = table.numbers("step"), table.numbers(column)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
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
    return [(environment, _points(path, pairs)) for (environment, _), pairs in runs.items()]


def _points(path: Path, pairs: Sequence[tuple[float, float]]) -> pd.DataFrame:
    try:
        return points(*zip(*pairs, strict=True)) if pairs else points([], [])
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
