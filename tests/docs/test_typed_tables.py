"""Tables that pages hold as text say what is stored."""

import re
from pathlib import Path

import pandas as pd
import pytest

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.statistics import regression
from sb3_course.benchmark.storage.store import Store

ROOT = Path(__file__).parents[2]
STORED = ROOT / "results" / "statistics"


def tables(page):
    """The tables of a page, each as rows of cells by column, the first of which names the row."""
    text = (ROOT / "docs" / page).read_text()
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        header, _, *rows = (
            [c.strip() for c in line[1:-2].split("|")] for line in block.splitlines(True)
        )
        found.append({row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows})
    return found


COVERAGE, FALSE_ALARMS, POWER, LEAST = tables("design/statistics.md")


def test_coverage():
    stored = pd.read_csv(STORED / "coverage.csv").set_index(["runs", "law", "statistic"])
    for n, row in COVERAGE.items():
        for law, cell in row.items():
            mean, iqm, pair = (
                stored.loc[(int(n), law, name), "coverage"] for name in ("mean", "IQM", "P(X > Y)")
            )
            assert cell == f"{mean:.2f} ({iqm:.2f}, {pair:.2f})"


def test_false_alarms():
    stored = pd.read_csv(STORED / "false_alarms.csv").set_index(["what", "law"])["frequency"]
    said = {
        (w.replace("`", ""), law): v for w, row in FALSE_ALARMS.items() for law, v in row.items()
    }
    assert said.keys() == set(stored.index)
    for key, text in said.items():
        assert abs(float(text) - stored[key]) <= 0.0005 + 1e-9


def test_power():
    stored = pd.read_csv(STORED / "power.csv").set_index(["runs", "P(X > Y)", "environments"])
    for n, row in POWER.items():
        for column, text in row.items():
            p, n_environments = re.fullmatch(r"P = (0\.\d+), (\d) environments?", column).groups()
            power = stored.loc[(int(n), float(p), int(n_environments)), "power"]
            assert abs(float(text) - power) <= 0.005 + 1e-9


def test_the_fewest_runs():
    stored = pd.read_csv(STORED / "least.csv").set_index(["algorithms", "environments"])
    for n, row in LEAST.items():
        assert row.pop("pairs") == str(stored.loc[(int(n), 1), "pairs"])
        for column, text in row.items():
            assert text == str(stored.loc[(int(n), int(column[0])), "fewest runs"])


SLOW = [("inverted_pendulum_long", 12), ("mujoco", 5)]
"""Grids of ``make regression``, with the numbers of seeds that it trains again."""


@pytest.mark.parametrize(("name", "seeds"), SLOW)
def test_the_power_of_the_slow_guards(name, seeds):
    makefile = (ROOT / "Makefile").read_text()
    assert f"regression benchmarks/regression/{name}.yaml --seeds {seeds}\n" in makefile
    grid = load_grid(ROOT / "benchmarks" / "regression" / f"{name}.yaml")
    tasks = regression.stored_tasks(grid, Store(ROOT / "results" / grid.name), seeds)
    (said,) = tables("benchmark/guard.md")
    for (algorithm, environment), runs in tasks.items():
        nothing, half = regression.powers(runs, seeds, regression.FALSE_ALARM / len(tasks))
        row = said[f"{algorithm} on {environment}"]
        assert row == {
            "seeds": f"{seeds} of {len(runs)}",
            "learns nothing": f"{nothing:.3f}",
            "loses half of its gain": f"{half:.3f}",
        }
    assert len(said) == sum(
        len(load_grid(ROOT / "benchmarks" / "regression" / f"{n}.yaml").algorithms) for n, _ in SLOW
    )
