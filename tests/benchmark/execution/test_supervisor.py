"""Runs that misbehave: what they cost, and what is left of them. Real processes do them."""

import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from sb3_course.benchmark.execution.executors import LocalProcesses
from sb3_course.benchmark.execution.process_tree import MARK
from sb3_course.benchmark.execution.worker import WorkerSettings
from tests.benchmark import misbehaving
from tests.benchmark.helpers import tiny
from tests.benchmark.misbehaving import CHANGES, ENDS, HERE, LEAVES, PLACES
from tests.benchmark.processes import processes_with

FEW = {"default dtype", "random states", "folder that is gone", "signals ignored", "small files"}
FEW |= {"patched training", "thread", "daemon", "exit 0", "kill of the group"}
IN_PLACES = [
    pytest.param(name, PLACES[i % 4], marks=() if name in FEW else pytest.mark.slow)
    for i, name in enumerate([*CHANGES, *LEAVES])
]
ENDINGS = [pytest.param(n, marks=() if n in FEW else pytest.mark.slow) for n in ENDS]


def spec(environment, backend="dummy", algorithm="A2C"):
    training = {"total_timesteps": 40, "n_envs": 2, "backend": backend}
    return tiny(
        environments={environment: training},
        algorithms={"A2C": {"class": algorithm}},
        evaluation={"every": 20, "episodes": 2},
        seeds=1,
    ).runs()[0]


SOUND = spec(f"{HERE}:Notices-v0")


def do(processes, run):
    processes.start(run)
    deadline = time.monotonic() + 60
    while not (outcomes := processes.poll(0.5)):
        assert time.monotonic() < deadline, f"{run.label} has no outcome"
    return outcomes[0]


def returns(outcome):
    assert getattr(outcome, "failure", outcome) is None
    return [(m.step, m.returns, m.lengths) for m in outcome.measurements]


@contextmanager
def processes(folder, hours=1.0):
    (folder / "logs").mkdir(exist_ok=True)
    with LocalProcesses(1, WorkerSettings(folder / "logs", hours=hours)) as executor:
        yield executor


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Processes that all runs of this module share."""
    with processes(tmp_path_factory.mktemp("kept")) as executor:
        yield executor


@pytest.fixture(scope="module")
def in_fresh_process(tmp_path_factory):
    with processes(tmp_path_factory.mktemp("fresh")) as executor:
        return returns(do(executor, SOUND))


def left(executor):
    """Return how many processes there are after a run, and which temporary files."""
    (one,) = executor._free
    folder = Path(one._temporary)
    return len(processes_with(MARK, one._mark)), list(folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize(("name", "place"), IN_PLACES)
def test_a_run_leaves_nothing_to_the_next_one(kept, in_fresh_process, name, place):
    do(kept, spec(misbehaving.environment(name, place)))
    assert left(kept) == (2, [])  # the supervisor and its guard
    assert returns(do(kept, SOUND)) == in_fresh_process


@pytest.mark.parametrize("name", ENDINGS)
def test_a_run_that_ends_its_process_is_seen_at_once(kept, in_fresh_process, name):
    began = time.monotonic()
    outcome = do(kept, spec(misbehaving.environment(name)))
    assert time.monotonic() - began < 30.0  # of an hour
    reason = outcome.reason.rpartition("\n")[2]
    assert ENDS[name][1] in reason
    assert returns(do(kept, SOUND)) == in_fresh_process
