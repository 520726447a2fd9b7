from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.utils import FloatSchedule

from sb3_course.common.errors import UserError, check_whole
from sb3_course.common.validation import (
    check,
    check_action_space,
    check_observation_space,
    check_spaces,
    scheduled,
)


def test_a_check_names_the_parameter_the_range_and_the_value():
    check("gamma", 0.5, True, "a number from 0 to 1")
    with pytest.raises(ValueError, match=r"^gamma must be a number from 0 to 1, got '2'$"):
        check("gamma", "2", False, "a number from 0 to 1")


@pytest.mark.parametrize("count", [1, 2**40, np.int64(3), np.uint8(1)])
def test_positive_whole_numbers_are_counts(count):
    check_whole("n_steps", count)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, None, "1", np.float64(2), np.int64(0)])
def test_anything_else_is_no_count(value):
    with pytest.raises(ValueError, match="^n_steps must be a whole number of at least 1, got "):
        check_whole("n_steps", value)
    if value is not None:
        with pytest.raises(ValueError, match="a whole number of at least 1 or None, got"):
            check_whole("n_steps", value, none=True)


def test_none_is_a_count_where_it_is_allowed():
    check_whole("n_steps", None, none=True)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (2,)),
        spaces.Discrete(2),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(2),
        spaces.Box(-1, 1, (2, 2)),
        spaces.Box(-1, 1, ()),
    ],
)
def test_the_action_spaces_of_sb3_are_allowed(space):
    check_action_space(space)


@pytest.mark.parametrize(
    "space",
    [
        spaces.MultiBinary([2, 2]),
        spaces.Dict({"a": spaces.Box(-1, 1, (0,)), "b": spaces.Discrete(2)}),
    ],
)
def test_odd_observation_spaces_that_sb3_can_encode_are_allowed(space):
    check_observation_space(space)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Tuple([spaces.Discrete(2)]), "must be Box, Discrete, .* got Tuple"),
        (spaces.Dict({"a": spaces.Discrete(2)}), "must be Box, Discrete, .* got Dict"),
        (spaces.Box(-1, np.inf, (2,)), "finite bounds, got Box.*TransformAction"),
        (spaces.Box(-np.inf, 1, (2,)), "finite bounds"),
        (spaces.MultiDiscrete([[2, 3], [2, 2]]), "must have one dimension, got MultiDiscrete"),
        (spaces.MultiBinary([2, 2]), "must have one dimension, .*TransformAction"),
        (spaces.Box(-1, 1, (0,)), "must hold an action"),
    ],
)
def test_other_action_spaces_are_refused(space, message):
    with pytest.raises(ValueError, match=message):
        check_action_space(space)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Discrete(4, start=1), "must start at 0, got Discrete.*TransformObservation"),
        (spaces.MultiDiscrete([2, 3], start=[0, 1]), "must start at 0"),
        (spaces.Dict({"a": spaces.Discrete(4, start=-1)}), "must start at 0"),
        (spaces.Text(3), "must be of Box, Discrete, .* got Text"),
        (spaces.Sequence(spaces.Discrete(2)), "must be of Box"),
        (spaces.Dict({"a": spaces.Text(3)}), "must be of Box"),
        (spaces.Tuple([spaces.Discrete(2)]), "neither Tuple nor nested Dicts"),
        (spaces.Box(-1, 1, ()), "must have a dimension, .*TransformObservation"),
        (spaces.Dict({"a": spaces.Box(-1, 1, ())}), "must have a dimension"),
        (spaces.MultiDiscrete([[2, 3], [2, 2]]), "only one if it is MultiDiscrete"),
        (spaces.Box(-1, 1, (0,)), "must hold an observation"),
        (spaces.Dict({}), "must hold an observation"),
    ],
)
def test_observation_spaces_that_sb3_cannot_encode_are_refused(space, message):
    with pytest.raises(ValueError, match=message):
        check_observation_space(space)


@pytest.mark.parametrize("wrap", [lambda schedule: schedule, FloatSchedule])
@pytest.mark.parametrize(
    ("value", "given"),
    [
        (None, "None"),
        ("x", "'x'"),
        ([1.0, 2.0], r"\[1.0, 2.0\]"),
        (-1, "-1"),
        (float("nan"), "nan"),
    ],
)
def test_what_a_schedule_must_not_return_is_told_as_it_is(wrap, value, given):
    expected = rf"^target_kl: its schedule must .*, got {given}.* at progress 0\.5$"
    with pytest.raises(ValueError, match=expected):
        scheduled("target_kl", wrap(lambda _: value), 0.5)


