"""Paths of any kind, read as one table: folders of logs, tables, grids and their results."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from sb3_course.benchmark.definition.field_types import Pair
from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.definition.yaml_source import GridSource
from sb3_course.benchmark.logs.layout import ZOO, ZOO_TENSORBOARD, Layout, check_name
from sb3_course.benchmark.logs.run_log import EVALUATION, Name, RunLog, read_run
from sb3_course.benchmark.logs.search import FoundRun, Unread, find_runs, kind_of, shown
from sb3_course.benchmark.logs.tidy_csv import read_tidy
from sb3_course.benchmark.storage.grids import JOURNAL, grid_in, stored_grid, stored_results
from sb3_course.benchmark.storage.returns_table import COLUMNS, tidy, without_result
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from sb3_course.common.files import remove_abandoned

POINTS = COLUMNS[3:]
RESULTS, TABLE = "results of sb3-course", "table"
"""Where returns are from, besides the kinds of log files."""
OF_LOGS = "a layout is of the paths of logs, and none is given: leave it out"
GRID_ENDINGS, TABLE_ENDING = (".yaml", ".yml"), ".csv"
LONGEST_LABEL = 40
SHOWN = 3
Absent = tuple[str, str, int, str]
Sources: TypeAlias = GridSource | Sequence[GridSource]


@dataclass(frozen=True)
class Logs:
    """What was read at one path, or at several.

    :param runs: The runs, each with its path and the kind of file that it was read from
    :param unread: Path of what could not be read, and the reason
    :param absent: Runs of grids that failed or have not been run: algorithm, environment, seed and
        reason
    :param grids: Grids whose results are among them, with the folders of the results
    :param questions: Pairs of algorithms that these grids ask about, by question
    """

    runs: list[RunLog]
    unread: list[Unread] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    grids: list[tuple[Grid, Path]] = field(default_factory=list)
    questions: dict[str, Pair] = field(default_factory=dict)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Returns of all runs, a row per point with :data:`.COLUMNS`; NaN for what is unknown."""
        named = [
            run.points.assign(algorithm=run.algorithm, environment=run.environment, seed=run.seed)
            for run in self.runs
        ]
        table = pd.concat([pd.DataFrame(columns=COLUMNS), *named][bool(named) :], ignore_index=True)
        return table[COLUMNS].sort_values(COLUMNS[:4], ignore_index=True)

    @cached_property
    def mixed(self) -> list[str]:
        """What is compared though RL Zoo trained it differently, one line each."""
        tasks: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        trained: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for run in self.runs:
            tasks[run.environment][run.task].append(run.algorithm)
            if run.setting:
                trained[run.algorithm, run.environment][run.setting].append(shown(run.path.name))
        return [
            *(
                f"{environment} is not the same task in all runs: RL Zoo's env_kwargs are "
                + "; ".join(f"{task or 'none'} ({_few(of)})" for task, of in found.items())
                for environment, found in tasks.items()
                if len(found) > 1
            ),
            *(
                f"{algorithm} on {environment} was trained with {len(found)} settings, says RL Zoo "
                f"({'; '.join(map(_few, found.values()))}), and is compared as one: give their "
                "folders apart, with labels as in other=PATH"
                for (algorithm, environment), found in trained.items()
                if len(found) > 1
            ),
        ]

    @property
    def problems(self) -> list[str]:
        """What could not be read, and what is compared against the grain, one line each."""
        return [*(_line(path, reason) for path, reason in self.unread), *map(shown, self.mixed)]


def grid_of(source: Sources, results: Path) -> tuple[Grid, Store] | None:
    """Return the grid that a source is, or whose results it holds, with the store of its results.

    :param source: Grid as a mapping or a file, or another path, or several
    :param results: Folder of the results of grids, with a subfolder for each
    :return: Grid and store; None for a folder without a grid's manifest, a table, a log or several
    :raises UserError: There are no results of the grid, or the folder's manifest is damaged or of
        another version
    """
    if not isinstance(source, str | Path | Mapping):
        return None
    path = Path() if isinstance(source, Mapping) else Path(source)
    if isinstance(source, Mapping) or _is_grid(path):
        grid = stored_grid(source, results)
        return grid, stored_results(grid, results)
    if not path.is_dir():
        return None
    if (path / JOURNAL).exists():
        raise UserError(
            f"{path} is a search, whose page `sb3-course tune` writes; the results of the grid are "
            f"in {path.parent}"
        )
    if (found := grid_in(path)) is None:
        if (path / "runs.jsonl").exists() or Store(path).finished():
            raise UserError(
                f"{path} has no manifest.json, which says of what grid its runs are: give the "
                "grid's file instead, as in `sb3-course report GRID.yaml`"
            )
        return None
    remove_abandoned(path)
    return found, Store(path)


