import json
import os
import subprocess
import sys

import pytest

from sb3_course.benchmark.execution.heartbeat import (
    SILENT,
    Heartbeat,
    beat,
    checkpoint_file,
    heartbeat_file,
    heartbeats,
    logs_folder,
    remove,
    remove_checkpoint,
)

NOW = 1_000_000.0


def leave(folder, key, text, age=0.0):
    path = heartbeat_file(folder, key)
    path.write_text(text)
    os.utime(path, (NOW - age, NOW - age))


def test_a_heartbeat_is_read_as_it_was_written(tmp_path):
    path = heartbeat_file(tmp_path, "a")
    beat(path, 50, 12.5)
    os.utime(path, (NOW - 3, NOW - 3))
    assert list(heartbeats(tmp_path, NOW)) == [("a", Heartbeat(50.0, 12.5, 3.0))]
    beat(path, 60, 13.0)
    ((_, heartbeat),) = heartbeats(tmp_path)
    assert (heartbeat.steps, heartbeat.rate) == (60.0, 13.0)
    assert heartbeat.alive
    assert [file.name for file in tmp_path.iterdir()] == ["a.progress"]


def test_runs_are_read_in_the_order_of_their_ids(tmp_path):
    for key in ("b", "c", "a"):
        leave(tmp_path, key, '{"steps": 1, "rate": 1}')
    (tmp_path / "a.log").write_text("printed by the run")
    assert [key for key, _ in heartbeats(tmp_path, NOW)] == ["a", "b", "c"]


def test_there_are_no_heartbeats_in_a_folder_that_does_not_exist(tmp_path):
    assert list(heartbeats(tmp_path / "none")) == []


def test_training_continues_where_no_heartbeat_can_be_written(tmp_path):
    beat(heartbeat_file(tmp_path / "none", "a"), 1, 1.0)
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_leaves_that_is_killed_while_it_writes_is_removed_too(tmp_path, monkeypatch):
    path = heartbeat_file(tmp_path, "a")
    beat(path, 1, 1.0)
    monkeypatch.setattr(os, "replace", lambda *_: None)  # as if killed just before
    beat(path, 2, 1.0)
    assert len(list(tmp_path.iterdir())) == 2
    remove(path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_disappears_meanwhile_is_skipped(tmp_path):
    heartbeat_file(tmp_path, "a").symlink_to(tmp_path / "none")
    leave(tmp_path, "b", '{"steps": 1, "rate": 1}')
    assert [key for key, _ in heartbeats(tmp_path, NOW)] == ["b"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"steps": 1}', '{"steps": null, "rate": 1}'])
def test_an_incomplete_file_is_a_heartbeat_without_progress(tmp_path, text):
    leave(tmp_path, "a", text, age=7.0)
    assert list(heartbeats(tmp_path, NOW)) == [("a", Heartbeat(0.0, 0.0, 7.0))]


def test_a_clock_that_is_behind_is_no_silence(tmp_path):
    leave(tmp_path, "a", json.dumps({"steps": 1, "rate": 1}), age=-60.0)
    ((_, heartbeat),) = heartbeats(tmp_path, NOW)
    assert heartbeat.silent == 0.0


def test_a_silent_run_does_not_count_as_running():
    assert Heartbeat(1.0, 1.0, SILENT - 1).alive
    assert not Heartbeat(1.0, 1.0, SILENT).alive


def test_time_left():
    assert Heartbeat(50.0, 5.0, 0.0).seconds_left(200) == 30.0
    assert Heartbeat(250.0, 5.0, 0.0).seconds_left(200) == 0.0
    assert Heartbeat(50.0, 0.0, 0.0).seconds_left(200) is None


def test_files_lie_beside_the_results(tmp_path):
    assert heartbeat_file(logs_folder(tmp_path), "a") == tmp_path / "logs" / "a.progress"


def test_the_module_loads_neither_torch_nor_sb3():
    code = (
        "import sys, sb3_course.benchmark.execution.heartbeat;"
        "sys.exit(bool({'torch', 'stable_baselines3'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "text",
    [
        '{"steps": NaN, "rate": 1}',
        '{"steps": 1, "rate": Infinity}',
        '{"steps": -1, "rate": 1}',
        '{"steps": 1%s, "rate": 1}' % ("0" * 400),
        "[" * 4000,
        "\xff",
    ],
)
def test_what_is_no_count_is_unknown_progress(tmp_path, text):
    path = heartbeat_file(tmp_path, "a")
    path.write_text(text, "latin-1")
    os.utime(path, (NOW, NOW))
    assert list(heartbeats(tmp_path, NOW)) == [("a", Heartbeat(0.0, 0.0, 0.0))]


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "device", "large"])
def test_what_is_no_heartbeat_is_neither_waited_for_nor_read(tmp_path, kind):
    path = heartbeat_file(tmp_path, "a")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        path.write_text(" " * 5000)
    else:
        path.symlink_to(path if kind == "loop" else "/dev/zero")
    assert list(heartbeats(tmp_path, NOW)) == []


def test_a_checkpoint_is_removed_with_what_killed_saves_have_left(tmp_path):
    ours = [checkpoint_file(tmp_path, "run"), tmp_path / ".run.zip.abcd1234.sb3-course"]
    others = [checkpoint_file(tmp_path, "run2"), tmp_path / ".run2.zip.abcd.sb3-course"]
    for path in (*ours, *others):
        path.touch()
    remove_checkpoint(tmp_path, "run")
    remove_checkpoint(tmp_path, "run")
    assert sorted(tmp_path.iterdir()) == sorted(others)
