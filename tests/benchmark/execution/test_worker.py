"""What a worker process does around a run; real processes are in ``test_executors``."""

import errno
import io
import os
import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sb3_course.benchmark.execution import worker
from sb3_course.benchmark.execution.train_run import TOLD
from sb3_course.benchmark.execution.worker import (
    GIB,
    Lost,
    WorkerSettings,
    in_words,
    lost,
    told_by,
    work,
)
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.common.tracking.callback import LEFT_OUT
from tests.benchmark.helpers import tiny

SPEC = tiny().runs()[0]


@pytest.fixture
def attempts(monkeypatch):
    """Arguments of the runs, which print and end at once; set ``failure`` to make them fail."""
    attempts = SimpleNamespace(arguments=[], failure=None, raises=None)

    def attempt(*arguments):
        attempts.arguments.append(arguments)
        print("printed in Python", flush=True)
        os.write(1, b"printed in C\n")
        os.write(2, b"warned in C\n")
        if attempts.raises is not None:
            raise attempts.raises
        return RunResult(spec=arguments[0], failure=attempts.failure)

    monkeypatch.setattr(worker, "attempt", attempt)
    return attempts


@pytest.fixture(autouse=True)
def timer(monkeypatch):
    """What is asked of ``faulthandler``, which would otherwise act on this process."""
    calls = []
    fake = SimpleNamespace(
        enable=lambda: calls.append("enable"),
        dump_traceback_later=lambda seconds, exit: calls.append((seconds, exit)),
        cancel_dump_traceback_later=lambda: calls.append("cancel"),
    )
    monkeypatch.setattr(worker, "faulthandler", fake)
    return calls


def test_output_is_kept_of_a_run_that_fails(attempts, tmp_path, capfd):
    attempts.failure = "OSError: made to fail"
    settings = WorkerSettings(tmp_path, hours=1.0)
    assert work(SPEC, settings).failure == "OSError: made to fail"
    lines = settings.log_file(SPEC).read_text().splitlines()
    assert "printed in C" in lines
    assert "warned in C" in lines
    assert capfd.readouterr().out.count("in C") == 0


def test_output_of_a_run_that_finishes_is_removed(attempts, tmp_path):
    assert work(SPEC, WorkerSettings(tmp_path, hours=1.0)).failure is None
    assert list(tmp_path.iterdir()) == []


def test_output_is_redirected_for_the_run_alone(attempts, tmp_path, capfd):
    os.write(1, b"before\n")
    work(SPEC, WorkerSettings(tmp_path, hours=1.0))
    os.write(1, b"after\n")
    os.write(2, b"after\n")
    out, err = capfd.readouterr()
    assert [line for line in out.splitlines() if "Python" not in line] == ["before", "after"]
    assert err == "after\n"


def test_output_and_timer_are_restored_where_a_run_raises(attempts, timer, tmp_path, capfd):
    attempts.raises = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        work(SPEC, WorkerSettings(tmp_path, hours=1.0))
    os.write(1, b"after\n")
    assert capfd.readouterr().out.endswith("after\n")
    assert timer[-1] == "cancel"


def test_a_run_has_its_heartbeat_and_folder_for_tensorboard(attempts, tmp_path):
    work(SPEC, WorkerSettings(tmp_path, hours=1.0, tensorboard=Path("logs")))
    assert attempts.arguments == [
        (SPEC, tmp_path / f"{SPEC.id}.progress", Path("logs"), None, None)
    ]


def test_nothing_is_kept_on_a_machine_without_the_folder(attempts, tmp_path, capfd):
    attempts.failure = "OSError: made to fail"
    result = work(SPEC, WorkerSettings(tmp_path / "none", hours=1.0))
    assert result.failure == "OSError: made to fail"
    assert attempts.arguments == [(SPEC, None, None, None, None)]
    assert list(tmp_path.iterdir()) == []
    assert "in C" not in capfd.readouterr().out


def test_the_process_exits_at_the_time_limit_of_a_run(attempts, timer, tmp_path):
    work(SPEC, WorkerSettings(tmp_path, hours=0.5))
    assert timer == ["enable", (1800.0, True), "cancel"]


