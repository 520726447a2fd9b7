"""Final returns of stored grids, that of the constructors' defaults among them, as Markdown."""

import re
from pathlib import Path

import gymnasium
import pandas as pd
from details import final_returns
from facts import ROOT, table

RESULTS = ROOT / "results"
FOLDER = RESULTS / "defaults"
GRID = "benchmarks/defaults.yaml"
NAME = re.compile(r"(?P<task>.+) from (?P<n_envs>\d+)")


def defaults(task: str, folder: Path = FOLDER) -> str:
    """Return the table of final returns on one task: a row for each class.

    :param task: Gymnasium id, as in the names of the grid's environments
    :param folder: Folder of the results
    :return: Markdown table; a cell is the mean over seeds, the lowest of them, and their number
    """
    cells: dict[str, dict[int, str]] = {}
    for (algorithm, environment), returns in final_returns(folder).items():
        name = NAME.fullmatch(environment)
        if name and name["task"] == task:
            cells.setdefault(algorithm, {})[int(name["n_envs"])] = cell(returns)
    if not cells:
        return f"Not yet measured; `sb3-course run {GRID}` measures it."
    columns = sorted({n for row in cells.values() for n in row})
    header = ["environments", *map(str, columns)]
    rows = [[name, *(row.get(n, "—") for n in columns)] for name, row in cells.items()]
    return table(header, rows)


def finals(name: str, results: Path = RESULTS) -> str:
    """Return the table of a grid's final returns: a row for each algorithm.

    :param name: Name of the folder of the grid's results
    :param results: Folder of all results
    :return: Markdown table; a cell is the mean over seeds, the lowest of them, and their number;
        the last column is that of :func:`relapses`
    :raises FileNotFoundError: There are no such results
    """
    found = final_returns(results / name)
    if not found:
        raise FileNotFoundError(f"no returns.csv of {name!r}")
    algorithms = sorted({algorithm for algorithm, _ in found})
    environments = sorted({environment for _, environment in found})
    fell = relapses(results / name)
    rows = [
        [a, *(cell(found[a, e]) if (a, e) in found else "—" for e in environments), fell[a]]
        for a in algorithms
    ]
    return table(["final return", *environments, "solved, and fell"], rows)


def relapses(folder: Path) -> dict[str, str]:
    """Count the evaluations below what solves a task, after the first that solved it.

    A task is solved at Gymnasium's ``reward_threshold`` of it.

    :param folder: Folder of the results
    :return: Such evaluations, of how many after the first, over all runs by algorithm
    """
    stored = pd.read_csv(folder / "returns.csv").sort_values("step")
    counts: dict[str, list[int]] = {name: [0, 0] for name in stored["algorithm"].unique()}
    for (algorithm, environment, _), run in stored.groupby(["algorithm", "environment", "seed"]):
        name = NAME.fullmatch(str(environment))
        threshold = gymnasium.spec(name["task"] if name else str(environment)).reward_threshold
        if threshold is None:
            continue
        solved = (run["return_mean"] >= threshold).to_numpy()
        after = solved[solved.argmax() + 1 :] if solved.any() else solved[:0]
        counts[str(algorithm)][0] += int((~after).sum())
        counts[str(algorithm)][1] += len(after)
    return {name: f"{fell} of {after}" for name, (fell, after) in counts.items()}


def cell(returns: list[float]) -> str:
    """Describe the final returns of a cell's runs.

    :param returns: Final returns, one per seed
    :return: Mean, lowest and number of runs
    """
    mean, lowest = round(sum(returns) / len(returns)), round(min(returns))
    return f"{mean:,} ({lowest:,}; {len(returns)})"
