"""What the constructors' defaults reach, from the stored grid of defaults, as Markdown."""

import re
from pathlib import Path

from details import final_returns
from facts import table

FOLDER = Path(__file__).resolve().parents[2] / "results" / "defaults"
GRID = "benchmarks/defaults.yaml"
NAME = re.compile(r"(?P<task>.+) from (?P<n_envs>\d+)")


def defaults(task: str, folder: Path = FOLDER) -> str:
    """Return the table of final returns on one task: a row for each class.

    :param task: Gymnasium id, as in the names of the grid's environments
    :param folder: Folder of the results
    :return: Markdown table; a cell is the mean over seeds, and the lowest of them where it differs
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


def cell(returns: list[float]) -> str:
    """Describe the final returns of a cell's runs.

    :param returns: Final returns, one per seed
    :return: Mean, lowest and number of runs
    """
    mean, lowest = round(sum(returns) / len(returns)), round(min(returns))
    return f"{mean:,} ({lowest:,}; {len(returns)})"
