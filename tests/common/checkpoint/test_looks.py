import collections
import hashlib
import tracemalloc
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import gymnasium
import numpy as np
import pandas as pd
import pytest
from gymnasium import spaces
from torch import nn

from sb3_course.common.checkpoint.looks import difference, unchanged, words


@dataclass
class Settings:
    gravity: float


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, 1.0),
        (None, 0),
        ("a" * 50, "a" * 51),
        (np.zeros(100), np.ones(100)),
        (np.zeros(4), np.zeros((2, 2))),
        (np.zeros(4, np.float32), np.zeros(4, np.int32)),
        (Settings(1.0), Settings(2.0)),
        ([1, (2, 3)], [1, [2, 3]]),
        (spaces.Discrete(2), spaces.Discrete(3)),
    ],
)
def test_equal_values_have_equal_words_and_others_do_not(one, other):
    assert words(one) == words(one) != words(other)


class Costs:
    """Data of an environment, in a class of its own."""

    def __init__(self, table, **more):
        self.table = table
        vars(self).update(more)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: pd.DataFrame({"price": [1.0, x], "name": ["a", str(x)]}),
        lambda x: pd.Series([1.0, x], index=pd.to_datetime(["2024-01-01", "2024-01-02"])),
        lambda x: Costs(np.array([1.0, x]), unit="euro"),
        lambda x: Costs([Costs(None), Costs(x)]),
        lambda x: {"a": Settings(x), 3: [Settings(2.0)]},
        lambda x: np.array([Settings(x), None], dtype=object),
        lambda x: nn.Linear(1, 1).requires_grad_(False).apply(lambda m: m.weight.fill_(x)).weight,
        lambda x: collections.Counter({"a": x}),
        lambda x: collections.defaultdict(list, {"a": [x]}),
        lambda x: Fraction(int(x), 7),
        lambda x: lambda y: x * y,
        lambda x: lambda y, scale=x: scale * y,
        lambda x: partial(max, x, key=lambda y: y + x),
        lambda x: Costs(x).__repr__,
    ],
)
def test_data_in_objects_are_told_apart(make):
    assert words(make(2.0)) == words(make(2.0)) != words(make(3.0))
    assert words(make(2.0)) is not None


def test_arrays_are_not_copied_and_files_that_are_mapped_not_read(tmp_path):
    data = np.ones(10**6)
    tracemalloc.start()
    assert words(data) is not None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**6
    made = {name: np.memmap(tmp_path / name, np.float32, "w+", shape=(100,)) for name in ("a", "b")}
    made["a"][:] = 1.0
    before = words(made["a"])
    made["a"][:] = 2.0
    assert words(made["a"]) == before != words(made["b"])


def test_words_are_those_of_files_that_were_written_before():
    assert words(np.arange(6.0).reshape(2, 3)) == (
        hashlib.sha256(
            b'{"$array": ["0", [0, 1]]}' + b"float64 (2, 3)" + np.arange(6.0).tobytes()
        ).hexdigest()
    )


def test_a_class_is_told_by_its_name():
    assert words(Settings) == words(Settings) != words(Costs)


@pytest.mark.parametrize(
    "value",
    [
        np.random.default_rng(0).random,
        partial(max, np.random.default_rng(0)),
        np.random.default_rng(0),
        Costs(np.random.default_rng(0)),
        {1, 2},
        Costs(gymnasium.make("CartPole-v1")),
        Costs([Costs(i) for i in range(10_000)]),
        (i for i in range(3)),
    ],
)
def test_what_is_no_setting_is_not_looked_at(value):
    assert words(value) is None


def test_a_value_that_holds_itself_is_not_looked_at():
    endless = []
    endless.append(endless)
    assert words(endless) is None


def test_what_changed_is_no_setting():
    first = [{}, {"0 Env.g": "9.8", "0 Env.time": "0", "0 Env.gone": "1"}]
    now = [{}, {"0 Env.g": "9.8", "0 Env.time": "5", "0 Env.new": "1"}]
    assert unchanged(first, now) == [{}, {"0 Env.g": "9.8"}]


def test_the_first_difference_is_told():
    made_with = [{}, {"0 Env.a": "1", "1 Env.b": "2"}]
    assert difference(made_with, [{}, {"0 Env.a": "1", "1 Env.b": "2", "1 Env.c": "3"}]) is None
    assert difference(made_with, [{}, {"0 Env.a": "1"}]) is None
    assert difference(made_with, [{}, {"1 Env.b": "3"}]) == "Env.b is 3, and was 2"
    assert difference(made_with, [{}, {"1 Env.b": "x" * 64}]) == "Env.b differs"
