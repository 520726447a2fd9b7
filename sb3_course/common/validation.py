"""Checks of constructor arguments; each names what was given and what is allowed."""

import math
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.type_aliases import Schedule


def check(name: str, value: object, ok: bool | np.bool_, takes: str) -> None:
    """Refuse a parameter that is out of its range.

    :param name: The parameter's name
    :param value: What was given
    :param ok: Whether it will do
    :param takes: What it takes, for the message
    :raises ValueError: It will not do
    """
    if not ok:
        raise ValueError(f"{name} must be {takes}, got {value!r}")


def scheduled(name: str, schedule: Schedule, progress_remaining: float) -> float:
    """Compute a schedule's value, a finite number of at least 0.

    :param name: Name of the parameter, for the message
    :param schedule: Function of the remaining progress
    :param progress_remaining: Remaining progress, from 1 to 0
    :return: Value of the schedule
    :raises ValueError: The schedule returns anything else; names it and the progress
    """
    given: Any = "an exception"
    try:
        given = schedule(progress_remaining)
        value = float(given)
    except (TypeError, ValueError) as error:
        given, value = f"{given!r} ({error})", math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(
            f"{name}: its schedule must return a finite number of at least 0, got {given} at "
            f"progress {progress_remaining:g}"
        )
    return value


def check_count(name: str, value: object, more: str = "") -> None:
    """Refuse what is not a positive whole number.

    :param name: The parameter's name
    :param value: What was given
    :param more: What else it takes, for the message
    :raises ValueError: It is not
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 1
    check(name, value, whole, f"a whole number of at least 1 {more}".rstrip())


def check_action_space(space: spaces.Space[Any]) -> None:
    """Refuse an action space that no policy of SB3 acts in.

    :param space: The action space
    :raises ValueError: It is of another kind than SB3's four, or a Box without finite bounds
    """
    kinds = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    if not isinstance(space, kinds):
        raise ValueError(
            "the environment's action space must be Box, Discrete, MultiDiscrete or MultiBinary, "
            f"got {space}"
        )
    if isinstance(space, spaces.Box) and not (
        np.isfinite(space.low).all() and np.isfinite(space.high).all()
    ):
        raise ValueError(
            f"the environment's action space must have finite bounds, got {space}: "
            "wrap it in gymnasium.wrappers.RescaleAction"
        )
