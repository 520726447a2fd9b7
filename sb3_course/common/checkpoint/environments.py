"""The states of environments, so that a continued training goes on inside its episodes.

Each environment is a chain of wrappers around one of Gymnasium's. Its state is what their
attributes hold, pickled together so that what they share stays shared. A MuJoCo simulation is
copied as a whole (``mjData``), since its derived quantities lag the positions by one substep and
would not come out the same if they were computed again.

What has not changed since the training began is no state but how the environment was made, such as
Pendulum's gravity: where it differs, nothing is put, since a state of one task is none of another.

The functions run where the environment lives: in this process, or in one of ``SubprocVecEnv``'s.
"""

import io
import pickle
import random
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker
from stable_baselines3.common.monitor import Monitor, ResultsWriter
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
)

from sb3_course.common.checkpoint.looks import Held, Look, difference, unchanged, words
from sb3_course.envs.gymnasium_vec_env import GymnasiumVecEnv

TAKE, PUT, LOOK = "_sb3_course_take_state", "_sb3_course_put_state", "_sb3_course_look"

# What belongs to a process and not to a state: the environment that goes on keeps its own.
_RESOURCES = (
    *(types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.ModuleType),
    *(partial, type, io.IOBase, ResultsWriter),
)
_RESOURCE_MODULES = ("pygame", "gymnasium.envs.mujoco.mujoco_rendering", "logging")
_VEC_NORMALIZE = ("returns", "old_obs", "old_reward")
_OF_RESET = ("_seeds", "_options", "_returns", "_lengths")
"""What a VecEnv keeps for its next reset, which uses it up, and of its running episodes."""
_NO_STATE = {
    *("env", "venv", "spec", "_cached_spec", "class_attributes", "_saved_kwargs"),
    *("render_mode", "t_start"),
}
"""Links to the next layer, what describes a layer (wrappers keep their arguments, too), how it is
shown, and when SB3's monitors were made."""


_BOOKKEEPERS = (Monitor, VecMonitor, VecNormalize, OrderEnforcing, PassiveEnvChecker)
_BOOKKEEPING = {"_elapsed_steps"}
"""Layers and attributes that are no settings, also where environments have been used before."""

_WHOLE = (int, float, complex, str, bytes, bool, type(None), gym.Space)
"""What is kept in a file although it is a setting: a reference to it would take as much, or it has
a generator, as a space has."""


class NotKeptError(Exception):
    """The state of an environment cannot be kept; says why."""


def look(venv: VecEnv) -> Look:
    """Return what the plain attributes of environments hold, to be compared later.

    :param venv: Environments
    :return: What they hold
    :raises NotKeptError: If one of them cannot be looked at; says why
    """
    inner, wrappers = venv.unwrapped, _vec_layers(venv)
    with _explained(inner):
        if (envs := _in_reach(inner)) is not None:
            inside = [_held(list(_layers(env))) for env in envs]
        elif isinstance(inner, SubprocVecEnv):
            _visit(inner)
            inside = [_checked(answer) for answer in inner.env_method(LOOK)]
        else:
            inside = [_held([inner])]
        return [_held(wrappers), *inside]


def take(venv: VecEnv, first: Look | None = None) -> bytes:
    """Return the states of vector environments, and of the wrappers around them.

    :param venv: Environments, between two steps
    :param first: What they held when the training began; None if nobody has looked
    :return: Pickle, for :func:`put`
    :raises NotKeptError: If one of them cannot be kept; says why
    """
    inner, wrappers = venv.unwrapped, _vec_layers(venv)
    made_with = None if first is None else unchanged(first, look(venv))
    with _explained(inner):
        of_wrappers, *settings = made_with or [{}] * (1 + inner.num_envs)
        if (envs := _in_reach(inner)) is not None:
            pairs = zip(envs, settings, strict=True)
            states: list[Any] = [_pickled(list(_layers(env)), held) for env, held in pairs]
        elif isinstance(inner, SubprocVecEnv):
            _visit(inner)
            states = [
                _checked(inner.env_method(TAKE, held, indices=[i])[0])
                for i, held in enumerate(settings)
            ]
        else:
            states = [_pickled([inner], settings[0])]
        of_reset = {name: vars(inner)[name] for name in _OF_RESET if name in vars(inner)}
        names = list(map(_name, wrappers))
        return pickle.dumps((names, _pickled(wrappers, of_wrappers), of_reset, states, made_with))


