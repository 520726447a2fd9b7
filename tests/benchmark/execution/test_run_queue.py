import multiprocessing
import os
import signal

import pytest

from sb3_course.benchmark.execution.run_queue import RunLocks, RunQueue
from sb3_course.benchmark.storage.store import Store
from tests.benchmark.helpers import ended, tiny

FIRST, SECOND = tiny().runs()


def lock(folder, ready):
    locks = RunLocks(folder)
    ready.send(locks.acquire(FIRST))
    signal.pause()


@pytest.fixture
def other(tmp_path):
    """Another process that has locked the first run."""
    fork = multiprocessing.get_context("fork")
    mine, theirs = fork.Pipe()
    process = fork.Process(target=lock, args=[tmp_path, theirs], daemon=True)
    process.start()
    assert mine.recv()
    yield process
    process.kill()
    process.join()


def test_a_run_is_locked_by_one_process_until_that_ends(tmp_path, other):
    with RunLocks(tmp_path) as locks:
        assert not locks.acquire(FIRST)
        assert locks.acquire(SECOND)
        os.kill(other.pid, signal.SIGKILL)
        other.join()
        assert locks.acquire(FIRST)


def test_a_lock_can_be_released(tmp_path):
    fork = multiprocessing.get_context("fork")
    with RunLocks(tmp_path) as locks:
        assert locks.acquire(FIRST)
        locks.release(FIRST)
        mine, theirs = fork.Pipe()
        process = fork.Process(target=lock, args=[tmp_path, theirs], daemon=True)
        process.start()
        assert mine.recv()
        process.kill()
        process.join()


def test_runs_can_be_added_and_removed(tmp_path):
    first, second = tiny().runs()
    store = Store(tmp_path)
    with RunLocks(tmp_path) as locks:
        queue = RunQueue([first], store, locks)
        queue.add([second])
        queue.remove({first.id, "another"})
        assert len(queue) == 1
        assert list(queue.next(9)) == [second]


@pytest.mark.parametrize("again", [False, True])
def test_a_run_whose_failure_is_removed_has_not_ended(again, tmp_path):
    store = Store(tmp_path)
    failure = store.failure_path(FIRST)
    store.write(ended(FIRST, failure="before"))
    with RunLocks(tmp_path) as locks:
        queue = RunQueue([FIRST], store, locks)
        failure.unlink()
        if again:  # by another command
            store.write(ended(FIRST, failure="anew"))
            os.utime(failure, (10, 10))
        assert list(queue.next(1)) == ([] if again else [FIRST])
        assert queue.ended_elsewhere() == ([FIRST] if again else [])
