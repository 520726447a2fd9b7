"""How long the experiments of the homeworks take, from the seconds of their stored runs."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from facts import ROOT, table

from sb3_course.benchmark.definition.grid import Grid, load_grid
from sb3_course.benchmark.storage.manifest import read_manifest
from sb3_course.homework.experiments import EXPERIMENTS

RESULTS = ROOT / "results"
HEADER = ["experiment", "runs", "steps of each", "a run", "all of them"]


def stored(folder: Path) -> dict[str, list[float]]:
    """Read how long each finished run took.

    :param folder: Folder of the results
    :return: Seconds by environment; empty without results
    """
    path, seconds = folder / "runs.jsonl", dict[str, list[float]]()
    for line in path.read_text().splitlines() if path.exists() else ():
        run: dict[str, Any] = json.loads(line)
        seconds.setdefault(run["spec"]["environment"], []).append(run["seconds"])
    return seconds


def row(name: str, environment: str, grid: Grid, seconds: list[float]) -> list[str]:
    """Describe one environment of an experiment.

    :param name: Name of the experiment
    :param environment: Name of its environment
    :param grid: Its grid
    :param seconds: Seconds of the runs that are stored; none for an experiment that was not run
    :return: Cells of :data:`HEADER`
    """
    runs = sum(run.environment == environment for run in grid.runs())
    steps = grid.environments[environment].total_timesteps
    cells = [f"`{name}`: {environment}", f"{runs}", f"{steps:,}"]
    if not seconds:
        return [*cells, "not run here", "—"]
    each = f"{in_words(min(seconds))} to {in_words(max(seconds))}, {len(seconds)} stored"
    return [*cells, each, in_words(runs * median(seconds))]


def in_words(seconds: float) -> str:
    """Write a duration in the largest unit of which it has two or more."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def machines() -> str:
    """Name where the runs were made."""
    found = [read_manifest(RESULTS / f"homework_{name}") for name in EXPERIMENTS]
    made = {
        f"{m['workers']} at a time on {m['machine']['cpu_count']} cores ({m['machine']['cpu']})"
        for m in found
        if m is not None
    }
    return "; ".join(sorted(made))


def durations(homework: str) -> str:
    """Tell how long each experiment of a homework takes.

    :param homework: ``hw1`` or ``hw2``
    :return: Markdown table
    :raises KeyError: There is no such homework
    """
    return {"hw1": of_dagger, "hw2": of_experiments}[homework]()


def of_dagger() -> str:
    """Tell how long clones and rounds of DAgger take, one row per environment of the study."""
    path, by_environment = RESULTS / "imitation" / "runs.jsonl", dict[str, list[dict[str, Any]]]()
    for line in path.read_text().splitlines():
        stored_run = json.loads(line)
        if stored_run["run"]["method"] == "DAgger":
            by_environment.setdefault(stored_run["run"]["environment"], []).append(stored_run)
    rows = []
    for environment, found in by_environment.items():
        (rounds,) = {run["run"]["rounds"] for run in found}
        seconds = [run["seconds"] for run in found]
        low, high = in_words(min(seconds)), in_words(max(seconds))
        rows.append([environment, f"{rounds}", f"{len(found)}", f"{low} to {high}"])
    return table(["task", "rounds after BC", "runs stored", "a run"], rows)


def of_experiments() -> str:
    """Tell how long policy gradients take, one row per environment of an experiment."""
    rows = []
    for name, experiment in EXPERIMENTS.items():
        grid = load_grid(experiment.path)
        seconds = stored(RESULTS / grid.name)
        rows += [row(name, e, grid, seconds.get(e, [])) for e in grid.environments]
    return f"{table(HEADER, rows)}\n\nRuns of one process each, {machines()}, evaluations included."