def put(venv: VecEnv, content: bytes) -> None:
    """Put environments into the states that :func:`take` returned.

    :param venv: As many equal environments
    :param content: Trusted pickle
    :raises NotKeptError: If they are not equal, or a state does not fit; says why
    """
    inner, wrappers = venv.unwrapped, _vec_layers(venv)
    with _explained(inner):
        # files of early 0.2.0 and before do not say what the environments were made with
        names, of_wrappers, of_reset, states, *made_with = pickle.loads(content)
        if names != list(map(_name, wrappers)):
            found = _chain(list(map(_name, wrappers)))
            raise NotKeptError(f"the states are of {_chain(names)}, not of {found}")
        envs = _in_reach(inner)
        single = envs is not None or isinstance(inner, SubprocVecEnv)
        if single and len(states) != inner.num_envs:
            raise NotKeptError(f"there are states of {len(states)} environments")
        for before in filter(None, made_with):
            if (how := difference(before, look(venv))) is not None:
                raise NotKeptError(f"the environment was made otherwise: {how}")
        if envs is not None:
            for env, state in zip(envs, states, strict=True):
                _unpickle(list(_layers(env)), state)
        elif isinstance(inner, SubprocVecEnv):
            _visit(inner)
            for i, state in enumerate(states):
                _checked(inner.env_method(PUT, state, indices=[i])[0])
        else:
            _unpickle([inner], states[0])
        _unpickle(wrappers, of_wrappers)
        vars(inner).update(of_reset)


def _in_reach(venv: VecEnv) -> list[Any] | None:
    """Return the environments that live in this process, None for others."""
    return venv.envs if isinstance(venv, (DummyVecEnv, GymnasiumVecEnv)) else None


@contextmanager
def _explained(venv: VecEnv) -> Iterator[None]:
    try:
        yield
    except NotKeptError:
        raise
    except Exception as error:  # an environment's own code may raise anything here
        raise NotKeptError(f"{type(venv).__name__}: {error}") from error


# -- in the processes of SubprocVecEnv ---------------------------------------------------------


class _Visit(type):
    """Metaclass by which a VecEnv's question reaches each environment, in its own process.

    ``env_is_wrapped`` is the one method of SB3's VecEnv that hands the environment to code of the
    caller: it asks ``isinstance(env, wrapper_class)``. The answer attaches the functions of this
    module, which ``env_method`` then calls.
    """

    def __instancecheck__(cls, env: Any) -> bool:
        try:
            setattr(env, TAKE, partial(_take_there, env))
            setattr(env, PUT, partial(_put_there, env))
            setattr(env, LOOK, partial(_look_there, env))
        except Exception:  # it would end the process
            return False
        return True


class _Visitor(metaclass=_Visit):
    pass


def _visit(venv: SubprocVecEnv) -> None:
    visitor: Any = _Visitor  # no wrapper, which SB3 declares
    if not all(venv.env_is_wrapped(visitor)):
        raise NotKeptError(
            "in SubprocVecEnv an environment needs a wrapper that takes attributes, such as Monitor"
        )


def _take_there(env: Any, settings: Held) -> tuple[Any, str]:
    """Return state and random states of a process, or what went wrong: an error would end it."""
    try:
        state = _pickled(list(_layers(env)), settings)
        return (random.getstate(), np.random.get_state(), state), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _put_there(env: Any, states: Any) -> tuple[Any, str]:
    try:
        of_python, of_numpy, state = states
        _unpickle(list(_layers(env)), state)
        random.setstate(of_python)
        np.random.set_state(of_numpy)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    return None, ""


def _look_there(env: Any) -> tuple[Any, str]:
    try:
        return _held(list(_layers(env))), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _checked(answer: tuple[Any, str]) -> Any:
    state, error = answer
    if error:
        raise NotKeptError(error)
    return state


