import copy

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from sb3_course.collection.observations import (
    as_declared,
    compact,
    example_observations,
    join,
    map_obs,
    rows_of,
    select,
    stack_obs,
    true_next_obs,
)

TABLE = np.arange(8.0).reshape(4, 2)
DICT = {"a": TABLE, "b": np.array([5, 6, 7, 8])}


def test_map_obs_applies_the_function_to_each_array():
    assert map_obs(lambda rows: rows + 1, TABLE).tolist() == (TABLE + 1).tolist()
    mapped = map_obs(lambda rows: rows[0], DICT)
    assert mapped.keys() == DICT.keys()
    assert mapped["a"].tolist() == [0, 1]
    assert mapped["b"] == 5


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_compact_makes_float32_of_floats(dtype):
    array = compact(np.array([[0.5, 2.0]], dtype=dtype))
    assert array.dtype == np.float32
    assert array.tolist() == [[0.5, 2.0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_])
def test_compact_keeps_other_types(dtype):
    array = np.array([0, 1], dtype=dtype)
    assert compact(array) is array


def test_compact_takes_scalars():
    array = compact(1.5)
    assert (array.dtype, array.shape, array.item()) == (np.float32, (), 1.5)


def test_stack_obs_adds_a_first_axis():
    assert stack_obs([TABLE[1], TABLE[3]]).tolist() == [[2, 3], [6, 7]]
    stacked = stack_obs([{"a": TABLE[1], "b": np.int64(4)}, {"a": TABLE[0], "b": np.int64(9)}])
    assert stacked["a"].tolist() == [[2, 3], [0, 1]]
    assert stacked["b"].tolist() == [4, 9]


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (2, 3)),
        spaces.Box(0, 255, (4,), dtype=np.uint8),
        spaces.Box(0.1, 10, (3,)),
        spaces.Box(-np.inf, -2, (3,)),
        spaces.Box(-np.inf, np.inf, (), dtype=np.float64),
        spaces.Box(-np.finfo(np.float64).max, np.finfo(np.float64).max, (2,), dtype=np.float64),
        spaces.Box(-(2**63), 2**63 - 1, (2,), dtype=np.int64),
        spaces.Box(1, 3, (2,), dtype=np.int64),
        spaces.Discrete(3),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(4),
    ],
)
def test_example_observations_are_in_the_space(space):
    space.seed(0)
    state = copy.deepcopy(space.np_random.bit_generator.state)
    examples = example_observations(space)
    assert space.np_random.bit_generator.state == state  # nothing was drawn
    for example in examples:
        assert example.shape == (space.shape or ()) and example.dtype == space.dtype
        assert space.contains(example) and np.abs(np.asarray(example)).max() <= 255
    assert len({example.tobytes() for example in examples}) > 1


@pytest.mark.parametrize(
    ("space", "given", "kind"),
    [
        (spaces.MultiDiscrete([1000, 1000]), np.uint8, np.int64),
        (spaces.Discrete(1000), np.int32, np.int64),
        (spaces.Box(0, 255, (2,), np.uint8), np.int64, np.uint8),
        (spaces.Box(0, 255, (2,), np.uint8), np.float32, np.float32),  # scaled by whoever made it
        (spaces.Box(-1, 1, (2,)), np.int64, np.float32),
        (spaces.Box(-1, 1, (2,)), np.float64, np.float64),
        (spaces.MultiBinary(2), bool, bool),
    ],
)
def test_numbers_are_those_that_the_space_declares(space, given, kind):
    array = np.array([[1, 0]], dtype=given)
    declared = as_declared(array, space)
    assert (declared.dtype, declared.tolist()) == (kind, array.tolist())
    assert as_declared({"a": array}, spaces.Dict({"a": space}))["a"].dtype == kind


def test_the_first_example_is_the_nearest_to_zero():
    assert not example_observations(spaces.Box(-1, 1, (2,)))[0].any()
    assert example_observations(spaces.Box(2, 3, (2,)))[0].tolist() == [2, 2]
    assert example_observations(spaces.Box(-3, -2, (2,)))[0].tolist() == [-2, -2]


def test_examples_of_a_dict_space_are_dicts():
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)})
    examples = example_observations(space)
    assert {key: value.tolist() for key, value in examples[0].items()} == {"a": [0, 0], "b": 0}
    assert len(examples) > 1 and all(space.contains(example) for example in examples)


@pytest.mark.parametrize("indices", [th.tensor([3, 0]), slice(1, 3), slice(None)])
def test_select_picks_rows_of_tensors(indices):
    tensors = {key: th.from_numpy(value) for key, value in DICT.items()}
    rows = indices.numpy() if isinstance(indices, th.Tensor) else indices
    assert select(tensors["a"], indices).tolist() == TABLE[rows].tolist()
    selected = select(tensors, indices)
    assert selected.keys() == DICT.keys()
    assert all(selected[key].tolist() == value[rows].tolist() for key, value in DICT.items())


def test_rows_of_counts_rows():
    assert rows_of(TABLE) == rows_of(DICT) == 4
    assert rows_of(TABLE[:0]) == 0


def test_select_picks_rows_of_arrays_as_views():
    assert select(TABLE, slice(1, 3)).tolist() == [[2, 3], [4, 5]]
    assert np.shares_memory(select(TABLE, slice(1, 3)), TABLE)
    taken = select(DICT, slice(3, 10))
    assert taken["a"].tolist() == [[6, 7]]
    assert taken["b"].tolist() == [8]


def test_join_keeps_the_order_of_the_parts():
    assert join([TABLE[2:], TABLE[:1]]).tolist() == [[4, 5], [6, 7], [0, 1]]
    joined = join([select(DICT, slice(2, 4)), select(DICT, slice(1))])
    assert joined["a"].tolist() == [[4, 5], [6, 7], [0, 1]]
    assert joined["b"].tolist() == [7, 8, 5]


def test_true_next_obs_is_the_last_observation_where_an_episode_ended():
    new = np.zeros((3, 2))
    infos = [{}, {"terminal_observation": np.array([1.0, 2.0])}, {}]
    following = true_next_obs(new, np.array([False, True, False]), infos)
    assert following.tolist() == [[0, 0], [1, 2], [0, 0]]
    assert not new.any()  # the next episode's first observation stays


def test_true_next_obs_of_dicts():
    new = {"a": np.zeros((2, 3)), "b": np.zeros(2)}
    infos = [{}, {"terminal_observation": {"a": np.ones(3), "b": np.float64(5)}}]
    following = true_next_obs(new, np.array([False, True]), infos)
    assert following["a"].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert following["b"].tolist() == [0, 5]
    assert not new["a"].any() and not new["b"].any()


def test_true_next_obs_copies_nothing_where_no_episode_ended():
    for new in (np.zeros((2, 3)), {"a": np.zeros((2, 3))}):
        assert true_next_obs(new, np.array([False, False]), [{}, {}]) is new
