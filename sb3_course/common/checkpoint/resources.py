"""Which attributes of an environment are no state: what belongs to its process, and functions.

A function has no state of its own, but it reaches some: a bound method its object, a partial its
arguments, a lambda what it encloses. If that may have a state, the function is pickled with it, or
refused as pickle refuses a lambda.
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
_DATA = (
    *(int, float, complex, str, bytes, bool, type(None), np.ndarray, np.generic, th.Tensor),
    *(gym.Space, VecEnv),
)
"""What a function may enclose: data, taken for constants, and the VecEnv, whose state is kept."""


def is_resource(value: Any, layers: Iterable[Any]) -> bool:
    """Return whether an attribute is no state.

    :param value: Value of the attribute
    :param layers: Layers that are kept, to which a function may lead
    :return: Whether the environment that goes on keeps its own
    """
    if _is_function(value):
        return _has_no_state(value, {id(layer) for layer in layers})
    return isinstance(value, _OF_THE_PROCESS) or _is_of_a_library(value)


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


def _is_function(value: Any) -> bool:
    return isinstance(value, (types.FunctionType, partial, *_METHODS))


def _has_no_state(value: Any, seen: set[int]) -> bool:
    """Return whether nothing that a value leads to, but what was seen, may have a state."""
    if id(value) in seen:
        return True
    seen.add(id(value))
    if _is_function(value):
        return all(_has_no_state(part, seen) for part in _reached(value))
    if isinstance(value, dict):
        return all(_has_no_state(part, seen) for item in value.items() for part in item)
    if isinstance(value, _CONTAINERS):
        return all(_has_no_state(part, seen) for part in value)
    return isinstance(value, (*_DATA, *_OF_THE_PROCESS)) or _is_of_a_library(value)


def _reached(function: Any) -> Iterator[Any]:
    """Yield what a function leads to, beside its module."""
    if isinstance(function, partial):
        yield from (function.func, *function.args, *function.keywords.values())
    elif isinstance(function, _METHODS):
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
