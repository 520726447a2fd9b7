"""Checks of constructor arguments, with messages that name the given and the allowed values."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import FloatSchedule

from sb3_course.common.errors import UserError

MAX_SEED = 2**32 - 1  # the largest that numpy.random.seed takes
PACKAGE = "sb3_course."


def check(name: str, value: object, ok: bool | np.bool_, takes: str) -> None:
    """Check that a parameter is in its range.

    :param name: Name of the parameter
    :param value: Given value
    :param ok: Whether the value is allowed
    :param takes: Description of the allowed values, for the message
    :raises ValueError: If the value is not allowed
    """
    if not ok:
        raise ValueError(f"{name} must be {takes}, got {value!r}")


def check_number(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    more: str = "",
) -> None:
    """Check that a parameter is a finite number in a range.

    :param name: Name of the parameter
    :param value: Given value
    :param low: Smallest number that is allowed
    :param high: Largest number that is allowed
    :param above: Whether ``low`` itself is not allowed
    :param more: Other values that are allowed, for the message
    :raises ValueError: The value is of another type, not finite or out of its range
    """
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    ok = real and math.isfinite(value) and low <= value <= high  # type: ignore[arg-type,operator]
    ok = ok and not (above and value == low)
    takes = "a finite number"
    if high < math.inf:
        takes = f"a number from {low:g} to {high:g}"
    elif low > -math.inf:
        takes = "a positive number" if above else f"a number of at least {low:g}"
    check(name, value, ok, f"{takes} {more}".rstrip())


def scheduled(name: str, schedule: Schedule, progress_remaining: float) -> float:
    """Compute a schedule's value, a finite number of at least 0.

    :param name: Name of the parameter, for the message
    :param schedule: Function of the remaining progress
    :param progress_remaining: Remaining progress, from 1 to 0
    :return: Value of the schedule
    :raises ValueError: The schedule returns anything else; names it and the progress
    """
    while isinstance(schedule, FloatSchedule):  # SB3's, which converts what the user's returns
        schedule = schedule.value_schedule
    given: Any = schedule(progress_remaining)
    where = f"at progress {progress_remaining:g}"
    must = f"{name}: its schedule must return a finite number of at least 0, got"
    try:
        value = float(given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{must} {given!r} ({error}) {where}") from error
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{must} {given} {where}")
    return value


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Check that a parameter is one of several values.

    :param name: Name of the parameter
    :param value: Given value
    :param choices: Allowed values
    :raises ValueError: If it is another one
    """
    check(name, value, value in choices, f"one of {', '.join(map(repr, choices))}")


def is_own(cls: type) -> bool:
    """Return whether a class is of this package, rather than a user's.

    :param cls: Class
    :return: Whether it is
    """
    return cls.__module__.startswith(PACKAGE)


def check_flags(model: object) -> None:
    """Check every attribute that a constructor of this package takes as True or False.

    A word such as ``"no"`` is neither, although it is true.

    :param model: Model, with its constructor's arguments as attributes
    :raises ValueError: One is neither
    """
    classes = [base for base in type(model).__mro__ if is_own(base)]
    cls = classes[0] if classes else type(model)
    for name, parameter in inspect.signature(cls).parameters.items():
        if isinstance(parameter.default, bool) and name in vars(model):
            value = getattr(model, name)
            check(name, value, isinstance(value, (bool, np.bool_)), "True or False")


def checked_seed(value: object) -> int | None:
    """Check that all random generators can be seeded with a number.

    :param value: Given seed
    :return: The seed as an int, since Python's generator takes none of NumPy's
    :raises ValueError: It is neither None nor a whole number from 0 to 2³² - 1
    """
    if value is None:
        return None
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        seed = int(value)
        if 0 <= seed <= MAX_SEED:
            return seed
    raise ValueError(f"seed must be a whole number from 0 to {MAX_SEED}, or None, got {value!r}")


def check_action_space(space: spaces.Space[Any]) -> None:
    """Check that SB3's policies can act in an action space.

    :param space: Action space
    :raises ValueError: If it is none of SB3's four kinds, does not start at 0, is empty, has a
        shape that SB3 has no distribution for, or is a Box without finite bounds
    """
    kinds = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    if not isinstance(space, kinds):
        raise ValueError(
            "the environment's action space must be Box, Discrete, MultiDiscrete or MultiBinary, "
            f"got {space}"
        )
    if np.any(getattr(space, "start", 0) != 0):
        raise ValueError(
            f"the environment's action space must start at 0, got {space}: shift its actions with "
            "gymnasium.wrappers.TransformAction"
        )
    if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)) and len(space.shape) != 1:
        raise ValueError(
            f"the environment's action space must have one dimension, got {space}: flatten its "
            "actions with gymnasium.wrappers.TransformAction"
        )
    if 0 in (space.shape or ()):
        raise ValueError(f"the environment's action space must hold an action, got {space}")
    if isinstance(space, spaces.Box) and not (
        np.isfinite(space.low).all() and np.isfinite(space.high).all()
    ):
        raise ValueError(
            f"the environment's action space must have finite bounds, got {space}: give it some, "
            "as in gymnasium.wrappers.TransformAction(env, lambda action: action, "
            f"gymnasium.spaces.Box(-1, 1, {space.shape}))"
        )


