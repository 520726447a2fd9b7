import os
from pathlib import Path

import numpy as np
import pytest

from sb3_course.benchmark.storage.result import Measurement, RunResult
from sb3_course.benchmark.storage.rl_zoo import folder_names, write_zoo
from tests.benchmark.helpers import tiny


def result(algorithm="A2C", environment="CartPole-v1", seed=0, offset=0.0) -> RunResult:
    spec = (
        tiny()
        .runs()[0]
        .model_copy(update={"algorithm": algorithm, "environment": environment, "seed": seed})
    )
    measurements = [
        Measurement(step, step + 3, 0.1, [offset + step, offset + step + 1.5], [4, 5])
        for step in (0, 100, 200)
    ]
    return RunResult(spec=spec, measurements=measurements)


def as_rl_zoo_reads(folder: Path, algorithm: str, environment: str) -> list[dict]:
    """Find files as ``rl_zoo3.plots.all_plots`` does: by lower case, and by part of the name."""
    folder = folder / algorithm.upper().lower()
    runs = sorted(d for d in os.listdir(folder) if environment in d)
    return [dict(np.load(folder / d / "evaluations.npz")) for d in runs]


def test_rl_zoo_finds_each_run_with_its_returns(tmp_path):
    failed = RunResult(spec=result(seed=1).spec, failure="made to fail")
    write_zoo([result(seed=7, offset=10.0), failed, result(seed=2)], tmp_path)
    first, second = as_rl_zoo_reads(tmp_path, "A2C", "CartPole-v1")
    assert first["timesteps"].tolist() == [0, 100, 200]
    assert first["results"].tolist() == [[0, 1.5], [100, 101.5], [200, 201.5]]
    assert first["ep_lengths"].tolist() == [[4, 5]] * 3
    assert "successes" not in first
    assert (second["results"] - first["results"] == 10.0).all()
    assert sorted(p.name for p in (tmp_path / "a2c").iterdir()) == [
        "CartPole-v1_1",
        "CartPole-v1_2",
    ]


def test_success_is_stored_as_sb3_does_where_every_evaluation_has_it(tmp_path):
    one, other = result(seed=1), result(seed=2)
    for m in one.measurements:
        m.metrics["is_success"] = [1.0, 0.0]
    other.measurements[0].metrics["is_success"] = [1.0, 0.0]
    write_zoo([one, other], tmp_path)
    first, second = as_rl_zoo_reads(tmp_path, "A2C", "CartPole-v1")
    assert first["successes"].tolist() == [[True, False]] * 3
    assert "successes" not in second


@pytest.mark.parametrize(
    ("algorithms", "expected"),
    [
        (["REINFORCE (value baseline)"], ["reinforce-value-baseline"]),
        (["NPG ε=0.1", "NPG δ=0.1"], ["npg-0-1-2", "npg-0-1"]),
        (["A2C", "a2c-2", "a2c"], ["a2c", "a2c-2-2", "a2c-2"]),
        (["πθ"], ["algorithm"]),
    ],
)
def test_algorithms_become_different_words(algorithms, expected):
    names = folder_names(algorithms)
    assert [names[algorithm] for algorithm in algorithms] == expected


def test_names_that_are_no_folders_become_some(tmp_path):
    write_zoo([result("A (b/c)", "ALE/Pong-v5"), result("A (b/c)", "my.module:Task-v0")], tmp_path)
    assert sorted(p.parent.name for p in tmp_path.rglob("*.npz")) == [
        "ALE-Pong-v5_1",
        "my.module-Task-v0_1",
    ]


def test_environments_whose_names_meet_in_a_path_stay_two(tmp_path):
    write_zoo([result("A", name) for name in ("Task/One-v0", "Task-One-v0")], tmp_path)
    assert sorted(p.parent.name for p in tmp_path.rglob("*.npz")) == [
        "Task-One-v0-2_1",
        "Task-One-v0_1",
    ]


def test_environments_that_differ_in_case_alone_stay_two_on_any_file_system(tmp_path):
    write_zoo([result("A", name) for name in ("Hopper", "hopper")], tmp_path)
    names = sorted(path.parent.name for path in tmp_path.rglob("*.npz"))
    assert names == ["Hopper_1", "hopper-2_1"]


def test_writing_again_changes_no_byte_and_leaves_no_run_behind(tmp_path):
    write_zoo([result(seed=0), result(seed=1), result("NPG")], tmp_path)
    paths = sorted(tmp_path.rglob("*.npz"))
    before = [(p.read_bytes(), p.stat().st_mtime_ns) for p in paths]
    write_zoo([result(seed=1), result(seed=0), result("NPG")], tmp_path)
    assert [(p.read_bytes(), p.stat().st_mtime_ns) for p in paths] == before
    write_zoo([result(seed=1)], tmp_path)
    assert [p.parent.name for p in tmp_path.rglob("*.npz")] == ["CartPole-v1_1"]
    assert [p.name for p in tmp_path.rglob(".*")] == [".written.json"]