# -- one environment -----------------------------------------------------------------------------


def _layers(env: Any) -> Iterator[Any]:
    yield env
    while isinstance(env, gym.Wrapper):
        env = env.env
        yield env


def _vec_layers(venv: VecEnv) -> list[VecEnv]:
    layers = [venv]
    while isinstance(layers[-1], VecEnvWrapper):
        layers.append(layers[-1].venv)
    return layers[:-1]


def _held(layers: list[Any]) -> Held:
    """Return what the plain attributes of layers hold."""
    named = (
        (_label(i, layer, name), words(value))
        for i, layer in enumerate(layers)
        for name, value in _attributes(layer).items()
        if name not in _BOOKKEEPING and not isinstance(layer, _BOOKKEEPERS)
    )
    return {name: held for name, held in named if held is not None}


def _label(i: int, layer: Any, attribute: str) -> str:
    return f"{i} {_name(layer)}.{attribute}"


def _pickled(layers: list[Any], settings: Held) -> bytes:
    """Pickle the attributes of layers together, without the content of those that are settings."""
    states = [(_name(layer), _attributes(layer)) for layer in layers]
    kept = {
        id(value): (i, attribute)
        for i, (layer, (_, attributes)) in enumerate(zip(layers, states, strict=True))
        for attribute, value in attributes.items()
        if _label(i, layer, attribute) in settings and not isinstance(value, _WHOLE)
    }
    buffer = io.BytesIO()
    _Pickler(buffer, layers, kept).dump(states)
    return buffer.getvalue()


def _unpickle(layers: list[Any], content: bytes) -> None:
    states = _Unpickler(io.BytesIO(content), layers).load()
    names, found = [name for name, _ in states], [_name(layer) for layer in layers]
    if names != found:
        raise NotKeptError(f"the state is of {_chain(names)}, not of {_chain(found)}")
    for layer, (_, attributes) in zip(layers, states, strict=True):
        for name, value in attributes.items():
            if name == "data" and _is_simulation(vars(layer).get(name)):
                _mujoco().mj_copyData(layer.data, layer.model, value)
            else:
                vars(layer)[name] = value


def _attributes(layer: Any) -> dict[str, Any]:
    """Return the attributes that make up the state of one layer."""
    if isinstance(layer, VecNormalize):
        return {name: vars(layer)[name] for name in _VEC_NORMALIZE if name in vars(layer)}
    return {
        name: value
        for name, value in vars(layer).items()
        if name not in _NO_STATE and not _is_resource(value)
    }


def _is_resource(value: Any) -> bool:
    module = type(value).__module__
    return (
        isinstance(value, _RESOURCES)
        or module.startswith(_RESOURCE_MODULES)
        or (module.startswith("mujoco") and not _is_simulation(value))
    )


def _is_simulation(value: Any) -> bool:
    mujoco = _mujoco()
    return mujoco is not None and isinstance(value, mujoco.MjData)


def _mujoco() -> Any:
    return sys.modules.get("mujoco")


class _Pickler(pickle.Pickler):
    """Pickles attributes, with references to the layers themselves and to their settings."""

    def __init__(self, buffer: io.BytesIO, layers: list[Any], settings: dict[int, Any]) -> None:
        super().__init__(buffer, protocol=4)
        self._numbers = settings | {id(layer): i for i, layer in enumerate(layers)}

    def persistent_id(self, value: Any) -> int | tuple[int, str] | None:
        number: int | tuple[int, str] | None = self._numbers.get(id(value))
        if number is None and isinstance(value, EzPickle):
            raise NotKeptError(f"{_name(value)} pickles its constructor's arguments, not its state")
        return number


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, layers: list[Any]) -> None:
        super().__init__(buffer)
        self._layers = layers

    def persistent_load(self, number: int | tuple[int, str]) -> Any:
        if isinstance(number, int):
            return self._layers[number]
        i, attribute = number
        return vars(self._layers[i])[attribute]


def _name(layer: Any) -> str:
    return type(layer).__qualname__


def _chain(names: list[str]) -> str:
    return "(".join(names) + ")" * (len(names) - 1) if names else "no wrapper"
