import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch as th

from sb3_course.imitation.dataset import CHUNK, MOST_RESERVED, Dataset, SeededMinibatches

CPU = th.device("cpu")


def rows(start, stop):
    numbers = np.arange(start, stop)
    return {"a": numbers[:, None].astype(np.float32), "b": numbers}, numbers


def content(dataset):
    np.testing.assert_array_equal(dataset.obs["a"][:, 0], dataset.actions)
    np.testing.assert_array_equal(dataset.obs["b"], dataset.actions)
    return sorted(dataset.actions.tolist())


@pytest.mark.parametrize("sizes", [[3, 4, 1], [10], [1] * 9])
def test_keeps_everything_without_a_capacity(sizes):
    dataset, total = Dataset(), 0
    for size in sizes:
        dataset.add(*rows(total, total + size))
        total += size
        assert content(dataset) == list(range(total))


@pytest.mark.parametrize("sizes", [[3, 4, 1], [10], [1] * 9, [5, 5, 5], [4, 13, 2]])
def test_keeps_the_newest_at_a_capacity_in_the_same_memory(sizes):
    dataset, total, places = Dataset(5), 0, set()
    for size in sizes:
        dataset.add(*rows(total, total + size))
        total += size
        assert content(dataset) == list(range(max(0, total - 5), total))
        places.add((dataset.nbytes, dataset.actions.__array_interface__["data"][0]))
    assert len(places) == 1


def test_reserved_rows_do_not_move():
    dataset = Dataset()
    dataset.add(*rows(0, 3))
    dataset.reserve(10)
    before = dataset.actions.__array_interface__["data"][0]
    dataset.add(*rows(3, 13))
    assert dataset.actions.__array_interface__["data"][0] == before
    assert content(dataset) == list(range(13))


@pytest.mark.parametrize("capacity", [None, 4])
def test_goes_on_from_its_state(capacity):
    dataset = Dataset(capacity)
    dataset.add(*rows(0, 3))
    dataset.add(*rows(3, 6))
    copy = Dataset.from_state(dataset.state(), capacity)
    for one in (dataset, copy):
        one.add(*rows(6, 8))
    np.testing.assert_array_equal(copy.actions, dataset.actions)
    assert content(copy) == content(dataset)
    assert Dataset.from_state(Dataset(capacity).state(), capacity).size == 0


@pytest.mark.parametrize("before", [5, 8, 20, None])
@pytest.mark.parametrize("after", [3, 5, 8, 20, None])
@pytest.mark.parametrize("n", [4, 5, 8])
def test_another_capacity_keeps_the_newest_rows(before, after, n):
    """A file may be loaded with another ``buffer_size``; then the oldest rows are dropped first."""
    dataset = Dataset(before)
    for i in range(n):
        dataset.add(*rows(i, i + 1))
    kept = list(range(n))[-(before or n) :]
    resized = Dataset.from_state(dataset.state(), after)
    for i in range(n, n + 6):
        kept = kept[-(after or len(kept)) :]
        assert content(resized) == kept
        resized.add(*rows(i, i + 1))
        kept.append(i)


def draw(n_batches, seed=(1,), start=0):
    minibatches = SeededMinibatches(10, 3, CPU, seed, start)
    return [minibatches.draw().tolist() for _ in range(n_batches)]


def test_every_transition_is_used_before_one_is_used_twice():
    drawn = draw(12)
    for i in range(0, 12, 3):
        assert len({index for batch in drawn[i : i + 3] for index in batch}) == 9


@pytest.mark.parametrize(("n", "batch_size"), [(5_000, 1), (7_000, 2), (700, 1), (10, 3)])
@pytest.mark.parametrize("start", [0, 1_500])
def test_an_epoch_uses_every_transition_however_many_minibatches_it_has(n, batch_size, start):
    """At most those are left out that do not fill a minibatch, others each time."""
    epoch = n // batch_size
    minibatches = SeededMinibatches(n, batch_size, CPU, (1,), start)
    for _ in range(-start % epoch):
        minibatches.draw()
    for _ in range(3):
        used = th.cat([minibatches.draw() for _ in range(epoch)])
        assert len(used.unique()) == epoch * batch_size == len(used)


def test_the_seed_decides_the_minibatches():
    assert draw(3) == draw(3) != draw(3, seed=(2,))


@pytest.mark.parametrize("start", [2, CHUNK - 1, CHUNK, CHUNK + 4])
def test_a_later_start_draws_the_same_minibatches(start):
    assert draw(8, start=start) == draw(start + 8)[start:]


@pytest.mark.parametrize("start", [0, 2, CHUNK - 1, CHUNK])
def test_a_copy_draws_the_same_minibatches(start):
    minibatches = SeededMinibatches(10, 3, CPU, (1,), start)
    for other in (deepcopy(minibatches), pickle.loads(pickle.dumps(minibatches))):
        assert [other.draw().tolist() for _ in range(5)] == draw(5, start=start)
    assert minibatches.draw().tolist() == draw(1, start=start)[0]


@pytest.mark.parametrize("batch_size", [10, 11])
def test_a_batch_as_large_as_the_data_selects_everything(batch_size):
    assert SeededMinibatches(10, batch_size, CPU, (1,)).draw() == slice(None)


def test_no_more_is_reserved_than_is_reasonable():
    dataset = Dataset()
    dataset.add(*rows(0, 3))
    dataset.reserve(10**15)
    assert MOST_RESERVED / 2 < dataset.nbytes < 2 * MOST_RESERVED
    assert content(dataset) == [0, 1, 2]


def test_a_failed_allocation_changes_nothing(monkeypatch):
    dataset = Dataset()
    dataset.add(*rows(0, 3))

    def fails(shape, dtype):
        if len(shape) > 1:
            raise MemoryError
        return np.zeros(shape, dtype)

    monkeypatch.setattr(np, "empty", fails)
    with pytest.raises(MemoryError):
        dataset.reserve(10)
    monkeypatch.undo()
    dataset.add(*rows(3, 5))
    assert content(dataset) == [0, 1, 2, 3, 4]
