"""Grids whose processes are killed at random moments, and grids that two commands work on."""

import os
import random
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from sb3_course.benchmark.storage.store import Store
from tests.benchmark.helpers import content, tiny

ROOT = Path(__file__).resolve().parents[3]
COMMAND = "from sb3_course.cli.app import main; main()"
TRAINING = {"total_timesteps": 400, "n_envs": 2, "backend": "dummy"}
GRID = {
    "seeds": 6,
    "environments": {"CartPole-v1": TRAINING, "Acrobot-v1": TRAINING},
    "algorithms": {"A2C": {"class": "A2C"}, "REINFORCE": {"class": "REINFORCE"}},
}


def start(folder, log="log"):
    (folder / "grid.yaml").write_text(yaml.safe_dump(content(**GRID)))
    words = ["run", "grid.yaml", "--workers", "2", "--retries", "9"]
    with (folder / log).open("w") as stream:
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=stream,
            stderr=stream,
        )


def workers(parent):
    """Find the processes that runs execute in."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    children = [pid for task in tasks for pid in task.read_text().split()]
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [int(pid) for pid, line in lines.items() if b"spawn_main" in line]


def is_running(pid):
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until(condition, process, seconds=0.02):
    """Wait until something holds or the process ends."""
    while not condition() and process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def returns(folder):
    """Read what came of each run; all have to be there."""
    specs = tiny(**GRID).runs()
    results = Store(folder / "results" / "tiny").read(specs)
    assert len(results) == len(specs) == 24
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

    A moment is a number of ended runs and a part of a second, so that it falls within the grid
    however fast the machine is.
    """
    moments = random.Random(seed)
    runs = tmp_path / "results" / "tiny" / "runs"
    process = start(tmp_path)
    for at_least in sorted(moments.sample(range(20), 3)):
        wait_until(lambda n=at_least: len(list(runs.glob("*.json"))) >= n, process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(moments.random())
        if process.poll() is None and (victims := workers(process.pid)):
            last = victims
            os.kill(moments.choice(victims), signal.SIGKILL)
    process.kill()
    process.wait()
    again = start(tmp_path)
    wait_until(lambda: not any(map(is_running, last)), again)
    assert not any(map(is_running, last)), "workers outlived their parent"
    assert again.wait() == 0, (tmp_path / "log").read_text()
    assert returns(tmp_path) == undisturbed


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