@pytest.mark.parametrize("wrap", [lambda schedule: schedule, FloatSchedule])
def test_a_fault_within_a_schedule_is_shown_where_it_is(wrap):
    def broken(_):
        return None[0]

    with pytest.raises(TypeError) as caught:
        scheduled("target_kl", wrap(broken), 0.5)
    assert caught.traceback[-1].name == "broken"


# -- spaces ----------------------------------------------------------------------------------------

OBS = spaces.Box(-1, 1, (3,))
ONE = spaces.Box(-1, 1, (2,))
BYTES = spaces.Box(0, 255, (36, 36, 3), np.uint8)


def owner(observation_space=OBS, action_space=ONE):
    return SimpleNamespace(observation_space=observation_space, action_space=action_space)


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (spaces.Discrete(2, dtype=np.int32), spaces.Discrete(2)),
        (spaces.MultiDiscrete([2, 3], dtype=np.int32), spaces.MultiDiscrete([2, 3])),
        (spaces.Box(-1, 1, (2,), np.float64), ONE),
    ],
    ids=str,
)
def test_a_space_of_another_type_means_the_same(own, wanted):
    check_spaces("x does", owner(action_space=own), OBS, wanted)


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (spaces.Box(-2, 2, (2,)), ONE),
        (spaces.Box(-1, 1, (3,)), ONE),
        (spaces.Box(-1, 1, (2, 1)), ONE),
        (spaces.Discrete(3), ONE),
        (spaces.Discrete(3), spaces.Discrete(2)),
        (spaces.Discrete(2, start=1), spaces.Discrete(2)),
        (spaces.MultiDiscrete([2, 3]), spaces.MultiDiscrete([3, 2])),
        (spaces.MultiBinary(2), spaces.MultiBinary(3)),
        (spaces.MultiBinary(2), spaces.MultiDiscrete([2, 2])),
    ],
    ids=str,
)
def test_actions_of_another_space_are_refused(own, wanted):
    with pytest.raises(UserError, match="the x does not fit: actions are in") as caught:
        check_spaces("x does", owner(action_space=own), OBS, wanted)
    said = str(caught.value)
    assert str(own) in said and str(wanted) in said
    boxes = isinstance(own, spaces.Box) and own.shape == wanted.shape
    assert ("RescaleAction" in said) == boxes  # which is no help with anything else


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (spaces.Box(-1, 1, (4,)), OBS),
        (spaces.Discrete(3), OBS),
        (spaces.Discrete(3), spaces.Discrete(4)),
        (spaces.Dict({"a": OBS}), OBS),
        (spaces.Dict({"a": OBS}), spaces.Dict({"b": OBS})),
        (spaces.Dict({"a": OBS}), spaces.Dict({"a": ONE})),
        (BYTES, spaces.Box(0, 255, (1, 36, 36), np.uint8)),
        (BYTES, spaces.Box(0, 1, (36, 36, 3))),  # which SB3 does not divide by 255
        (spaces.Box(0, 255, (36, 36, 3)), BYTES),
        (spaces.Dict({"a": BYTES}), spaces.Dict({"a": spaces.Box(0, 1, (36, 36, 3))})),
    ],
    ids=str,
)
def test_observations_of_another_shape_are_refused(own, wanted):
    with pytest.raises(UserError, match="the x does not fit: observations are in"):
        check_spaces("x does", owner(own), wanted, ONE)


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (spaces.Box(-np.inf, np.inf, (3,)), OBS),
        (spaces.Box(-9, 9, (3,), np.float64), OBS),
        (spaces.Box(0, 255, (36, 40, 3), np.uint8), spaces.Box(0, 255, (3, 36, 40), np.uint8)),
    ],
    ids=str,
)
def test_what_a_network_cannot_tell_apart_fits(own, wanted):
    check_spaces("x does", owner(own), wanted, ONE)


def test_equal_boxes_of_another_precision_fit():
    own = spaces.Box(-1, 1, (2,), np.float64)
    check_spaces("x does", owner(action_space=own), OBS, ONE)
    check_spaces("x does", SimpleNamespace(), OBS, ONE)  # it declares nothing
