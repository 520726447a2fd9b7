"""What was tried for NPG and TRPO on a task: the stored runs of all searches, as Markdown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from facts import ROOT, table

PUBLISHED = "mujoco"
SEARCHES = "npg_*.yaml", "trpo_*.yaml"


def tried(task: str, root: Path = ROOT) -> str:
    """Return the table of what was tried on a task: a row for each setting of each search.

    :param task: Name of the environment in the grids
    :param root: Folder of ``benchmarks`` and ``results``
    :return: Markdown table, the published runs first, then by return at the end
    :raises KeyError: Nothing was tried on the task
    """
    folder = root / "benchmarks" / "tuning"
    searches = [path for name in SEARCHES for path in sorted(folder.glob(name))]
    published = rows_of(root / "benchmarks" / f"{PUBLISHED}.yaml", task, root / "results")
    found = [row for path in searches for row in rows_of(path, task, root / "results")]
    if not found:
        raise KeyError(f"no search of NPG on {task}")
    first = [row for row in published if row[1] in ("NPG", "TRPO")]
    rows = [*by_final(first), *by_final(found)]
    header = ["grid", "setting", "steps", "runs", "highest", "at the end", "each run, at the end"]
    return table(header, [[f"`{row[0]}`", *row[1:3], *map(written, row[3:])] for row in rows])


def by_final(rows: list[list[Any]]) -> list[list[Any]]:
    """Sort rows by steps and return at the end, the largest first."""
    return sorted(rows, key=lambda row: (-int(row[2].replace(",", "")), -row[5]))


def written(value: Any) -> str:
    """Write a count, a return, or returns."""
    if isinstance(value, list):
        return " · ".join(f"{round(v):,}" for v in value)
    return f"{round(value):,}"


def rows_of(grid: Path, task: str, results: Path) -> Iterator[list[Any]]:
    """Yield the settings of a grid that have stored runs on a task.

    :param grid: File of the grid
    :param task: Name of the environment
    :param results: Folder of all results
    :return: Name of the file, setting, steps, number of runs, mean of the highest and of the final
        returns, and each final return from low to high
    """
    stored = results / yaml.safe_load(grid.read_text())["name"] / "runs.jsonl"
    settings: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for line in stored.read_text().splitlines() if stored.exists() else ():
        run = json.loads(line)
        spec = run["spec"]
        if spec["environment"] == task and run["failure"] is None:
            means = [sum(m["returns"]) / len(m["returns"]) for m in run["measurements"]]
            key = spec["algorithm"], spec["config"]["total_timesteps"]
            settings.setdefault(key, []).append((max(means), means[-1]))
    for (name, steps), ends in settings.items():
        highest, final = ([run[k] for run in ends] for k in (0, 1))
        n = len(ends)
        yield [grid.name, name, f"{steps:,}", n, sum(highest) / n, sum(final) / n, sorted(final)]