@pytest.mark.parametrize(
    ("gib", "hard", "expected"),
    [
        (None, resource.RLIM_INFINITY, []),
        (1.5, resource.RLIM_INFINITY, [(1.5 * GIB, resource.RLIM_INFINITY)]),
        (1.5, GIB, [(GIB, GIB)]),
    ],
)
def test_memory_is_limited_within_what_the_system_allows(
    attempts, monkeypatch, tmp_path, gib, hard, expected
):
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (hard, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: limits.append((kind, limit)))
    work(SPEC, WorkerSettings(tmp_path, hours=1.0, gib=gib))
    assert limits == [(resource.RLIMIT_DATA, limit) for limit in expected]


def test_a_death_is_explained_by_the_last_output_and_one_line(tmp_path):
    settings = WorkerSettings(tmp_path, hours=1.0)
    code = "the process died with exit code -9"
    assert lost(SPEC, settings, 10.0, code).reason == code
    settings.log_file(SPEC).write_bytes(b"Segmentation fault \xff\x1b[31m\n\n")
    assert lost(SPEC, settings, 10.0, code).reason == f"Segmentation fault �[31m\n{code}"


def test_of_much_output_the_end_is_read(tmp_path):
    settings = WorkerSettings(tmp_path, hours=1.0)
    with settings.log_file(SPEC).open("wb") as stream:
        stream.truncate(2**36)  # takes no room on the disk, but would in memory
        stream.seek(0, os.SEEK_END)
        stream.write(b"the end\n")
    assert lost(SPEC, settings, 10.0, "exit code 1").reason.split() == [
        "the",
        "end",
        "exit",
        "code",
        "1",
    ]


def test_an_exception_in_words():
    assert in_words(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert in_words(ValueError("not \x1b[31m this")) == "ValueError: not [31m this"


def test_a_death_at_the_time_limit_names_the_limit(tmp_path):
    settings = WorkerSettings(tmp_path, hours=0.5)
    expected = "stopped at the time limit of 0.5 hours (time_limit)"
    assert lost(SPEC, settings, 1800.0, "exit code 1") == Lost(SPEC, expected, at_its_limit=True)
    assert lost(SPEC, settings, 1799.0, "exit code 1") == Lost(SPEC, "exit code 1")


LINES = [f"wandb: OSError: no network; {LEFT_OUT}", *(f"{words}: why" for words in TOLD)]


@pytest.mark.parametrize("line", LINES)
def test_what_the_user_should_know_is_kept_and_found(line, attempts, tmp_path, monkeypatch):
    def attempt(*_):
        os.write(1, f"{line}\nprinted\n".encode())
        return RunResult(spec=SPEC)

    monkeypatch.setattr(worker, "attempt", attempt)
    settings = WorkerSettings(tmp_path, hours=1.0)
    assert work(SPEC, settings).failure is None
    log = settings.log_file(SPEC)
    assert told_by(log) == [line]
    log.unlink()
    assert told_by(log) == []


def test_what_is_told_first_is_found_before_much_output(tmp_path):
    log = tmp_path / "log"
    log.write_text(f"{LINES[1]}\n" + "x" * 10_000_000 + f"\n{LINES[0]}\n")
    assert told_by(log) == [LINES[1], LINES[0]]


def test_a_full_disk_takes_no_result_away(attempts, tmp_path, monkeypatch, capfd):
    """The last output of a run cannot be written, nor its log be read."""

    class Full(io.StringIO):
        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    def attempt(*_):
        monkeypatch.setattr(sys, "stdout", Full())
        return RunResult(spec=SPEC)

    def unreadable(log):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(worker, "attempt", attempt)
    monkeypatch.setattr(worker, "told_by", unreadable)
    assert work(SPEC, WorkerSettings(tmp_path, hours=1.0)) == RunResult(spec=SPEC)
    os.write(1, b"after it\n")
    assert capfd.readouterr().out == "after it\n"
