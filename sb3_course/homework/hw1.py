"""The first homework: behavioral cloning and DAgger with the homework's own files."""

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sb3_course.benchmark.reporting.drawing import figures, files, plots
from sb3_course.benchmark.reporting.drawing.figures import Panel
from sb3_course.benchmark.reporting.drawing.files import INK
from sb3_course.benchmark.reporting.drawing.styles import COLORS, Style
from sb3_course.benchmark.storage.run_files import RunFiles
from sb3_course.common.errors import UserError
from sb3_course.common.files import check_can_write_into, write_whole
from sb3_course.homework import imitation_runs
from sb3_course.imitation import load_cs285_demonstrations, load_cs285_expert
from sb3_course.imitation.command import HOMEWORK, N_EVALUATED

Round: TypeAlias = tuple[str, int, float, int, float, float]
"""Environment, seed, the expert's return, number of the round, mean and deviation of returns."""
NAME = "homework_hw1"
NOTES: Mapping[str, Mapping[int, int]] = {
    "Ant-v4": {0: 4795},
    "Walker2d-v4": {0: 999, 1: 5408},
    "HalfCheetah-v4": {0: 4071},
    "Hopper-v4": {0: 1542},
}
"""The four tasks, and the returns that one student's notes report after rounds; round 0 is BC."""
TABLE = ("task", "after", "seeds", "mean", "over seeds", "over episodes", "of the expert", "notes")
"""Columns of the table."""
MOST_ENTRIES = 20_000
"""Maximum number of files and folders that are looked at for the homework's."""


@dataclass(frozen=True)
class Task:
    """The homework's files of one task.

    :param environment: Gymnasium id
    :param expert: File of the expert
    :param demonstrations: File of its demonstrations
    """

    environment: str
    expert: Path
    demonstrations: Path

    @property
    def digest(self) -> str:
        """Digest of both files: other files are other runs."""
        content = self.expert.read_bytes() + self.demonstrations.read_bytes()
        return hashlib.sha256(content).hexdigest()[:8]


@dataclass(frozen=True)
class Run:
    """One run: a task, a seed and a number of rounds."""

    environment: str
    seed: int
    rounds: int
    episodes: int
    digest: str

    @property
    def name(self) -> str:
        """Name of the run's file, without its suffix."""
        return f"{self.environment.lower()}_seed{self.seed}_{self.rounds}rounds_{self.digest}"


