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

    :param function: From array to array
    :param obs: An array or a dict of arrays
    :return: Of the same structure
    """
    if isinstance(obs, dict):
        return {key: function(value) for key, value in obs.items()}
    return function(obs)


def compact(array: Array) -> Array:
    """Give floats as float32, which is what networks compute in, and anything else as it is.

    :param array: Of any shape
    :return: Of the same shape
    """
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def stack_obs(observations: list[Obs]) -> Obs:
    """Stack single observations to a batch.

    :param observations: B observations of shape (…)
    :return: Of shape (B, …)
    """
    first = observations[0]
    if isinstance(first, dict):
        return {k: np.stack([o[k] for o in observations]) for k in first}
    return np.stack(observations)  # type: ignore[arg-type]


def zero_observation(space: spaces.Space[Any]) -> Any:
    """Give one observation of zeros, without drawing from the space's generator.

    :param space: Any observation space that SB3 takes
    :return: An array of the space's shape and dtype, or a dict of them
    """
    if isinstance(space, spaces.Dict):
        return {key: zero_observation(subspace) for key, subspace in space.spaces.items()}
    return np.zeros(space.shape or (), dtype=space.dtype)


def select(obs: TensorObs, indices: th.Tensor | slice) -> TensorObs:
    """Pick rows of an observation batch.

    :param obs: Of shape (M, …), or a dict of such tensors
    :param indices: Which rows
    :return: The rows, of the same structure
    """
    if isinstance(obs, dict):
        return {key: value[indices] for key, value in obs.items()}
    return obs[indices]


def rows_of(obs: Obs) -> int:
    """Count the rows of an observation batch.

    :param obs: An array, or a dict of arrays
    """
    first = next(iter(obs.values())) if isinstance(obs, dict) else obs
    return len(first)


def take(obs: Obs, start: int, stop: int) -> Obs:
    """Take consecutive rows of an observation batch.

    :param obs: An array, or a dict of arrays
    :param start: The first
    :param stop: Behind the last
    """
    return map_obs(lambda rows: rows[start:stop], obs)


def join(parts: Sequence[Obs]) -> Obs:
    """Put observation batches behind each other.

    :param parts: Of shape (N, …) each, or dicts of such arrays with the same keys
    :return: Of shape (ΣN, …), or a dict of such arrays
    """
    if isinstance(parts[0], dict):
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return np.concatenate([np.asarray(part) for part in parts])


def true_next_obs(new_obs: Obs, dones: Array, infos: list[dict[str, Any]]) -> Obs:
    """Give s' of a vector step: the last observation, not the next episode's first.

    :param new_obs: What the environments returned, of shape (N, …)
    :param dones: Whose episode ended, of shape (N,)
    :param infos: With ``terminal_observation`` where one ended
    :return: Of the same structure; ``new_obs`` itself if none ended
    """
    if not dones.any():
        return new_obs
    following = map_obs(np.copy, new_obs)
    for n in np.flatnonzero(dones):
        terminal = infos[n]["terminal_observation"]
        if isinstance(following, dict):
            for key, value in following.items():
                value[n] = terminal[key]
        else:
            following[n] = terminal
    return following
