"""Tables from the stored turns: ratios of paired turns, their median and their quartiles."""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Literal

from rows import COUNTS, MAIN_COUNT, ROWS, Cell

from sb3_course.common.files import write_whole

Clock = Literal["cpu", "wall"]
Record = dict[str, Any]
Line = tuple[str, str]
STORED = "turns.json"
MISSING = "—"


def ratios(records: Iterable[Record], name: str, clock: Clock) -> list[float]:
    """Compare a contender with the reference of its row, turn by turn.

    :param records: Records of one cell of one row, one for each repetition
    :param name: Name of the contender
    :param clock: ``"cpu"`` or ``"wall"``
    :return: Units per second over the reference's, or the seconds per unit where the row is of
        costs, for each round of each repetition
    """
    found = []
    for record in records:
        row = ROWS[record["row"]]
        ours, theirs = (
            [turn["units"] / turn[clock] for turn in record["turns"][who]]
            for who in (name, row.reference)
        )
        pairs = zip(ours, theirs, strict=True)
        found += [y / x if row.cost else x / y for x, y in pairs]
    return found


def spread(values: list[float]) -> str:
    """Write a median and, of several values, the quartiles around it."""
    if len(values) < 2:
        return f"{values[0]:.2f}" if values else MISSING
    low, _, high = quantiles(values, n=4, method="inclusive")
    return f"{median(values):.2f} [{low:.2f}, {high:.2f}]"


def lines(records: list[Record]) -> dict[Line, dict[int, list[Record]]]:
    """Sort records by line, ``(row, task)``, and count of environments, in the rows' order."""
    sorted_: dict[Line, dict[int, list[Record]]] = {}
    for row in ROWS:
        for cell in ROWS[row].cells:
            here = [r for r in records if r["row"] == row and Cell(**r["cell"]) == cell]
            if here:
                sorted_.setdefault((row, cell.task), {})[cell.n_envs] = here
    return sorted_


def comparison(row: str, name: str) -> str:
    """Name a line: who is compared with whom, and in what if that is not environment steps."""
    if row == "bound":
        return name
    unit = "" if ROWS[row].unit == "environment steps" else f", {ROWS[row].unit}"
    cost = ", time of a step" if ROWS[row].cost else ""
    return f"{name} / {ROWS[row].reference}{unit}{cost}"


def short_table(records: list[Record]) -> list[list[str]]:
    """Compare at one count of environments: CPU seconds beside wall time, without the bound."""
    table = [["", "environment", "environments", "in CPU time", "in wall time"]]
    for (row, task), counts in lines(records).items():
        if row == "bound":
            continue
        n = MAIN_COUNT if MAIN_COUNT in counts else max(counts)
        for name in ROWS[row].contenders[:-1]:
            cells = [spread(ratios(counts[n], name, clock)) for clock in ("cpu", "wall")]
            table.append([comparison(row, name), task, str(n or MISSING), *cells])
    return table


def count_table(records: list[Record], clock: Clock, rows: Iterable[str]) -> list[list[str]]:
    """Compare at each count of environments, by one clock."""
    table = [["", "environment", *(f"{n} environment{'s' * (n > 1)}" for n in COUNTS)]]
    for (row, task), counts in lines(records).items():
        if row not in rows or not set(counts) & set(COUNTS) or len(ROWS[row].cells) < len(COUNTS):
            continue
        for name in ROWS[row].contenders[:-1]:
            cells = [spread(ratios(counts.get(n, []), name, clock)) for n in COUNTS]
            table.append([comparison(row, name), task, *cells])
    return table


def rate_table(records: list[Record]) -> list[list[str]]:
    """List what each contender does in a second: the medians over all turns."""
    table = [["row", "environment", "environments", "", "unit", "per CPU second", "per second"]]
    for (row, task), counts in lines(records).items():
        for n, here in counts.items():
            how = ",.3g" if ROWS[row].unit == "rounds" else ",.0f"
            for name in ROWS[row].contenders:
                turns = [turn for record in here for turn in record["turns"][name]]
                rates = [
                    format(median(turn["units"] / turn[clock] for turn in turns), how)
                    for clock in ("cpu", "wall")
                ]
                table.append([row, task, str(n or MISSING), name, ROWS[row].unit, *rates])
    return table


def markdown(table: list[list[str]]) -> str:
    """Write a table, its header first."""
    rows = [table[0], ["---"] * len(table[0]), *table[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def pages(records: list[Record]) -> dict[str, str]:
    """Make the pages that stand beside the stored turns, by file name."""
    how = (
        "Contenders take turns in one process, one torch thread; each turn is compared with the "
        "reference's of the same round. Cells hold the median of these ratios of units per second "
        "and, in brackets, their quartiles over all rounds of all repetitions (processes). "
        "`python benchmarks/speed/table.py` measures; `turns.json` holds every turn."
    )
    by_row = [row for row in ROWS if row != "bound"]
    cost = "CPU seconds of the process, all of its threads"
    tables = {
        "ratios.md": (how, short_table(records)),
        "counts.md": (f"{how} By {cost}.", count_table(records, "cpu", by_row)),
        "counts_wall.md": (f"{how} By wall time.", count_table(records, "wall", by_row)),
        "bound.md": (
            f"{how} The bound steps the same `VecEnv` by the policy's forward pass, and does not "
            f"learn. By {cost}.",
            count_table(records, "cpu", ["bound"]),
        ),
        "bound_wall.md": (f"{how} By wall time.", count_table(records, "wall", ["bound"])),
        "rates.md": (f"Medians over all turns. {how}", rate_table(records)),
    }
    return {
        name: f"{text}\n\n{markdown(table)}\n"
        for name, (text, table) in tables.items()
        if len(table) > 1
    }


def read(folder: Path) -> list[Record]:
    """Read the stored records; none if nothing is stored."""
    path = folder / STORED
    return json.loads(path.read_text())["records"] if path.exists() else []


def merged(stored: list[Record], new: list[Record]) -> list[Record]:
    """Replace the cells that were measured again, and keep the others."""
    again = {(r["row"], Cell(**r["cell"])) for r in new}
    return [r for r in stored if (r["row"], Cell(**r["cell"])) not in again] + new


def write(folder: Path, records: list[Record]) -> None:
    """Store the records, one a line, and the pages made from them."""
    rows = ",\n".join(json.dumps(record) for record in records)
    write_whole(folder / STORED, f'{{"records": [\n{rows}\n]}}\n')
    for name, text in pages(records).items():
        write_whole(folder / name, text)
