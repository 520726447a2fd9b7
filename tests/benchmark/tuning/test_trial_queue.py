import pytest

from sb3_course.benchmark.execution.run_queue import RunLocks
from sb3_course.benchmark.storage.store import Store
from sb3_course.benchmark.tuning.journal import open_journal
from sb3_course.benchmark.tuning.trial_queue import TrialQueue
from sb3_course.benchmark.tuning.trials import FAILED, values_of
from tests.benchmark.tuning.made_up import made, study

TWO = {"gamma": [0.9, 0.99]}


@pytest.fixture
def queue_of(tmp_path):
    """Make a queue of a study; ends are noted in ``told``."""
    storage, told = open_journal(tmp_path), []
    with RunLocks(tmp_path) as locks:

        def make(**search):
            of = study(storage, tmp_path, **search)
            queue = TrialQueue(of, Store(tmp_path), locks, lambda specs: None, tell)
            return queue, of, told

        def tell(trial, rung, value):
            told.append((trial.number, rung, value))

        yield make


def end(queue, tmp_path, spec, **changes):
    Store(tmp_path).write(made(spec).model_copy(update=changes))
    queue.ended(spec)


def test_a_trial_begins_when_a_slot_is_free(queue_of):
    queue, of, _ = queue_of(halving=1, seeds=2, trials=3)
    first = list(queue.next(1))
    assert len(of.trials()) == 1
    assert [spec.seed for spec in first] == [100]
    more = list(queue.next(2))
    assert [spec.seed for spec in more] == [101, 100]
    assert len(of.trials()) == 2


def test_the_next_rung_follows_the_last_run_of_one(queue_of, tmp_path):
    queue, of, told = queue_of(seeds=2, trials=1)
    for seed, stop in ((100, 100), (100, None), (101, None)):
        (spec,) = queue.next(9)
        assert (spec.seed, spec.config.stop_at) == (seed, stop)
        end(queue, tmp_path, spec)
    assert [(number, rung) for number, rung, _ in told] == [(0, 2)]
    assert len(queue) == 0
    assert len(values_of(of.held(0))) == 3


def test_a_trial_is_pruned_although_its_command_was_killed_before(queue_of, tmp_path):
    """Its value is in the journal, and what follows from it is not."""
    queue, of, told = queue_of(seeds=1, trials=2)
    for _ in range(2):
        end(queue, tmp_path, *queue.next(1))
    second = of.take()
    (spec,) = of.subject.runs(of.subject.settings(second.params), of.subject.rungs[0])
    Store(tmp_path).write(made(spec, -1e6))
    second.report(-1e6, 0)
    of.close()  # as the end of a process does
    queue, of, told = queue_of(seeds=1, trials=2)
    assert list(queue.next(1)) == []
    assert told[-1][:2] == (1, 0)
    assert len(queue) == 0


def test_trials_with_the_same_setting_share_their_runs(queue_of, tmp_path):
    queue, _, told = queue_of(ranges=TWO, halving=1, seeds=1, trials=8)
    specs = list(queue.next(8))
    assert len(specs) == len({spec.id for spec in specs}) == 2
    for spec in specs:
        end(queue, tmp_path, spec)
    assert list(queue.next(8)) == []
    assert len(told) == 8
    assert len({value for _, _, value in told}) == 2


def test_a_failed_run_ends_the_trials_that_it_is_of_and_no_other(queue_of, tmp_path):
    queue, of, _ = queue_of(ranges=TWO, halving=1, seeds=3, trials=4)
    bad, running = queue.next(2)
    end(queue, tmp_path, bad, measurements=[], failure="ValueError: NaN")
    end(queue, tmp_path, running)
    for spec in queue.next(20):
        assert spec.config.params != bad.config.params  # nor does a later trial try it again
        end(queue, tmp_path, spec)
    failed = [t for t in of.trials() if FAILED in t.user_attrs]
    assert failed[0].user_attrs[FAILED] == f"{bad.label}: ValueError: NaN"
    good = [
        t
        for t in of.trials()
        if of.subject.settings(t.params) != of.subject.settings(failed[0].params)
    ]
    assert good and all(values_of(t) for t in good)


def test_runs_that_another_command_has_ended_count(queue_of, tmp_path):
    queue, _, told = queue_of(halving=1, seeds=1, trials=1)
    assert len(queue) == 1
    (spec,) = queue.next(1)
    queue._runs.ended(spec)  # as if it had been in the other one's hands
    queue._runs.add([spec])
    queue._running.clear()
    Store(tmp_path).write(made(spec))
    assert list(queue.next(1)) == []
    assert [s.id for s in queue.ended_elsewhere()] == [spec.id]
    assert len(told) == 1
