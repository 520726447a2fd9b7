"""Looks at the attributes of environments: what changes is state, the rest is how they were made.

An environment does not say which of its attributes are settings, such as Pendulum's gravity, and
which are its state. What holds the same in all looks at a training is taken for a setting. It must
be the same where the training goes on.
"""

import dataclasses
import hashlib
import json
from typing import Any, TypeAlias

import numpy as np

from sb3_course.common.checkpoint import plain

Held: TypeAlias = dict[str, str]
"""What plain attributes hold, by number and name of their layer and their own name."""
Look: TypeAlias = list[Held]
"""What the wrappers around a VecEnv hold, and then each of its environments."""
LONGEST = 40
"""Length up to which a value is told as it is."""


def words(value: Any) -> str | None:
    """Return a value in few letters, equal for equal values.

    :param value: Value of an attribute
    :return: JSON or, if that is long, its digest; None for what is not plain
    """
    arrays: plain.Arrays = {}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    try:
        content = json.dumps(plain.encode(value, arrays), sort_keys=True)
    except (plain.NotPlainError, RecursionError):
        return None
    if not arrays and len(content) <= LONGEST:
        return content
    kinds = [f"{array.dtype} {array.shape}" for array in arrays.values()]
    parts = [np.ascontiguousarray(array).tobytes() for array in arrays.values()]
    everything = b"".join([content.encode(), *map(str.encode, kinds), *parts])
    return hashlib.sha256(everything).hexdigest()


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
