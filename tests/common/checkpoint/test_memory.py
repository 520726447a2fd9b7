import io
import pickle

import numpy as np
import pytest
import torch as th

from sb3_course.common.checkpoint.memory import Memory


class Pickler(pickle.Pickler):
    def __init__(self, buffer, memory):
        super().__init__(buffer)
        self._memory = memory

    def reducer_override(self, value):
        return self._memory.reduced(value)


def pickled(value):
    buffer = io.BytesIO()
    Pickler(buffer, Memory(value, lambda value: None, [])).dump(value)
    return buffer.getvalue()


def copied(value):
    return pickle.loads(pickled(value))


STATE = np.arange(24.0).reshape(4, 6).copy()
VIEWS = {
    "rows": STATE[1:3],
    "columns": STATE[:, 2],
    "backwards": STATE[::-2, ::-1],
    "turned": STATE.T,
    "of a view": STATE[1:][:, 1:][0],
    "flat": STATE.reshape(-1)[5:],
    "bytes": STATE.view(np.uint8)[1, 3:],
    "repeated": np.broadcast_to(STATE[0], (3, 6)),
    "empty": STATE[4:],
    "a number": STATE[2, 3:4].reshape(()),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_stays_one(name):
    for order in ([STATE, VIEWS[name]], [VIEWS[name], STATE]):
        copies = copied(order)
        owner, view = copies if order[0] is STATE else copies[::-1]
        np.testing.assert_array_equal(view, VIEWS[name])
        assert view.dtype == VIEWS[name].dtype
        assert not np.shares_memory(owner, STATE)
        owner[:] = 0
        assert not view.any()


def test_fortran_order_is_kept():
    state = np.asfortranarray(STATE)
    owner, view = copied([state, state[1:, 2]])
    np.testing.assert_array_equal(view, STATE[1:, 2])
    owner[1:, 2] = -1
    assert (view == -1).all()


def test_what_shares_no_memory_is_pickled_as_usual():
    layer = th.nn.Linear(2, 2)
    values = [np.array([None, "a"]), np.zeros(0), np.zeros(0), np.ma.array([1, 2], mask=[0, 1])]
    objects, *_, masked, again, action = copied([*values, layer, th.ones(2).numpy()[1:]])
    assert objects.tolist() == [None, "a"]
    assert masked.mask.tolist() == [False, True]
    assert th.equal(again.weight, layer.weight)
    assert action.tolist() == [1]
