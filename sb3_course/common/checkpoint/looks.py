"""Looks at the attributes of environments: what changes is state, the rest is how they were made.

An environment does not say which of its attributes are settings, such as Pendulum's gravity, and
which are its state. What holds the same in all looks at a training is taken for a setting. It must
be the same where the training goes on.
"""

import hashlib
import json
import random
import types
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.common.checkpoint import plain
from sb3_course.common.checkpoint.resources import is_function, reached

Held: TypeAlias = dict[str, str]
"""What plain attributes hold, by number and name of their layer and their own name."""
Look: TypeAlias = list[Held]
"""What the wrappers around a VecEnv hold, and then each of its environments."""
NO_SETTINGS = (
    *(np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random),
    *(types.ModuleType, gym.Env, VecEnv, set, frozenset),
)
"""What is no setting wherever it is, has no order, or leads everywhere."""
MOST_PARTS = 10_000
"""Number of parts up to which a value is looked at."""
LONGEST = 40
"""Length up to which a value is told as it is."""


def words(value: Any, layers: Sequence[Any] = ()) -> str | None:
    """Return a value in few letters, equal for equal values.

    :param value: Value of an attribute
    :param layers: Layers, to which a function may lead
    :return: JSON or, if that is long, its digest; None for what is not plain and not made of parts
        that are, as a table of pandas is
    """
    parts = _Parts(layers)
    try:
        content = json.dumps(parts.of(value), sort_keys=True)
    except Exception:  # a class of one's own may raise anything here
        return None
    arrays = parts.arrays
    if not arrays and len(content) <= LONGEST:
        return content
    kinds = [f"{array.dtype} {array.shape}" for array in arrays.values()]
    digest = hashlib.sha256("".join([content, *kinds]).encode())
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


class _Parts:
    """Takes values apart into JSON and plain arrays, objects as pickle would.

    :param layers: Layers, which a function may enclose
    :ivar arrays: Arrays by the name that they have in the JSON
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self._layers = {id(layer): i for i, layer in enumerate(layers)}
        self.arrays: plain.Arrays = {}
        self._left = MOST_PARTS

    def of(self, value: Any) -> Any:
        """Return a value as JSON, equal for equal values.

        :param value: Value of any kind
        :return: What ``json.dumps`` takes
        :raises NotPlainError: If it is of a kind that is no setting, or has too many parts
        """
        self._left -= 1
        if is_function(value):
            return ["function", *map(self._of_what_is_reached, reached(value))]
        if self._left < 0 or isinstance(value, NO_SETTINGS):
            raise plain.NotPlainError(f"a {type(value).__name__} is not looked at")
        if isinstance(value, np.memmap):  # which may be larger than memory
            name = Path(value.filename or "").name
            return ["memmap", name, value.offset, *value.shape, str(value.dtype)]
        with suppress(plain.NotPlainError):
            return plain.encode(value, self.arrays)
        if isinstance(value, type):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, np.ndarray):
            return [*value.shape, self.of(value.ravel().tolist())]
        if type(value) in (list, tuple):
            return [type(value).__name__, *map(self.of, value)]
        if type(value) is dict:
            return ["dict", *([self.of(key), self.of(item)] for key, item in value.items())]
        make, *rest = value.__reduce_ex__(4)
        listed = [list(part) if isinstance(part, Iterator) else part for part in rest]
        return [f"{make.__module__}.{make.__qualname__}", *map(self.of, listed)]

    def _of_what_is_reached(self, value: Any) -> Any:
        layer = self._layers.get(id(value))
        return self.of(value) if layer is None else f"layer {layer}"


def unchanged(first: Look, now: Look) -> Look:
    """Return what is as it was: not a state, but what the environments were made with.

    :param first: Look when the training began
    :param now: Look at the same environments
    :return: What holds the same in both
    """
    return [
        {name: held for name, held in then.items() if later.get(name) == held}
        for then, later in zip(first, now, strict=False)
    ]


def difference(made_with: Look, here: Look) -> str | None:
    """Return in which attribute environments differ from what others were made with.

    :param made_with: What the others were made with, from :func:`unchanged`
    :param here: Look at these environments
    :return: First difference in words, or None
    """
    for then, now in zip(made_with, here, strict=False):
        for name, held in then.items():
            found = now.get(name, held)
            if found != held:
                _, _, attribute = name.partition(" ")
                long = max(len(held), len(found)) > LONGEST
                return f"{attribute} " + ("differs" if long else f"is {found}, and was {held}")
    return None