def _is_grid(path: Path) -> bool:
    other = path.suffix == TABLE_ENDING or kind_of(path.name) is not None
    return path.suffix in GRID_ENDINGS or (path.is_file() and not other)


def read_logs(sources: Sources, layout: str | None = None, results: Path = Path("results")) -> Logs:
    """Read the runs below several paths.

    A path is a grid, a folder of results of this project, a CSV file with one row per evaluation, a
    folder of logs, or one log. ``LABEL=PATH`` writes the label after the names of its algorithms,
    as in ``PPO (LABEL)``. Of runs below one path with the same algorithm, environment and seed,
    which are no independent ones, the one with the most steps is read.

    :param sources: Path, or grid as a mapping; or several of them
    :param layout: Pattern of the paths of runs in folders of logs; None for RL Zoo's two, that of
        its logs and that of its TensorBoard files
    :param results: Folder of the results of grids, with a subfolder for each
    :return: Runs, and what could not be read
    :raises UserError: A path does not exist or has no log, the layout matches none of its logs, two
        paths have different runs of the same name, or grids that mean different environments by
        one name, or no run could be read
    """
    parsed = None if layout is None else Layout.parse(layout)
    several = [sources] if isinstance(sources, str | Path | Mapping) else sources
    found = [_labeled(source, parsed, results) for source in several]
    logs = Logs(
        _apart(run for part in found for run in part.runs),
        [line for part in found for line in part.unread],
        [line for part in found for line in part.absent],
        [grid for part in found for grid in part.grids],
        _questions(found),
    )
    if not (logs.runs or logs.absent):
        reasons = "; ".join(logs.problems[:SHOWN]) or "no path is given"
        raise UserError(f"no run could be read: {reasons}")
    if layout is not None and all(run.source in (RESULTS, TABLE) for run in logs.runs):
        raise UserError(OF_LOGS)
    _check_same_tasks(logs.grids)
    return logs


