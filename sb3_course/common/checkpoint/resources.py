"""Which attributes of an environment are no state: what belongs to its process, and functions.

A function has no state of its own, but it reaches some: a bound method its object, a partial its
arguments, a lambda what it encloses. If that is more than layers and what belongs to the process,
the function is an attribute like others: a setting if what it reaches does not change, else
pickled, or refused as pickle refuses a lambda.
"""

import io
import sys
import types
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.monitor import ResultsWriter
from stable_baselines3.common.vec_env import VecEnv

# The environment that goes on keeps its own.
_OF_THE_PROCESS = (types.ModuleType, type, io.IOBase, ResultsWriter)
_MODULES = ("pygame", "gymnasium.envs.mujoco.mujoco_rendering", "logging", "mujoco")
_METHODS = (types.MethodType, types.BuiltinMethodType)
_CONTAINERS = (list, tuple, set, frozenset)
_IDLE = (*_OF_THE_PROCESS, type(None), VecEnv)
"""What a function may lead to; the state of the VecEnv is kept."""
_DATA = (int, float, complex, str, bytes, bool, np.ndarray, np.generic, th.Tensor, gym.Space)
"""What is taken for a constant of a function, if nobody has looked whether it changes."""


def is_resource(value: Any, layers: Iterable[Any]) -> bool:
    """Return whether an attribute is no state.

    :param value: Value of the attribute
    :param layers: Layers that are kept, to which a function may lead
    :return: Whether the environment that goes on keeps its own
    """
    if is_function(value):
        return _reaches_only(_IDLE, value, {id(layer) for layer in layers})
    return isinstance(value, _OF_THE_PROCESS) or _is_of_a_library(value)


def is_function_of_data(value: Any, layers: Iterable[Any]) -> bool:
    """Return whether an attribute is a function of data, which are constants for all one knows.

    :param value: Value of the attribute
    :param layers: Layers that are kept, to which a function may lead
    :return: Whether it is one
    """
    seen = {id(layer) for layer in layers}
    return is_function(value) and _reaches_only((*_IDLE, *_DATA), value, seen)


def is_simulation(value: Any) -> bool:
    """Return whether a value is MuJoCo's ``mjData``.

    :param value: Value
    :return: Whether it is
    """
    mujoco = sys.modules.get("mujoco")
    return mujoco is not None and isinstance(value, mujoco.MjData)


def _is_of_a_library(value: Any) -> bool:
    module = f"{type(value).__module__}."  # mujoco_maze is another one
    return module.startswith(tuple(f"{m}." for m in _MODULES)) and not is_simulation(value)


def is_function(value: Any) -> bool:
    """Return whether a value is a function, a method or a ``partial``.

    :param value: Value
    :return: Whether it is
    """
    return isinstance(value, (types.FunctionType, partial, *_METHODS))


def _reaches_only(kinds: tuple[type, ...], value: Any, seen: set[int]) -> bool:
    """Return whether a value leads to nothing but objects of some kinds, and what was seen."""
    if id(value) in seen:
        return True
    seen.add(id(value))
    if is_function(value):
        return all(_reaches_only(kinds, part, seen) for part in reached(value))
    if isinstance(value, dict):
        return all(_reaches_only(kinds, part, seen) for item in value.items() for part in item)
    if isinstance(value, _CONTAINERS):
        return all(_reaches_only(kinds, part, seen) for part in value)
    return isinstance(value, kinds) or _is_of_a_library(value)


def reached(function: Any) -> Iterator[Any]:
    """Yield what a function leads to, beside its module.

    :param function: Function, method or ``partial``
    :yield: Object of a method, arguments of a ``partial``, defaults and what is enclosed
    """
    if isinstance(function, partial):
        yield from (function.func, *function.args, *function.keywords.values())
    elif isinstance(function, _METHODS):
        if not isinstance(function.__self__, types.ModuleType):  # as that of max()
            yield function.__self__
        yield getattr(function, "__func__", None)
    else:
        yield from function.__defaults__ or ()
        yield from (function.__kwdefaults__ or {}).values()
        yield from (cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell))


def _is_filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
