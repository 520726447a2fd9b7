import io
import json
import os

import pytest
from rich.console import Console

from sb3_course.benchmark.execution.heartbeat import SILENT
from sb3_course.benchmark.execution.status import duration, read_status, show
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.store import Store
from tests.benchmark.helpers import ended, tiny

NOW = 1_000_000.0
GRID = tiny(seeds=5, algorithms={"A2C": {"class": "A2C"}, "N [x]": {"class": "NPG"}})
SPECS = GRID.runs()


def leave(folder, kind, spec, text="{}", age=0.0):
    suffix = ".progress" if kind == "logs" else ".json"
    path = folder / kind / f"{spec.id}{suffix}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, (NOW - age, NOW - age))


@pytest.fixture
def folder(tmp_path):
    """Seeds 0 and 1 are done, 2 runs, 3 failed, 4 is missing; of the other algorithm all are."""
    for spec in SPECS[:2]:
        Store(tmp_path).write(ended(spec))
    leave(tmp_path, "logs", SPECS[2], json.dumps({"steps": 50, "rate": 5.0}))
    Store(tmp_path).write(RunResult(spec=SPECS[3], failure="Traceback\n  x\nOSError: [why]\n"))
    return tmp_path


def shown(folder, terminal=False) -> str:
    stream = io.StringIO()
    show(
        read_status(SPECS, folder, NOW),
        Console(file=stream, width=200, force_terminal=terminal, color_system=None),
    )
    return stream.getvalue()


def states(folder) -> list[str]:
    return [state for _, state in read_status(SPECS, folder, NOW).states[:5]]


def test_each_run_is_in_one_state(folder):
    assert states(folder) == ["done", "done", "running", "failed", "missing"]
    status = read_status(SPECS, folder, NOW)
    assert status.counts == {"done": 2, "running": 1, "failed": 1, "missing": 6}
    assert status.failures == [(SPECS[3], "OSError: [why]")]
    ((spec, progress),) = status.progress
    assert spec == SPECS[2]
    assert progress.seconds_left(total=200) == (200 - 50) / 5.0
    # 150 steps of the running one and 6 runs of 200 steps, at 5 steps a second.
    assert status.seconds_left() == (150 + 6 * 200) / 5.0


def test_a_packed_run_is_done(tmp_path):
    store = Store(tmp_path)
    store.write(ended(SPECS[1]))
    store.pack()
    assert states(tmp_path) == ["missing", "done", *["missing"] * 3]


def test_nothing_has_begun(tmp_path):
    assert states(tmp_path / "none") == ["missing"] * 5
    assert read_status(SPECS, tmp_path / "none", NOW).seconds_left() is None


def test_a_failed_run_that_is_tried_again_runs_and_then_is_done(folder):
    leave(folder, "logs", SPECS[3])
    assert states(folder)[3] == "running"
    Store(folder).write(ended(SPECS[3]))
    assert states(folder)[3] == "done"


def test_progress_that_a_killed_run_left_is_no_running_run(folder):
    leave(folder, "logs", SPECS[2], json.dumps({"steps": 50, "rate": 5.0}), age=SILENT + 240)
    assert states(folder)[2] == "missing"
    assert "silent for 6 min: stopped?" in shown(folder)
    assert read_status(SPECS, folder, NOW).seconds_left() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"steps": 1}', '{"steps": null, "rate": 1}'])
def test_progress_that_is_being_written_is_still_a_sign_of_life(folder, text):
    leave(folder, "logs", SPECS[2], text)
    assert states(folder)[2] == "running"
    assert "unknown" in shown(folder)


def test_a_failure_without_a_reason_is_reported_as_such(folder):
    Store(folder).write(RunResult(spec=SPECS[3], failure=" "))
    assert read_status(SPECS, folder, NOW).failures == [(SPECS[3], "no reason")]


@pytest.mark.parametrize("kind", ["runs", "failed"])
@pytest.mark.parametrize("text", ["", "{}", '{"failure": " "}'])
def test_a_damaged_result_is_a_failed_run_whose_reason_names_its_file(folder, kind, text):
    leave(folder, kind, SPECS[4], text)
    assert states(folder) == ["done", "done", "running", "failed", "failed"]
    reason = dict((s.id, r) for s, r in read_status(SPECS, folder, NOW).failures)[SPECS[4].id]
    assert f"{folder / kind / SPECS[4].id}.json is damaged" in reason
    assert "`sb3-course run` makes the run again" in reason


def test_tables_are_plain_columns_where_there_is_no_terminal(folder):
    text = shown(folder)
    rows = [line.split() for line in text.splitlines()]
    assert ["algorithm", "environment", "done", "running", "failed", "missing"] in rows
    assert ["A2C", "CartPole-v1", "2", "1", "1", "1"] in rows
    assert ["N", "[x]", "CartPole-v1", "0", "0", "0", "5"] in rows
    assert "A2C · CartPole-v1 · seed 2     50  200         5     30 s" in text
    assert "A2C · CartPole-v1 · seed 3  OSError: [why]" in text
    assert text.splitlines()[-1] == (
        "10 runs: 2 done, 1 running, 1 failed, 6 missing; the rest takes 4 min at the present speed"
    )
    assert "─" not in text
    assert "─" in shown(folder, terminal=True)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.9, "60 s"),
        (90, "2 min"),
        (3599, "1 h 0 min"),
        (11_100, "3 h 5 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations(seconds, expected):
    assert duration(seconds) == expected
