"""The page on 10,000 runs quotes what was measured."""

import csv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COSTS = ROOT / "results" / "cluster_costs"
PAGE = ROOT / "docs" / "design" / "ten-thousand-runs.md"


def test_the_page_holds_the_stored_table():
    assert (COSTS / "costs.md").read_text() in PAGE.read_text()


def test_the_table_has_every_stored_figure():
    with (COSTS / "costs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["runs"] for row in rows} == {"100", "1000", "10000"}
    table = (COSTS / "costs.md").read_text()
    for what in {row["what"] for row in rows}:
        (line,) = (line for line in table.splitlines() if line.startswith(f"| {what} |"))
        cells = [cell.strip() for cell in line.strip("|").split("|")[1:]]
        stored = [row for row in rows if row["what"] == what]
        assert len(cells) == len(stored) == 3
        for cell, row in zip(cells, stored):
            number, unit = cell.split()
            factor = {"ms": 1e3, "µs": 1e6}.get(unit, 1.0)
            assert abs(float(number) / factor / float(row["value"]) - 1) < 0.06, (what, cell, row)
