"""Grids whose processes are killed at random moments, and grids that two commands work on."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from sb3_course.benchmark.storage.store import Store
from tests.benchmark.helpers import content, tiny
from tests.benchmark.processes import (
    command_line,
    descendants,
    is_running,
    start_command,
    wait_until,
)

TRAINING = {"total_timesteps": 1000, "n_envs": 2, "backend": "dummy", "normalize": True}
GRID = {
    "seeds": 6,
    "environments": {"CartPole-v1": TRAINING, "Acrobot-v1": TRAINING},
    "algorithms": {"A2C": {"class": "A2C"}, "REINFORCE": {"class": "REINFORCE"}},
}


def start(folder, log="log", **changes):
    (folder / "grid.yaml").write_text(yaml.safe_dump(content(**GRID | changes)))
    words = ["run", "grid.yaml", "--workers", "2", "--retries", "9"]
    return start_command(words, folder, log)


def workers(parent):
    """Find the processes that runs execute in."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    children = [pid for task in tasks for pid in task.read_text().split()]
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [int(pid) for pid, line in lines.items() if b"spawn_main" in line]


def returns(folder, **changes):
    """Read what came of each run; all have to be there."""
    specs = tiny(**GRID | changes).runs()
    results = Store(folder / "results" / "tiny").read(specs)
    assert len(results) == len(specs)
    assert {r.failure for r in results} == {None}
    return {r.spec.id: [(m.step, m.returns, m.lengths) for m in r.measurements] for r in results}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert start(folder).wait() == 0
    return returns(folder)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_killed_grids_end_like_undisturbed_ones(tmp_path, undisturbed, seed):
    """Two workers are killed, then the parent, and the grid is resumed.

    The grids keep checkpoints, so that a killed run goes on instead of starting anew.

    A moment is a number of ended runs and a part of a second, so that it falls within the grid
    however fast the machine is.
    """
    moments = random.Random(seed)
    runs = tmp_path / "results" / "tiny" / "runs"
    kept = {"checkpoint_every": 100}
    process = start(tmp_path, **kept)
    for at_least in sorted(moments.sample(range(20), 3)):
        wait_until(lambda n=at_least: len(list(runs.glob("*.json"))) >= n, process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(moments.random())
        if process.poll() is None and (victims := workers(process.pid)):
            last = victims
            os.kill(moments.choice(victims), signal.SIGKILL)
    process.kill()
    process.wait()
    again = start(tmp_path, **kept)
    wait_until(lambda: not any(map(is_running, last)), again)
    assert not any(map(is_running, last)), "workers outlived their parent"
    assert again.wait() == 0, (tmp_path / "log").read_text()
    assert returns(tmp_path) == undisturbed
    assert list((tmp_path / "results" / "tiny" / "logs").glob("*.zip")) == []


STORM = {
    "seeds": 50,
    "environments": {"CartPole-v1": TRAINING, "Acrobot-v1": TRAINING},
    "algorithms": {"A2C": {"class": "A2C"}, "NPG": {"class": "NPG", "params": {"n_steps": 64}}},
    "checkpoint_every": 200,
}


@pytest.mark.slow
def test_a_storm_of_signals(tmp_path):
    """200 runs on two commands; any process of theirs is killed, stopped or interrupted at random.

    ``STORM_MINUTES`` sets how long (2 by default); a command that ends is started again.
    """
    calm = tmp_path / "calm"
    calm.mkdir()
    assert start(calm, **STORM).wait() == 0
    expected, storm = returns(calm, **STORM), tmp_path / "storm"
    storm.mkdir()
    moments = random.Random(0)
    clock, minutes = time.monotonic(), float(os.environ.get("STORM_MINUTES", "2"))
    commands = [start(storm, log, **STORM) for log in ("first", "second")]
    everyone: set[int] = set()
    sent = rounds = 0
    while time.monotonic() - clock < 60 * minutes:
        with suppress(subprocess.TimeoutExpired):
            commands[0].wait(moments.uniform(0.05, 1.0))
        alive = [pid for command in commands for pid in [command.pid, *descendants(command.pid)]]
        everyone.update(alive)
        if alive:
            with suppress(ProcessLookupError):
                os.kill(moments.choice(alive), moments.choice(SIGNALS))
                sent += 1
        for i, log in enumerate(("first", "second")):
            if commands[i].poll() is not None:
                if commands[i].returncode == 0:  # all is done: from the beginning, in a new place
                    assert returns(storm, **STORM) == expected
                    shutil.rmtree(storm / "results")
                    rounds += 1
                commands[i] = start(storm, log, **STORM)
    for command in commands:
        command.kill()
        command.wait()
    last = start(storm, **STORM)
    assert last.wait() == 0, (storm / "log").read_text()
    assert returns(storm, **STORM) == expected
    left = [pid for pid in everyone if is_running(pid) and "sb3_course" in command_line(pid)]
    assert left == []
    logs = storm / "results" / "tiny"
    assert list(logs.rglob("*.sb3-course")) + list(logs.rglob("*.zip")) == []
    print(f"{sent} signals, {rounds + 1} grids")


SIGNALS = [signal.SIGKILL] * 4 + [signal.SIGTERM, signal.SIGINT, signal.SIGABRT, signal.SIGSEGV]


@pytest.mark.slow
def test_two_commands_share_a_grid(tmp_path, undisturbed):
    """Each run is done by one of the two, and both end when all is done."""
    both = [start(tmp_path, log) for log in ("first", "second")]
    assert [process.wait() for process in both] == [0, 0]
    assert returns(tmp_path) == undisturbed
    done = [
        re.findall(r"\] (.*): return", (tmp_path / log).read_text()) for log in ("first", "second")
    ]
    assert len(done[0]) + len(done[1]) == len({*done[0], *done[1]}) == 24
