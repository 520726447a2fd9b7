"""Environments that hang in processes of their own, and all the ways in which their run ends."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml

from sb3_course.benchmark.storage.store import Store
from tests.benchmark import misbehaving
from tests.benchmark.helpers import content, tiny
from tests.benchmark.misbehaving import FOLDER, HANGS
from tests.benchmark.processes import ROOT, children, processes_with, wait_until

COMMAND = (  # Ctrl-C is ignored by what a shell starts in the background, and by its children
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from sb3_course.cli.app import main; main()"
)


def all_gone(folder, seconds=60.0):
    """Wait for the end of all processes that a command has started; return whether it came."""
    deadline = time.monotonic() + seconds
    while left := processes_with(FOLDER, folder):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return not left


def grid(name, backend, hours):
    training = {"total_timesteps": 100, "n_envs": 2, "backend": backend}
    environment = misbehaving.environment(name)
    return content(environments={environment: training}, seeds=1, time_limit=hours)


def start(folder, settings):
    (folder / "grid.yaml").write_text(yaml.safe_dump(settings))
    with (folder / "log").open("w") as stream:
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, "run", "grid.yaml", "--workers", "1", "--retries", "0"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), FOLDER: str(folder), "TMPDIR": str(folder)},
            stdout=stream,
            stderr=stream,
        )


def kill(what, command):
    """Kill one or several of the processes between a command and its environments."""
    (guard,) = [
        pid
        for pid in children(command)
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    (supervisor,) = children(guard)
    run = next(pid for pid in children(supervisor))
    victims = {"guard": guard, "supervisor": supervisor, "run": run}
    for victim in victims.values() if what == "all" else [victims[what]]:
        os.kill(victim, signal.SIGKILL)


def end(how, command):
    """Make the run of a command end, or the command itself; return the reason that is expected."""
    if how in ("SIGKILL", "SIGINT", "SIGTERM"):
        command.send_signal(signal.Signals[how])
        return None
    if how == "time limit":
        return "time limit"
    kill(how, command.pid)
    return "exit code -9"


def all_end(name, how, folder, backend):
    """Start a grid whose environments hang, end it, and require that nothing is left of it."""
    settings = grid(name, backend, limit(backend) if how == "time limit" else 1.0)
    command = start(folder, settings)
    try:
        wait_until(lambda: any(folder.glob("hangs*")), command)
        assert command.poll() is None, (folder / "log").read_text()
        reason = end(how, command)
        command.wait(60)
        assert all_gone(folder), "processes outlived their run"
    finally:
        for pid in [command.pid, *processes_with(FOLDER, folder)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if reason is not None:
        runs = tiny(**settings).runs()
        (failure,) = Store(folder / "results" / "tiny").read(runs)
        assert reason in failure.reason
    # All temporary files are gone, but for the cache that torch keeps from one program to the next.
    left = {path.name.partition("_")[0].rstrip("0123456789") for path in folder.iterdir()}
    assert left - {"torchinductor"} == {"grid.yaml", "log", "results", "hangs"}


def limit(backend):
    """Return a time limit in hours within which the environments hang, however slow they start."""
    return {"subproc": 40, "dummy": 6}[backend] / 3600


ENDS = ["SIGKILL", "guard", "supervisor", "run", "all", "time limit"]


@pytest.fixture
def folder():
    """A temporary folder whose path is short enough for sockets."""
    with TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.slow
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("name", HANGS)
def test_environments_that_hang_end_with_their_run(folder, name, how):
    all_end(name, how, folder, "subproc")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
def test_environments_that_hang_end_with_the_command(folder, how):
    all_end("leaves a daemon", how, folder, "subproc")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        pytest.param(
            *case, marks=() if case == ("leaves a daemon", "SIGKILL") else pytest.mark.slow
        )
        for case in product(HANGS, ENDS)
    ],
)
def test_a_run_that_hangs_ends(folder, name, how):
    all_end(name, how, folder, "dummy")
