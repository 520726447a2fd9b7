"""The table of what was tried for NPG on a task."""

import json
from pathlib import Path

import pytest
import tried


def store(root: Path, grid: str, name: str, runs: list[dict]) -> None:
    """Write a grid of a name, and the runs that are stored of it."""
    path, folder = root / "benchmarks" / grid, root / "results" / name
    for made in (path.parent, folder):
        made.mkdir(parents=True, exist_ok=True)
    path.write_text(f"name: {name}\n")
    (folder / "runs.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))


def run(algorithm: str, returns: list[list[float]], **changes: object) -> dict:
    """Make a stored run on one environment."""
    spec = {"algorithm": algorithm, "environment": "A-v1", "config": {"total_timesteps": 1000}}
    measured = [{"returns": values} for values in returns]
    return {"spec": spec, "measurements": measured, "failure": None, **changes}


def test_a_row_is_a_settings_runs_and_the_published_ones_come_first(tmp_path):
    peers = [run("NPG", [[5], [4]]), run("TRPO", [[6], [6]]), run("A2C", [[9], [9]])]
    store(tmp_path, "mujoco.yaml", "mujoco", peers)
    low = [run("low", [[1, 3], [0, 2]]), run("low", [[3000], [2000]])]
    elsewhere = run("high", [[8], [8]])
    elsewhere["spec"]["environment"] = "B-v1"
    failed = run("failed", [], failure="nan")
    store(tmp_path, "tuning/npg_one.yaml", "one", [*low, elsewhere, failed])
    store(tmp_path, "tuning/trpo_two.yaml", "two", [run("high", [[5000], [4000]])])
    assert tried.tried("A-v1", tmp_path).splitlines()[2:] == [
        "| `mujoco.yaml` | TRPO | 1,000 | 1 | 6 | 6 | 6 |",
        "| `mujoco.yaml` | NPG | 1,000 | 1 | 5 | 4 | 4 |",
        "| `trpo_two.yaml` | high | 1,000 | 1 | 5,000 | 4,000 | 4,000 |",
        "| `npg_one.yaml` | low | 1,000 | 2 | 1,501 | 1,000 | 1 · 2,000 |",
    ]
    with pytest.raises(KeyError, match="no search of NPG on C-v1"):
        tried.tried("C-v1", tmp_path)
