import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.utils import FloatSchedule

from sb3_course.common.errors import check_whole
from sb3_course.common.validation import (
    check,
    check_action_space,
    check_observation_space,
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
