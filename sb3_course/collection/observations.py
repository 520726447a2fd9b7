"""Observations, as arrays or as dicts of arrays: map, select, stack, join."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch as th
from gymnasium import spaces

Array: TypeAlias = np.ndarray[Any, Any]
Obs: TypeAlias = Array | dict[str, Array]
TensorObs: TypeAlias = th.Tensor | dict[str, th.Tensor]
Batch = TypeVar("Batch", Obs, TensorObs)

FLOAT32_MAX = float(np.finfo(np.float32).max)
N_EXAMPLES = 5
"""Number of random observations of :func:`example_observations`."""
EXAMPLE_RANGE = 10.0
"""How far they lie at most from the observation nearest to 0."""


def map_obs(function: Callable[[Array], Array], obs: Obs) -> Obs:
    """Apply a function to an observation array, or to each array of a Dict observation.

    :param function: Function from array to array
    :param obs: Array or dict of arrays
    :return: Observation of the same structure
    """
    if isinstance(obs, dict):
        return {key: function(value) for key, value in obs.items()}
    return function(obs)


def as_declared(obs: Obs, space: spaces.Space[Any]) -> Obs:
    """Return observations in the numbers that their space declares, and no more than it has.

    What is not of floats, although its space is, becomes float32; whole numbers become those of the
    space. Floats of a space of whole numbers stay what they are.

    SB3's ``DummyVecEnv`` writes observations into arrays of the space's kind, and leaves out what
    the space does not name; ``SubprocVecEnv`` and others pass on whatever an environment returns,
    such as ``[0, 0]`` or bytes at the start, and every VecEnv does with ``terminal_observation``.

    :param obs: Observation or batch, array or dict of arrays
    :param space: Its space
    :return: Observation of the same structure; itself where nothing is to be changed
    """
    if isinstance(obs, dict):
        assert isinstance(space, spaces.Dict)
        return {key: _array_as_declared(obs[key], part) for key, part in space.spaces.items()}
    return _array_as_declared(obs, space)


def _array_as_declared(array: Array, space: spaces.Space[Any]) -> Array:
    if space.dtype is None or array.dtype == space.dtype:
        return array
    if space.dtype.kind == "f":
        return array if array.dtype.kind == "f" else array.astype(np.float32)
    whole = array.dtype.kind in "iu" and space.dtype.kind in "iu"
    return array.astype(space.dtype) if whole else array


def compact(array: Array) -> Array:
    """Return floats as float32, in which networks compute, and anything else unchanged.

    :param array: Array of any shape
    :return: Array of the same shape
    """
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def owned(array: Array) -> Array:
    """Copy a buffer that an environment may overwrite, with floats as float32.

    :param array: Array of any shape
    :return: Array of the same shape
    """
    array = np.asarray(array)
    return array.astype(np.float32 if array.dtype.kind == "f" else array.dtype)


def stack_obs(observations: list[Obs]) -> Obs:
    """Stack single observations to a batch.

    :param observations: B observations of shape (…)
    :return: Batch of shape (B, …)
    """
    first = observations[0]
    if isinstance(first, dict):
        return {k: np.stack([o[k] for o in observations]) for k in first}
    return np.stack(observations)  # type: ignore[arg-type]


def select(obs: Batch, indices: Any) -> Batch:
    """Select rows of an observation batch.

    :param obs: Tensor or array of shape (M, …), or a dict of these
    :param indices: What indexes a tensor or an array; a slice, or one number, gives views
    :return: Selected rows, of the same structure
    """
    if isinstance(obs, dict):
        return {key: value[indices] for key, value in obs.items()}
    rows: Batch = obs[indices]
    return rows


def tensor(obs: TensorObs) -> th.Tensor:
    """Return observations that are known not to be a dict.

    :param obs: Observations of a space other than ``Dict``
    :return: The tensor
    """
    assert isinstance(obs, th.Tensor)
    return obs


def rows_of(obs: Obs | TensorObs) -> int:
    """Count the rows of an observation batch.

    :param obs: Array or tensor, or a dict of them
    :return: Number of rows
    """
    first: Any = next(iter(obs.values())) if isinstance(obs, dict) else obs
    return len(first)


def join(parts: Sequence[Obs]) -> Obs:
    """Concatenate observation batches.

    :param parts: Batches of shape (N, …), or dicts of such arrays with the same keys
    :return: Batch of shape (ΣN, …), or a dict of such arrays
    """
    if isinstance(parts[0], dict):
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return np.concatenate([np.asarray(part) for part in parts])


def is_finite(obs: Obs) -> bool:
    """Return whether no number of an observation is nan or infinite as float32.

    :param obs: Array, or dict of arrays
    :return: Whether all are finite
    """
    if isinstance(obs, dict):
        return all(map(is_finite, obs.values()))
    return obs.dtype.kind != "f" or bool(finite(obs).all())


def finite(array: Array) -> Array:
    """Return which numbers are finite as float32, in which networks compute.

    :param array: Floats, of any shape
    :return: Whether each is, bool of the same shape
    """
    return np.isfinite(array) if array.dtype.itemsize <= 4 else np.abs(array) <= FLOAT32_MAX


def last_observation(info: dict[str, Any]) -> Obs | None:
    """Return the observation that an episode ended with.

    :param info: SB3's info of the step that ended it
    :return: The observation, which may be overwritten later; None where there is none, or where it
        is not finite after a termination: a terminal state has the value 0, whatever it looks like
    """
    terminal = info.get("terminal_observation")
    if terminal is None:
        return None
    terminal = map_obs(np.asarray, terminal)
    return terminal if info.get("TimeLimit.truncated", False) or is_finite(terminal) else None


def true_next_obs(new_obs: Obs, dones: Array, infos: list[dict[str, Any]]) -> Obs:
    """Return s' of a vector step: an episode's last observation, not the first one of the next.

    :param new_obs: Observations that the environments returned, of shape (N, …)
    :param dones: Whether each episode ended, of shape (N,)
    :param infos: SB3's infos, with ``terminal_observation`` where an episode ended
    :return: s', of the same structure; ``new_obs`` itself if no episode ended. Where the last
        observation is missing, the next episode's first stands in its place
    """
    if not dones.any():
        return new_obs
    next_obs = map_obs(np.copy, new_obs)
    for n in np.flatnonzero(dones):
        terminal = last_observation(infos[n])
        if terminal is None:
            continue
        if isinstance(next_obs, dict):
            assert isinstance(terminal, dict)
            for key, value in next_obs.items():
                value[n] = terminal[key]
        else:
            next_obs[n] = terminal
    return next_obs


def example_observations(space: spaces.Space[Any]) -> list[Obs]:
    """Return single observations of a space, without drawing from the space's generator.

    A policy may be defined at some observations only (a logarithm, a mask that forbids all actions
    but some), and use some of its parameters at some only.

    :param space: Observation space of a kind that SB3 supports
    :return: The observation nearest to 0, and some random ones of moderate size
    """
    if isinstance(space, spaces.Dict):
        parts = {key: example_observations(part) for key, part in space.spaces.items()}
        return [
            dict(zip(parts, values, strict=True)) for values in zip(*parts.values(), strict=True)
        ]
    shape = space.shape or ()
    if isinstance(space, spaces.Box):
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        nearest = np.clip(0, low, high)
        bounds = np.maximum(low, nearest - EXAMPLE_RANGE), np.minimum(high, nearest + EXAMPLE_RANGE)
        rng = np.random.default_rng(0)
        drawn = [rng.uniform(*bounds, size=shape) for _ in range(N_EXAMPLES)]
        if not np.issubdtype(space.dtype, np.floating):
            drawn = [np.round(x) for x in drawn]
        return [x.astype(space.dtype) for x in (nearest, *drawn)]
    own = copy.deepcopy(space)
    own.seed(0)
    samples = [np.asarray(own.sample()) for _ in range(N_EXAMPLES)]
    return [np.zeros(shape, dtype=space.dtype), *samples]
