"""Observations, as arrays or as dicts of arrays: map, select, stack, join."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch as th
from gymnasium import spaces

Array: TypeAlias = np.ndarray[Any, Any]
Obs: TypeAlias = Array | dict[str, Array]
TensorObs: TypeAlias = th.Tensor | dict[str, th.Tensor]


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
    """Return what is not of floats, although its space is, as float32.

    SB3's ``DummyVecEnv`` writes observations into arrays of the space's kind; ``SubprocVecEnv``
    and others pass on whatever an environment returns, such as ``[0, 0]`` at the start.

    :param obs: Observation or batch, array or dict of arrays
    :param space: Its space
    :return: Observation of the same structure; itself where nothing is to be changed
    """
    if isinstance(obs, dict):
        assert isinstance(space, spaces.Dict)
        return {key: _array_as_declared(value, space[key]) for key, value in obs.items()}
    return _array_as_declared(obs, space)


def _array_as_declared(array: Array, space: spaces.Space[Any]) -> Array:
    declared = space.dtype is not None and space.dtype.kind == "f"
    return array.astype(np.float32) if declared and array.dtype.kind != "f" else array


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


def select(obs: TensorObs, indices: th.Tensor | slice) -> TensorObs:
    """Select rows of an observation batch.

    :param obs: Tensor of shape (M, …), or a dict of such tensors
    :param indices: Rows to select
    :return: Selected rows, of the same structure
    """
    if isinstance(obs, dict):
        return {key: value[indices] for key, value in obs.items()}
    return obs[indices]


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


def take(obs: Obs, start: int, stop: int) -> Obs:
    """Return consecutive rows of an observation batch.

    :param obs: Array or dict of arrays
    :param start: First row
    :param stop: Row after the last one
    :return: Rows ``start`` to ``stop - 1``: views, not copies
    """
    return map_obs(lambda rows: rows[start:stop], obs)


def join(parts: Sequence[Obs]) -> Obs:
    """Concatenate observation batches.

    :param parts: Batches of shape (N, …), or dicts of such arrays with the same keys
    :return: Batch of shape (ΣN, …), or a dict of such arrays
    """
    if isinstance(parts[0], dict):
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return np.concatenate([np.asarray(part) for part in parts])


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
        if "terminal_observation" not in infos[n]:
            continue
        terminal = infos[n]["terminal_observation"]
        if isinstance(next_obs, dict):
            for key, value in next_obs.items():
                value[n] = terminal[key]
        else:
            next_obs[n] = terminal
    return next_obs


def zero_observation(space: spaces.Space[Any]) -> Any:
    """Return one observation of zeros, without drawing from the space's generator.

    :param space: Observation space of a kind that SB3 supports
    :return: Array of the space's shape and dtype, or a dict of them
    """
    if isinstance(space, spaces.Dict):
        return {key: zero_observation(subspace) for key, subspace in space.spaces.items()}
    return np.zeros(space.shape or (), dtype=space.dtype)
