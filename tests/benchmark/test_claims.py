import multiprocessing
import os
import signal

import pytest

from sb3_course.benchmark.claims import Claims
from tests.benchmark.helpers import tiny

FIRST, SECOND = tiny().runs()


def hold(folder, ready):
    claims = Claims(folder)
    ready.send(claims.take(FIRST))
    signal.pause()


@pytest.fixture
def other(tmp_path):
    """Another process that holds the first run."""
    fork = multiprocessing.get_context("fork")
    mine, theirs = fork.Pipe()
    process = fork.Process(target=hold, args=[tmp_path, theirs])
    process.start()
    assert mine.recv()
    yield process
    process.kill()
    process.join()


def test_a_run_is_claimed_by_one_process_until_that_is_gone(tmp_path, other):
    with Claims(tmp_path) as claims:
        assert not claims.take(FIRST)
        assert claims.take(SECOND)
        os.kill(other.pid, signal.SIGKILL)
        other.join()
        assert claims.take(FIRST)


def test_a_claim_can_be_given_up(tmp_path):
    fork = multiprocessing.get_context("fork")
    with Claims(tmp_path) as claims:
        assert claims.take(FIRST)
        claims.drop(FIRST)
        mine, theirs = fork.Pipe()
        process = fork.Process(target=hold, args=[tmp_path, theirs])
        process.start()
        assert mine.recv()
        process.kill()
        process.join()