def _few(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    more = len(distinct) - SHOWN
    return ", ".join(distinct[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _line(path: Path, reason: str) -> str:
    return shown(reason) if str(path) in reason else f"{shown(path)}: {shown(reason)}"


def _labeled(source: GridSource, layout: Layout | None, results: Path) -> Logs:
    """Read what is at one path, which may have a label for the names of its algorithms."""
    label, sign, path = "", "", ""
    if not isinstance(source, Mapping) and not Path(source).exists():
        label, sign, path = str(source).partition("=")
    if not sign:
        return _read(source if isinstance(source, Mapping) else Path(source), layout, results)
    check_name(f"{source}: label", label, LONGEST_LABEL)
    found = _read(Path(path), layout, results)
    return Logs(
        [replace(run, algorithm=f"{run.algorithm} ({label})") for run in found.runs],
        found.unread,
        [(f"{run[0]} ({label})", *run[1:]) for run in found.absent],
        found.grids,
        {
            f"{question} ({label})": (f"{x} ({label})", f"{y} ({label})")
            for question, (x, y) in found.questions.items()
        },
    )


def _read(source: Path | Mapping[str, Any], layout: Layout | None, results: Path) -> Logs:
    """Read what is at one path."""
    if (found := grid_of(source, results)) is not None:
        return _results(*found)
    path = Path(str(source))
    if not path.exists():
        raise UserError(f"{shown(path)}: no such file or folder")
    if path.suffix == TABLE_ENDING and not kind_of(path.name):
        return _tidy(path)
    return _logs(path, layout)


def _results(grid: Grid, store: Store) -> Logs:
    """Read the results of a grid of this project."""
    specs = grid.runs()
    results = list(store.read(specs))
    finished = tidy(result for result in results if result.failure is None)
    absent = list(without_result(grid, results))
    runs = [run for _, run in finished.groupby(COLUMNS[:3], sort=False)]
    damage = [(store.folder, line) for line in store.damage(specs)]
    read = [_result(store.folder, run) for run in runs]
    return Logs(read, damage, absent, [(grid, store.folder)], dict(grid.questions))


def _result(folder: Path, run: pd.DataFrame) -> RunLog:
    first: Any = run.iloc[0]
    names = first["algorithm"], first["environment"], int(first["seed"])
    return RunLog(*names, folder, RESULTS, EVALUATION, run[POINTS])


def _tidy(path: Path) -> Logs:
    try:
        runs, unread = read_tidy(path)
    except UserError as error:
        return Logs([], [(path, str(error))])
    read = [RunLog(*run, path, TABLE, "", points) for run, points in runs.items()]
    left_out = [(path, f"{' · '.join(map(str, run))}: {why}") for run, why in unread.items()]
    return Logs(read, left_out)


def _logs(root: Path, layout: Layout | None) -> Logs:
    found, unread = find_runs(root, layout or Layout.parse(ZOO))
    if layout is None:
        swapped = {_swapped(run) for run in found}
        if True in swapped and False not in swapped:
            found, unread = find_runs(root, Layout.parse(ZOO_TENSORBOARD))
    runs = []
    for run in found:
        try:
            runs.append(read_run(run))
        except UserError as error:
            unread.append((run.path, str(error)))
    distinct, repeated = _distinct(runs)
    return Logs(distinct, [*unread, *repeated])


def _swapped(run: FoundRun) -> bool | None:
    """Whether a run's algorithm has the version of an environment, as in ``CartPole-v1/PPO_1``.

    None if neither part has a version, nor both.
    """
    algorithm, environment = (
        re.search(r"-v[0-9]+$", run.says[part]) is not None for part in ("algorithm", "environment")
    )
    return None if algorithm == environment else algorithm


def _questions(parts: Sequence[Logs]) -> dict[str, Pair]:
    """Return the questions of all grids; those that differ in their pair alone are numbered."""
    joined: dict[str, Pair] = {}
    for question, pair in (asked for part in parts for asked in part.questions.items()):
        names = chain([question], (f"{question} [{n}]" for n in count(2)))
        joined[next(name for name in names if joined.get(name, pair) == pair)] = pair
    return joined


def _distinct(runs: Sequence[RunLog]) -> tuple[list[RunLog], list[Unread]]:
    """Return the longest run of each name, in the order given, and the others."""
    kept: dict[Name, RunLog] = {}
    repeated: list[Unread] = []
    for run in runs:
        other = kept.setdefault(run.name, run)
        if other is not run:
            longer, shorter = (run, other) if _last(run) > _last(other) else (other, run)
            kept[run.name] = longer
            label = " · ".join(map(str, run.name))
            others = "" if run.setting == other.setting else ", with other settings"
            reason = f"the same run ({label}) as {shown(longer.path)}, which is read{others}"
            repeated.append((shorter.path, reason))
    return list(kept.values()), repeated


def _apart(runs: Iterable[RunLog]) -> list[RunLog]:
    """Return the runs of several paths; a run that two paths lead to is one."""
    kept: dict[Name, RunLog] = {}
    for run in runs:
        other = kept.setdefault(run.name, run)
        if other.path.resolve() != run.path.resolve():
            raise UserError(
                f"{' · '.join(map(str, run.name))} is in {shown(other.path)} and in "
                f"{shown(run.path)}; a label tells the algorithms of a path apart: mine=PATH"
            )
    return list(kept.values())


def _check_same_tasks(grids: Sequence[tuple[Grid, Path]]) -> None:
    """Check that grids mean the same by the name of an environment: returns of it are compared."""
    known: dict[str, tuple[Any, Path]] = {}
    for grid, folder in grids:
        for name in grid.environments:
            task = grid.config(next(iter(grid.algorithms)), name).env_settings
            other, where = known.setdefault(name, (task, folder))
            if other != task:
                here, there = (settings or "as it is registered" for settings in (task, other))
                raise UserError(
                    f"{name} in {shown(where)} ({there}) and in {shown(folder)} ({here}) are "
                    "different environments, whose returns are not compared: report them apart"
                )


def _last(run: RunLog) -> int:
    return int(run.points["num_timesteps"].max())
