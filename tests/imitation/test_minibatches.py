import pytest
import torch as th

from sb3_course.imitation.minibatches import CHUNK, SeededMinibatches

CPU = th.device("cpu")


def draw(n_batches, seed=(1,), start=0):
    minibatches = SeededMinibatches(10, 3, CPU, seed, start)
    return [minibatches.draw().tolist() for _ in range(n_batches)]


def test_every_transition_is_used_before_one_is_used_twice():
    drawn = draw(12)
    for i in range(0, 12, 3):
        assert len({index for batch in drawn[i : i + 3] for index in batch}) == 9


def test_the_seed_decides_the_minibatches():
    assert draw(3) == draw(3) != draw(3, seed=(2,))


@pytest.mark.parametrize("start", [2, CHUNK - 1, CHUNK, CHUNK + 4])
def test_a_later_start_draws_the_same_minibatches(start):
    assert draw(8, start=start) == draw(start + 8)[start:]


@pytest.mark.parametrize("batch_size", [10, 11])
def test_a_batch_as_large_as_the_data_selects_everything(batch_size):
    assert SeededMinibatches(10, batch_size, CPU, (1,)).draw() == slice(None)
