"""README.md and the stored results agree."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from sb3_course.benchmark.grid import load_grid
from sb3_course.benchmark.store import Store

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def readme():
    spec = importlib.util.spec_from_file_location("readme", ROOT / "benchmarks" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_block_holds_what_the_results_say(readme):
    assert readme.BLOCK.search(README)
    assert readme.updated(README) == README, "run: python benchmarks/readme.py"


def test_a_changed_number_is_seen(readme):
    begin = README.index("<!-- results: ")
    at = re.compile(r"\d,\d").search(README, begin).start()
    changed = README[:at] + str((int(README[at]) + 1) % 10) + README[at + 1 :]
    assert readme.updated(changed) == README


@pytest.mark.parametrize("algorithm", ["NPG", "BatchActorCritic"])
def test_a_cell_is_computed_from_the_runs(readme, algorithm):
    grid = load_grid(ROOT / "benchmarks" / "family.yaml")
    store = Store(ROOT / "results" / "family")
    returns = [
        [np.mean(m.returns) for m in result.measurements]
        for result in store.read(grid.runs())
        if result.spec.names == (algorithm, "HalfCheetah-v4")
    ]
    best = np.mean([max(curve) for curve in returns])
    row = next(
        line
        for line in readme.returns_table(grid, store).splitlines()
        if line.startswith(f"| {algorithm} ")
    )
    # Evaluations come a few steps after the declared ones, and are read off between them.
    shown, _, _ = row.split(" | ")[1].partition(" / ")
    assert float(shown.replace(",", "")) == pytest.approx(best, rel=0.03)