def check_observation_space(space: spaces.Space[Any]) -> None:
    """Check that SB3's policies can observe an observation space.

    :param space: Observation space
    :raises ValueError: It is none of SB3's four kinds or a Dict of these, does not start at 0, is
        empty, or has a shape that SB3 has no network for
    """
    inner = list(space.spaces.values()) if isinstance(space, spaces.Dict) else [space]
    kinds = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    for part in inner:
        if np.any(getattr(part, "start", 0) != 0):
            raise ValueError(
                f"the environment's observation space must start at 0, got {space}: shift its "
                "observations with gymnasium.wrappers.TransformObservation"
            )
        if not isinstance(part, (*kinds, spaces.Tuple, spaces.Dict)):
            raise ValueError(
                "the environment's observation space must be of Box, Discrete, MultiDiscrete or "
                f"MultiBinary, or a Dict of these, got {space}"
            )
        table = isinstance(part, spaces.MultiDiscrete) and len(part.shape) != 1
        if table or (isinstance(part, spaces.Box) and part.shape == ()):
            raise ValueError(
                "the environment's observation space must have a dimension, and only one if it is "
                f"MultiDiscrete, got {space}: reshape its observations with "
                "gymnasium.wrappers.TransformObservation"
            )
    if all(0 in (part.shape or ()) for part in inner):
        raise ValueError(
            f"the environment's observation space must hold an observation, got {space}"
        )
    refused = (spaces.Tuple, spaces.Dict) if isinstance(space, spaces.Dict) else (spaces.Tuple,)
    if any(isinstance(part, refused) for part in inner):
        raise ValueError(
            "the environment's observation space must hold neither Tuple nor nested Dicts, got "
            f"{space}: SB3 has no policy for them; a flat Dict takes MultiInputPolicy"
        )


def check_spaces(
    who: str,
    owner: Any,
    observation_space: spaces.Space[Any] | None,
    action_space: spaces.Space[Any] | None,
) -> None:
    """Refuse what was made for other spaces than the environment's.

    Bounds of observations are not compared: networks do not know them, but for those of images,
    which SB3 divides by 255.

    :param who: Subject and auxiliary verb of the message, such as ``"expert does"``
    :param owner: Object whose ``observation_space`` and ``action_space``, if any, are its own
    :param observation_space: Observation space of the environment; None for no check
    :param action_space: Action space of the environment; None for no check
    :raises UserError: If a space is another one
    """
    own = getattr(owner, "action_space", None)
    if isinstance(own, spaces.Space) and action_space is not None and not _same(own, action_space):
        boxes = isinstance(own, spaces.Box) and own.shape == action_space.shape
        hint = "; rescale one of them with gymnasium.wrappers.RescaleAction" if boxes else ""
        raise UserError(
            f"the {who} not fit: actions are in {own}, the environment's in {action_space}{hint}"
        )
    own = getattr(owner, "observation_space", None)
    if (
        isinstance(own, spaces.Space)
        and observation_space is not None
        and not _alike(own, observation_space)
    ):
        raise UserError(
            f"the {who} not fit: observations are in {own}, the environment's in "
            f"{observation_space}"
        )


def _same(one: spaces.Space[Any], other: spaces.Space[Any]) -> bool:
    """Whether the elements of two spaces mean the same, also if they have another type."""
    if isinstance(one, spaces.Discrete) and isinstance(other, spaces.Discrete):
        return bool(one.n == other.n and one.start == other.start)
    if isinstance(one, spaces.MultiDiscrete) and isinstance(other, spaces.MultiDiscrete):
        return np.array_equal([one.nvec, one.start], [other.nvec, other.start])
    if not (isinstance(one, spaces.Box) and isinstance(other, spaces.Box)):
        return one == other
    if one.shape != other.shape:
        return False
    return np.allclose([one.low, one.high], [other.low, other.high])


def _alike(one: spaces.Space[Any], other: spaces.Space[Any]) -> bool:
    """Whether a network that takes elements of one space takes those of the other."""
    if isinstance(one, spaces.Dict) and isinstance(other, spaces.Dict):
        keys = one.spaces.keys()
        return keys == other.spaces.keys() and all(_alike(one[k], other[k]) for k in keys)
    if isinstance(one, spaces.Box) and isinstance(other, spaces.Box):
        if is_image_space(one) != is_image_space(other):
            return False
        images = len(one.shape) == 3  # channels may be first or last
        return one.shape == other.shape or (images and sorted(one.shape) == sorted(other.shape))
    return one == other