def find_tasks(folder: Path) -> tuple[list[Task], list[str]]:
    """Find the homework's files, such as ``Ant.pkl`` and ``expert_data_Ant-v4.pkl``.

    :param folder: Folder that has them, at any depth
    :return: Tasks that have both, and a line on each task that has not
    :raises UserError: There is no such folder, or no task has both
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; --files is that of the homework's .pkl files")
    found: dict[str, Path] = {}
    for number, path in enumerate(folder.rglob("*")):
        if number >= MOST_ENTRIES:
            raise UserError(f"{folder}: more than {MOST_ENTRIES:,} files and folders; give fewer")
        if path.suffix == ".pkl" and path.is_file():
            found.setdefault(path.name, path)
    tasks, missing = [], []
    for environment in NOTES:
        names = f"{environment.partition('-')[0]}.pkl", f"expert_data_{environment}.pkl"
        lacking = [name for name in names if name not in found]
        if lacking:
            missing.append(f"{environment}: no {' and no '.join(lacking)}")
        else:
            tasks.append(Task(environment, *(found[name] for name in names)))
    if not tasks:
        raise UserError(f"{folder} has the files of no task: {'; '.join(missing)}")
    return tasks, missing


def plan(tasks: Sequence[Task], seeds: int, rounds: int) -> list[Run]:
    """List the runs.

    :param tasks: Tasks
    :param seeds: Number of seeds
    :param rounds: Number of rounds of DAgger after BC
    :return: Runs, task by task
    """
    return [
        Run(task.environment, seed, rounds, N_EVALUATED, digest)
        for task in tasks
        for digest in [task.digest]
        for seed in range(seeds)
    ]


def execute(
    tasks: Sequence[Task], runs: Sequence[Run], folder: Path, print_line: Callable[[str], None]
) -> None:
    """Train what has not been trained yet, one run after the other; each is stored as it ends.

    :param tasks: Tasks
    :param runs: Runs from :func:`plan`
    :param folder: Folder of the results
    :param print_line: Function that prints a line
    :raises UserError: If a file of a task that has runs to do cannot be read, or the folder cannot
        be written, both before anything is trained
    """
    check_can_write_into("--results", folder)
    stored = imitation_runs.run_files(folder, Run)
    finished = _sound(stored, runs)
    todo = [run for run in runs if run.name not in finished]
    print_line(f"{NAME}: {len(runs)} runs, {len(runs) - len(todo)} done, {len(todo)} to do")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*out of date.*")  # Gymnasium's, of the homework's v4
        waiting = {run.environment for run in todo}
        teachers = {
            task.environment: _teacher(task, print_line)
            for task in tasks
            if task.environment in waiting
        }
        for run in todo:
            _execute(run, teachers[run.environment], stored, print_line)
    if _sound(stored, runs).keys() >= {run.name for run in runs}:
        stored.pack()


def _teacher(task: Task, print_line: Callable[[str], None]) -> imitation_runs.Teacher:
    expert = load_cs285_expert(task.expert)
    demonstrations = load_cs285_demonstrations(task.demonstrations)
    returns = imitation_runs.mean_return(expert, task.environment, N_EVALUATED)
    print_line(f"{task.environment}: the expert returns {returns:,.0f}")
    return imitation_runs.Teacher(expert, demonstrations, returns)


def _execute(
    run: Run,
    teacher: imitation_runs.Teacher,
    stored: RunFiles,
    print_line: Callable[[str], None],
) -> None:
    settings = {"policy": "MlpPolicy", **HOMEWORK}
    rounds = imitation_runs.execute(run, teacher, settings, stored)
    reached = ", ".join(f"{r['eval/mean_reward']:,.0f}" for r in rounds)
    print_line(f"{run.environment}, seed {run.seed}: BC and {run.rounds} rounds: {reached}")


def read(runs: Sequence[Run], folder: Path) -> pd.DataFrame:
    """Read the finished runs.

    :param runs: Runs from :func:`plan`
    :param folder: Folder of the results
    :return: Table with one row per round: ``environment, seed, expert, round, mean, std``
    """
    found = _sound(imitation_runs.run_files(folder, Run), runs)
    return pd.DataFrame(
        [row for run in runs for row in found.get(run.name, ())],
        columns=["environment", "seed", "expert", "round", "mean", "std"],
    )


def _sound(stored: RunFiles, runs: Sequence[Run]) -> dict[str, list[Round]]:
    """Return the rounds of the finished runs, without those that are damaged."""
    found = {}
    for name, run in stored.read({run.name for run in runs}).items():
        with suppress(KeyError, TypeError, ValueError):
            rounds = list(_rounds(run.text))
            if all(math.isfinite(number) for row in rounds for number in row[1:]):
                found[name] = rounds
    return found


def _rounds(text: str) -> Iterator[Round]:
    facts = json.loads(text)
    for measured in facts["rounds"]:
        yield (
            facts["run"]["environment"],
            facts["run"]["seed"],
            facts["expert_return"],
            int(measured["dagger/round"]),
            measured["eval/mean_reward"],
            measured["eval/std_reward"],
        )


def rows_of(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the cells of :data:`TABLE`: for each task BC, one round of DAgger, and the last one.

    :param table: Table of :func:`read`
    :return: Rows
    """
    rows: list[tuple[str, ...]] = []
    for environment, of_task in table.groupby("environment", sort=False):
        last = int(of_task["round"].max())
        for number in sorted({0, min(1, last), last}):
            mine = of_task[of_task["round"] == number]
            mean, expert = mine["mean"].mean(), mine["expert"].mean()
            noted = NOTES[str(environment)].get(number)
            rows.append(
                (
                    str(environment),
                    "BC" if number == 0 else f"DAgger, {number} round{'s'[: number > 1]}",
                    f"{len(mine)}",
                    f"{mean:,.0f}",
                    f"± {mine['mean'].std():,.0f}" if len(mine) > 1 else "—",
                    f"± {mine['std'].mean():,.0f}",
                    f"{mean / expert:.0%}",
                    "—" if noted is None else f"{noted:,}",
                )
            )
    return rows


def draw(table: pd.DataFrame) -> Figure:
    """Draw the returns of each task by round, beside those of the notes.

    :param table: Table of :func:`read`
    :return: Figure
    """
    panels = [_panel(rows) for _, rows in table.groupby("environment", sort=False)]
    return figures.together(panels, {"mean over seeds (star: the notes)": Style(COLORS[0], ())})


def _panel(rows: pd.DataFrame) -> Panel:
    environment = str(rows["environment"].iloc[0])

    def draw(axes: Axes) -> None:
        by_round = rows.groupby("round")["mean"]
        mean = by_round.mean()
        axes.plot(mean, marker="o", markersize=3, color=COLORS[0])
        axes.fill_between(mean.index, by_round.min(), by_round.max(), alpha=0.15, color=COLORS[0])
        noted = NOTES[environment]
        axes.scatter(list(noted), list(noted.values()), marker="*", color=INK, zorder=4)
        plots.references(axes, {"expert": rows["expert"].iloc[0]})
        plots.nice_ticks(axes)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))

    return Panel(environment, draw, "Round (0 is BC)", "Return", 2.2, ["expert"])


def publish(runs: Sequence[Run], folder: Path) -> tuple[list[tuple[str, ...]], Path | None]:
    """Write table and figure of the finished runs.

    :param runs: Runs from :func:`plan`
    :param folder: Folder of the results
    :return: Cells of the table, and the figure; None if no run has finished
    """
    table = read(runs, folder)
    if table.empty:
        return [], None
    write_whole(folder / "returns.csv", table.to_csv(index=False, float_format="%.6g"))
    files.save(draw(table), folder / "figures", "rounds")
    return rows_of(table), folder / "figures" / "rounds.png"
