"""How long the experiments of the second homework take, from the seconds of their stored runs."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from facts import table

from sb3_course.benchmark.definition.grid import Grid, load_grid
from sb3_course.benchmark.storage.manifest import read_manifest
from sb3_course.homework.experiments import EXPERIMENTS

RESULTS = Path(__file__).resolve().parents[2] / "results"
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


def durations(_: str) -> str:
    """Tell how long each experiment takes.

    :param _: Not used; a directive has an argument
    :return: Markdown table, one row per environment of an experiment
    """
    rows = []
    for name, experiment in EXPERIMENTS.items():
        grid = load_grid(experiment.path)
        seconds = stored(RESULTS / grid.name)
        rows += [row(name, e, grid, seconds.get(e, [])) for e in grid.environments]
    return f"{table(HEADER, rows)}\n\nRuns of one process each, {machines()}, evaluations included."
