"""One table of many runs as a CSV file, such as this project's ``returns.csv``."""

import math
from collections import defaultdict
from itertools import pairwise
from operator import ge
from pathlib import Path

import pandas as pd

from sb3_course.benchmark.logs.csv_text import CsvTable, read_csv
from sb3_course.benchmark.logs.layout import check_name
from sb3_course.benchmark.logs.points import MOST_STEPS, points
from sb3_course.benchmark.storage.returns_table import FORMULA
from sb3_course.common.errors import UserError

RUN = ("algorithm", "environment", "seed")
RETURNS = ("return_mean", "return")
"""Names of the column of returns, of which the first that is there counts."""
OPTIONAL = ("return_std", "episode_length", "wall_time", "num_timesteps")
MOST_SEED = 2**32

Run = tuple[str, str, int]


def read_tidy(path: Path) -> tuple[dict[Run, pd.DataFrame], dict[Run, str]]:
    """Read a table with one row per evaluation.

    :param path: File with the columns ``algorithm, environment, seed, step`` and ``return_mean`` or
        ``return``, and perhaps others of :data:`.COLUMNS`
    :return: Points of each run, see :func:`.points`, and why runs are left out
    :raises UserError: The file is no such table, or has no row; gives the reason alone
    """
    table = read_csv(path)
    result = next((name for name in RETURNS if name in table.header), None)
    lacking = [name for name in (*RUN, "step") if name not in table.header]
    if result is None or lacking:
        lacking += [] if result else ["return_mean"]
        raise UserError(
            f"without {', '.join(lacking)} (columns: {', '.join(table.header)[:200]}); allowed: a "
            "table with algorithm, environment, seed, step and return_mean, one row per evaluation"
        )
    if not table.lines:
        raise UserError("no row in it")
    found, unread = {}, {}
    for run, indices in _rows_by_run(table).items():
        try:
            found[run] = _points(table, result, indices)
        except UserError as error:
            unread[run] = str(error)
    return found, unread


def _rows_by_run(table: CsvTable) -> dict[Run, list[int]]:
    rows: dict[Run, list[int]] = defaultdict(list)
    names = zip(*(table.text(part) for part in RUN[:2]), table.numbers("seed"), strict=True)
    for k, (algorithm, environment, seed) in enumerate(names):
        try:
            rows[_run(_name(algorithm), _name(environment), seed)].append(k)
        except UserError as error:
            raise UserError(f"line {table.lines[k]}: {error}") from error
    return rows


def _run(algorithm: str, environment: str, seed: float) -> Run:
    check_name("algorithm", algorithm)
    check_name("environment", environment)
    if not (0 <= seed < MOST_SEED and seed == int(seed)):
        raise UserError(f"seed {seed:.10g}; allowed: whole numbers from 0 to {MOST_SEED - 1:,}")
    return algorithm, environment, int(seed)


def _points(table: CsvTable, result: str, rows: list[int]) -> pd.DataFrame:
    """Return the points of the run that has these rows, in the order of their steps."""
    steps = table.numbers("step", rows)
    order = sorted(range(len(rows)), key=lambda k: steps[k])
    rows = [rows[k] for k in order]
    steps = [steps[k] for k in order]
    for k in range(1, len(rows)):
        if steps[k] == steps[k - 1]:
            lines = sorted((table.lines[rows[k - 1]], table.lines[rows[k]]))
            raise UserError(
                f"step {steps[k]:g} stands in line {lines[0]} and in line {lines[1]}; allowed: one "
                "row per evaluation"
            )
    known = {name: _optional(table, name, rows) for name in OPTIONAL if name in table.header}
    found = points(
        steps,
        table.numbers(result, rows),
        deviations=known.get("return_std"),
        lengths=known.get("episode_length"),
        seconds=known.get("wall_time"),
    )
    taken = known.get("num_timesteps")
    if taken is not None and _is_counter(taken, steps):
        found["num_timesteps"] = [int(n) for n in taken]
    if "episode_returns" in table.header:
        texts = table.text("episode_returns")
        found["episode_returns"] = [texts[k] or math.nan for k in rows]
    return found


def _is_counter(taken: list[float], steps: list[float]) -> bool:
    """Return whether numbers can be the steps at the evaluations; some tables restart them."""
    whole = all(0 <= n < MOST_STEPS and n == int(n) for n in taken)
    return whole and all(a < b for a, b in pairwise(taken)) and all(map(ge, taken, steps))


def _optional(table: CsvTable, name: str, rows: list[int]) -> list[float]:
    """Return a column in which cells may be empty."""
    cells = table.text(name)
    known = [k for k in rows if cells[k].strip()]
    numbers = dict(zip(known, table.numbers(name, known), strict=True))
    return [numbers.get(k, math.nan) for k in rows]


def _name(text: str) -> str:
    """Return a name without spaces around it, and without the apostrophe that keeps spreadsheets
    from computing it.
    """
    name = text.strip() or text
    guarded = name.startswith("'") and FORMULA.match(name[1:])
    return name[1:].strip() if guarded else name
