"""Observations and actions that fit an environment's spaces, or are refused."""

import math
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import maybe_transpose

from sb3_course.collection.observations import Array, Obs, compact
from sb3_course.common.errors import UserError


def fit_observations(obs: Obs, space: spaces.Space[Any]) -> Obs:
    """Check observations against the space, and move images' channels to where the space has them.

    :param obs: Observations, of shape (M, …), or a dict of such arrays
    :param space: Observation space
    :return: Observations that fit the space, floats as float32
    :raises UserError: If they do not fit, or are not finite
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(obs, dict) or obs.keys() != space.spaces.keys():
            given = f"have the keys {sorted(obs)}" if isinstance(obs, dict) else "are an array"
            raise UserError(
                f"the observations {given}, the environment's have the keys {sorted(space)}"
            )
        return {key: _fit_column(obs[key], sub, key) for key, sub in space.spaces.items()}
    if isinstance(obs, dict):
        raise UserError(f"the observations have keys {sorted(obs)}, the environment's have none")
    return _fit_column(obs, space, "")


def _fit_column(values: Array, space: spaces.Space[Any], key: str) -> Array:
    values = np.asarray(values)
    name = f"observations {key!r}".removesuffix(" ''")
    if isinstance(space, spaces.Box) and len(values):
        values = maybe_transpose(values, space)
    if values.shape[1:] != space.shape:
        raise UserError(
            f"the {name} have the shape {values.shape[1:]}, the environment's {space.shape}"
        )
    _check_finite(name, values)
    with np.errstate(over="ignore", invalid="ignore"):
        fitted = values.astype(space.dtype, copy=False)
    _check_finite(name, fitted)  # numbers too large for the space's floats have become infinite
    whole = fitted.dtype.kind in "iu"
    if whole and ((fitted != values).any() or not _inside(fitted, space)):
        raise UserError(
            f"the {name} are from {values.min()} to {values.max()}, the space is {space}"
        )
    return compact(fitted)


def fit_actions(actions: Array, space: spaces.Space[Any]) -> Array:
    """Check actions against the space.

    A Box's bounds are not checked: experts exceed them, and unclipped actions are learned better
    than clipped ones.

    :param actions: Actions, of shape (M, …)
    :param space: Action space
    :return: Actions of shape (M, A), float32 and not clipped, for a Box; of the space's shape for
        other spaces, int64, or float32 for MultiBinary
    :raises UserError: If they do not fit, or are not finite
    """
    actions = np.asarray(actions)
    shape = space.shape or ()
    if isinstance(space, spaces.Discrete) and actions.shape[1:] == (1,):
        actions = actions[:, 0]
    if actions.shape[1:] not in (shape, (math.prod(shape),)):
        raise UserError(
            f"the actions have the shape {actions.shape[1:]}, the environment's are {space}"
        )
    _check_finite("actions", actions)
    if isinstance(space, spaces.Box):
        with np.errstate(over="ignore"):
            fitted = actions.reshape(len(actions), -1).astype(np.float32)
        _check_finite("actions", fitted)  # numbers too large for float32 have become infinite
        return fitted
    kind = np.float32 if isinstance(space, spaces.MultiBinary) else np.int64  # as SB3 takes them
    whole = actions.reshape(-1, *shape).astype(kind)
    if (whole != actions).any() or not _inside(whole, space):
        raise UserError(
            f"the actions are from {actions.min()} to {actions.max()}, "
            f"the environment's are {space}"
        )
    return whole


def _inside(actions: Array, space: spaces.Space[Any]) -> bool:
    if isinstance(space, spaces.Box):
        return True
    low: Any = 0
    high: Any = 2
    if isinstance(space, spaces.Discrete):
        low, high = space.start, space.start + space.n
    elif isinstance(space, spaces.MultiDiscrete):
        high = space.nvec
    return bool(((actions >= low) & (actions < high)).all())


def _check_finite(what: str, values: Array) -> None:
    if values.dtype.kind not in "biuf":
        raise UserError(f"the {what} are not real numbers, but {values.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise UserError(f"the {what} of transition {row} are not finite")
