import json
from collections import OrderedDict, deque
from pathlib import Path

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from sb3_course.common.checkpoint import plain


def there_and_back(value):
    arrays = {}
    return plain.decode(json.loads(json.dumps(plain.encode(value, arrays))), arrays)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, -0.5, float("inf"), "text", "$array", b"\x00\xff"),
        *(Path("a/b"), [Path("c")]),
        *([1, [2.5, "a"]], (1, (2, None)), {}, {"a": {"b": (1,)}}, {"$tuple": [1]}),
        {1: "a", (0, 2): "b"},
        *(deque([1, 2], maxlen=5), deque(), {"net_arch": {"pi": [64], "vf": [8, 8]}}),
        *(spaces.Discrete(3, start=2), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(4)),
        spaces.MultiBinary([2, 3]),
        spaces.MultiDiscrete([2, 3], dtype=np.int32),
        spaces.Box(np.array([-1, -np.inf]), np.array([np.inf, 2]), dtype=np.float64),
        spaces.Box(0, 255, (3, 4), dtype=np.uint8),
        spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Box(-1, 1, (2,))}),
        *(th.nn.Tanh, th.optim.AdamW, ActorCriticPolicy, RolloutBuffer),
    ],
)
def test_values_come_back_as_they_were(value):
    got = there_and_back(value)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_dict_space_keeps_the_order_of_its_keys(order):
    """In which a policy concatenates features; spaces are equal in any order."""
    parts = {"a": spaces.Discrete(2), "b": spaces.Box(-1, 1, (2,))}
    space = spaces.Dict(**{key: parts[key] for key in order})
    outer = spaces.Dict([("z", space), ("y", spaces.Discrete(2))])
    assert list(there_and_back(space).spaces) == list(order)
    assert list(there_and_back(outer).spaces) == ["z", "y"]
    assert list(there_and_back(outer)["z"].spaces) == list(order)


def test_arrays_and_tensors_come_back_with_their_types():
    for array in (np.arange(6, dtype=np.float32).reshape(2, 3), np.array(True), np.zeros((0, 2))):
        got = there_and_back(array)
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(got, array)
    for channels in (1, 3):  # as SB3 transposes images
        images = np.arange(12 * channels).reshape(2, 3, 2, channels).transpose(0, 3, 1, 2)
        assert there_and_back(images).strides == images.strides
        np.testing.assert_array_equal(there_and_back(images), images)
    assert there_and_back(np.float32(2.5)) == 2.5
    assert th.equal(there_and_back(th.arange(3)), th.arange(3))
    assert there_and_back(OrderedDict(a=1)) == {"a": 1}


def test_discrete_spaces_keep_their_type():
    try:
        space = spaces.Discrete(3, dtype=np.int32)
    except TypeError:
        pytest.skip("this Gymnasium has no Discrete of another type")
    assert there_and_back(space) == space
    assert there_and_back(spaces.MultiDiscrete([2, 3], dtype=np.int32)).dtype == np.int32


def test_a_discrete_space_of_a_file_that_kept_no_type_is_read():
    old = {"$space": ["Discrete", 3, 2]}
    assert plain.decode(old, {}) == spaces.Discrete(3, start=2)


@pytest.mark.parametrize(
    "tensor", [th.ones(2, dtype=th.bfloat16), th.ones(2, dtype=th.complex64).conj()]
)
def test_a_tensor_that_numpy_does_not_have_is_not_plain(tensor):
    with pytest.raises(plain.NotPlainError, match="NumPy does not have"):
        plain.encode(tensor, {})


def test_an_array_of_a_file_that_kept_no_order_of_axes_is_read():
    array = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(plain.decode({"$array": "0"}, {"0": array}), array)
    with pytest.raises(ValueError, match="malformed"):
        plain.decode({"$array": "1"}, {"0": array})


@pytest.mark.parametrize(
    "schedule", [FloatSchedule(0.5), LinearSchedule(1.0, 0.2, 0.8), ConstantSchedule(3.0)]
)
def test_schedules_come_back(schedule):
    for each in (schedule, FloatSchedule(schedule)):
        got = there_and_back(each)
        assert type(got) is type(each)
        assert [got(p) for p in (0.0, 0.1, 0.7, 1.0)] == [each(p) for p in (0.0, 0.1, 0.7, 1.0)]


class Own:
    pass


class OwnBox(spaces.Box):
    pass


@pytest.mark.parametrize(
    "value",
    [Own(), Own, lambda x: x, open, [Own()], {1: Own()}, np.array([Own()]), OwnBox(0, 1), print],
)
def test_what_only_a_pickle_holds_is_refused_on_saving(value):
    with pytest.raises(plain.NotPlainError):
        plain.encode(value, {})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"$class": "os:system"}, "os is not in one of"),
        ({"$class": "subprocess:Popen"}, "subprocess is not in one of"),
        ({"$class": "torch.hub:load"}, "torch.hub is not in one of"),
        ({"$class": "torch.optimal:Adam"}, "torch.optimal is not in one of"),
        ({"$class": "sb3_course.common.files:write_whole"}, "not a network"),
        ({"$class": "sb3_course.common.files:os"}, "not a network"),
        ({"$class": "sb3_course.loading:import_module"}, "not a network"),
        ({"$class": "stable_baselines3.common.vec_env.subproc_vec_env:SubprocVecEnv"}, "not a net"),
        ({"$class": "torch.nn.modules.activation:Tanh.forward"}, "not a network"),
        ({"$class": "sb3_course.no_such:Class"}, "no class"),
        ({"$class": 3}, "malformed"),
        ({"$call": "print"}, "unknown kind"),
        ({"$array": "none"}, "malformed"),
        ({"$array": ["none", [0]]}, "malformed"),
        ({"$tuple": 3}, "malformed"),
        ({"$dict": [[[], 1]]}, "malformed"),
        ({"$dict": [1]}, "malformed"),
        ({"$deque": [[1, 2], -1]}, "maxlen must be non-negative"),
        ({"$bytes": "xyz"}, "non-hexadecimal"),
        ({"$space": ["Box", 1]}, "not enough values"),
        ({"$space": ["Discrete", -1, 0]}, "have to be positive"),
        ({"$space": ["os", 1]}, "unknown space"),
        ({"$schedule": ["eval", ["1"]]}, "unknown schedule"),
    ],
)
def test_what_could_do_harm_is_refused_on_reading(value, message):
    for each in (value, [value], {"a": [value]}):
        with pytest.raises(ValueError, match=message):
            plain.decode(each, {})


def test_depth_is_bounded():
    value = []
    for _ in range(100):
        value = [value]
    with pytest.raises(ValueError, match="nested more than"):
        plain.decode(value, {})
