import importlib
import re

import pandas as pd
import pytest

from sb3_course.common.errors import UserError
from tests.imitation.helpers import homework_expert, homework_paths, write

pytest.importorskip("imitation")
hw1 = importlib.import_module("sb3_course.homework.hw1")

SIZES = {"Hopper-v4": (11, 3), "Walker2d-v4": (17, 6)}


@pytest.fixture
def files(tmp_path):
    """A folder as the homework has it, with the files of one task, and an expert of another."""
    folder = tmp_path / "cs285"
    experts, data = folder / "policies" / "experts", folder / "expert_data"
    for part in (experts, data):
        part.mkdir(parents=True)
    for environment, (obs, actions) in SIZES.items():
        stem = environment.partition("-")[0]
        write(experts / f"{stem}.pkl", homework_expert(sizes=(obs, 5, actions)))
    paths = homework_paths(obs_size=11, action_size=3)
    write(data / "expert_data_Hopper-v4.pkl", paths)
    return folder


def small(monkeypatch):
    """Let a round take moments."""
    fewer = {**hw1.HOMEWORK, "n_steps": 10, "gradient_steps": 3}
    monkeypatch.setattr(hw1, "HOMEWORK", fewer)
    monkeypatch.setattr(hw1, "N_EVALUATED", 2)


def test_tasks_are_found_at_any_depth_and_missing_ones_listed(files):
    (task,), missing = hw1.find_tasks(files)
    assert task.environment == "Hopper-v4"
    assert task.expert.name == "Hopper.pkl"
    assert missing == [
        "Ant-v4: no Ant.pkl and no expert_data_Ant-v4.pkl",
        "Walker2d-v4: no expert_data_Walker2d-v4.pkl",
        "HalfCheetah-v4: no HalfCheetah.pkl and no expert_data_HalfCheetah-v4.pkl",
    ]


def test_a_folder_without_any_task_is_told(tmp_path):
    with pytest.raises(UserError, match=r"has the files of no task: Ant-v4: no Ant\.pkl"):
        hw1.find_tasks(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        hw1.find_tasks(tmp_path / "nowhere")


def test_runs_are_stored_and_not_repeated(files, tmp_path, monkeypatch):
    small(monkeypatch)
    tasks, _ = hw1.find_tasks(files)
    runs, out = hw1.plan(tasks, seeds=2, rounds=1), tmp_path / "out"
    lines = []
    hw1.execute(tasks, runs[:1], out, lines.append)
    assert lines[0].endswith("1 runs, 0 done, 1 to do") and "the expert returns" in lines[1]
    trained = hw1.imitation_runs
    monkeypatch.setattr(trained, "train", lambda run, *_: pytest.fail(f"{run} is repeated"))
    hw1.execute(tasks, runs[:1], out, lines.append)
    assert lines[-1].endswith("1 runs, 1 done, 0 to do")
    rows, figure = hw1.publish(runs, out)
    assert [row[:3] for row in rows] == [
        ("Hopper-v4", "BC", "1"),
        ("Hopper-v4", "DAgger, 1 round", "1"),
    ]
    assert [row[-1] for row in rows] == ["1,542", "—"]
    assert figure.exists() and (out / "runs.jsonl").exists()


def test_other_files_are_other_runs(files):
    (before,), _ = hw1.find_tasks(files)
    names = {run.name for run in hw1.plan([before], 1, 1)}
    write(before.demonstrations, homework_paths(obs_size=11, action_size=3, seed=1))
    assert {run.name for run in hw1.plan([before], 1, 1)}.isdisjoint(names)


def test_nothing_is_published_of_no_run(tmp_path, files):
    tasks, _ = hw1.find_tasks(files)
    assert hw1.publish(hw1.plan(tasks, 1, 0), tmp_path / "out") == ([], None)


def test_rows_are_means_over_seeds():
    columns = ["environment", "seed", "expert", "round", "mean", "std"]
    values = [(s, r, 1000.0 * (s + r)) for s in (0, 1) for r in range(4)]
    table = pd.DataFrame(
        [("Walker2d-v4", s, 5000.0, r, m, 10.0) for s, r, m in values], columns=columns
    )
    rows = hw1.rows_of(table)
    assert [row[1] for row in rows] == ["BC", "DAgger, 1 round", "DAgger, 3 rounds"]
    assert rows[1][2:] == ("2", "1,500", "± 707", "± 10", "30%", "5,408")
    assert rows[2][-2:] == ("70%", "—")


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"rounds": NaN}', "NaN"])
def test_a_damaged_run_is_made_again(damage, files, tmp_path, monkeypatch):
    small(monkeypatch)
    tasks, _ = hw1.find_tasks(files)
    runs, out, lines = hw1.plan(tasks, seeds=1, rounds=0), tmp_path / "out", []
    hw1.execute(tasks, runs, out, lines.append)
    whole = hw1.read(runs, out)
    (text,) = hw1.imitation_runs.run_files(out, hw1.Run).read({runs[0].name}).values()
    broken = re.sub(r'("eval/mean_reward": *)[-\d.]+', r"\1NaN", text.text)
    (out / "runs.jsonl").unlink()
    (out / "runs").mkdir(exist_ok=True)
    (out / "runs" / f"{runs[0].name}.json").write_text(broken if damage == "NaN" else damage)
    assert hw1.read(runs, out).empty
    hw1.execute(tasks, runs, out, lines.append)
    assert any("1 runs, 0 done, 1 to do" in line for line in lines[2:])
    pd.testing.assert_frame_equal(hw1.read(runs, out), whole)


@pytest.mark.parametrize(
    "damaged", ["policies/experts/Walker2d.pkl", "expert_data_Walker2d-v4.pkl"]
)
def test_a_damaged_file_is_told_before_any_task_is_trained(files, tmp_path, monkeypatch, damaged):
    small(monkeypatch)
    monkeypatch.setattr(hw1.imitation_runs, "train", lambda *_: pytest.fail("it is trained"))
    paths = homework_paths(obs_size=17, action_size=6)
    write(files / "expert_data_Walker2d-v4.pkl", paths)
    (files / damaged).write_bytes(b"no pickle")
    tasks, _ = hw1.find_tasks(files)
    assert len(tasks) == 2
    for order in (tasks, tasks[::-1]):
        with pytest.raises(UserError, match="Walker2d"):
            hw1.execute(order, hw1.plan(order, 1, 0), tmp_path / "out", print)


def test_a_place_that_takes_no_results_is_told_before_anything_is_played(files, tmp_path):
    tasks, _ = hw1.find_tasks(files)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--results: .*file is a file; allowed: a folder"):
        hw1.execute(tasks, hw1.plan(tasks, 1, 0), tmp_path / "file", pytest.fail)
