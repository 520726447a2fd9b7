"""The state of a chain of layers, such as an environment and its wrappers, as a pickle.

A state is what the attributes of the layers hold, pickled together so that what they share stays
shared, also the memory of arrays. Settings, and the layers themselves, are references to those that
the state is put into. A MuJoCo simulation is copied as a whole (``mjData``), since its derived
quantities lag the positions by one substep and would not come out the same if they were computed
again.
"""

import io
import pickle
import random
import sys
import types
from collections.abc import Iterator
from functools import partial, reduce
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle, RecordConstructorArgs
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnvWrapper, VecMonitor, VecNormalize

from sb3_course.common.checkpoint.looks import Held, words
from sb3_course.common.checkpoint.memory import Memory, NotKeptError, Path
from sb3_course.common.checkpoint.resources import (
    is_function_of_data,
    is_resource,
    is_simulation,
)

_RANDOM = (np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random)
_VEC_NORMALIZE = ("returns", "old_obs", "old_reward")
_NO_STATE: dict[type, set[str]] = {
    object: {"spec", "render_mode"},
    gym.Wrapper: {"env", "_cached_spec"},
    gym.vector.VectorWrapper: {"env"},
    VecEnvWrapper: {"venv", "class_attributes"},
    RecordConstructorArgs: {"_saved_kwargs"},
    Monitor: {"t_start"},
    VecMonitor: {"t_start"},
}
"""Attributes by the kind of layer: what describes it and how it is shown, a wrapper's link to the
next one, the arguments that some keep, and when SB3's monitors were made."""

_BOOKKEEPERS = (Monitor, VecMonitor, VecNormalize, OrderEnforcing, PassiveEnvChecker)
_BOOKKEEPING = {"_elapsed_steps"}
"""Layers and attributes that are no settings, also where environments have been used before."""

_WHOLE = (int, float, complex, str, bytes, bool, type(None), gym.Space)
"""What is kept in a file although it is a setting: a reference to it would take as much, or it has
a generator, as a space has."""


def look_at(layers: list[Any]) -> Held:
    """Return what the plain attributes of layers hold.

    :param layers: Layers
    :return: What they hold, without bookkeeping
    """
    named = (
        (_label(i, layer, name), words(value, layers))
        for i, layer in enumerate(layers)
        for name, value in _attributes(layer, layers).items()
        if name not in _BOOKKEEPING and not isinstance(layer, _BOOKKEEPERS)
    )
    return {name: held for name, held in named if held is not None}


def _label(i: int, layer: Any, attribute: str) -> str:
    return f"{i} {name_of(layer)}.{attribute}"


def pickled(layers: list[Any], settings: Held | None, apart: "Apart | None" = None) -> bytes:
    """Pickle the attributes of layers together, without the content of those that are settings.

    :param layers: Layers
    :param settings: What is a setting, as of :func:`look_at`; None if nobody has looked
    :param apart: What checks that no two states share an object of which neither may have a copy
    :return: Pickle, for :func:`unpickle`
    :raises NotKeptError: An attribute cannot be pickled, or is shared
    """
    states = [(name_of(layer), _attributes(layer, layers)) for layer in layers]
    simulations, named = _simulations(layers)
    arrays = [part for part in named.values() if isinstance(part, np.ndarray)]
    kept = _kept(layers, states, settings)
    paths = {id(part): path for path, part in named.items()}
    paths |= {id(layer): (i,) for i, layer in enumerate(layers)}
    memory = Memory(states, partial(_reference, kept | paths), arrays)
    held = [value for _, attributes in states for value in attributes.values()]
    views = {id(v) for v in held if id(v) in kept and isinstance(v, np.ndarray) and memory.has(v)}
    if views:  # of what changes: they have not changed so far, and will
        kept = {key: path for key, path in kept.items() if key not in views}
        memory = Memory(states, partial(_reference, kept | paths), arrays)
    buffer = io.BytesIO()
    if simulations:  # first, since the others refer to them
        names = [name for name, _ in states]
        pickle.dump((names, {i: layers[i].data for i in simulations}), buffer, protocol=4)
    if apart is not None:
        apart.begin()
    _Pickler(buffer, kept | paths, memory, apart).dump(states)
    return buffer.getvalue()


def _kept(
    layers: list[Any], states: list[tuple[str, dict[str, Any]]], settings: Held | None
) -> dict[int, Path]:
    """Return where the attributes are that are settings, by their ids."""
    return {
        id(value): (i, attribute)
        for i, (layer, (_, attributes)) in enumerate(zip(layers, states, strict=True))
        for attribute, value in attributes.items()
        if not isinstance(value, _WHOLE)
        and (
            is_function_of_data(value, layers)
            if settings is None
            else _label(i, layer, attribute) in settings
        )
    }


def unpickle(layers: list[Any], content: bytes) -> None:
    """Set layers to the state that :func:`pickled` returned.

    :param layers: As many layers of the same kinds
    :param content: Trusted pickle
    :raises NotKeptError: They are of other kinds; names both
    """
    stream = io.BytesIO(content)
    states = _Unpickler(stream, layers).load()
    if isinstance(states, tuple):
        names, simulations = states
        _check_names(names, layers)
        for i, data in simulations.items():
            _put_simulation(layers[i], data)
        states = _Unpickler(stream, layers).load()
    _check_names([name for name, _ in states], layers)
    for layer, (_, attributes) in zip(layers, states, strict=True):
        for name, value in attributes.items():
            if name == "data" and is_simulation(value):
                _put_simulation(layer, value)
            elif name in _slots(layer):
                setattr(layer, name, value)
            else:
                vars(layer)[name] = value


def _check_names(names: list[str], layers: list[Any]) -> None:
    found = [name_of(layer) for layer in layers]
    if names != found:
        raise NotKeptError(f"the state is of {chain(names)}, not of {chain(found)}")


def _put_simulation(layer: Any, data: Any) -> None:
    own = vars(layer).get("data")
    if not is_simulation(own) or "model" not in vars(layer):  # of a wrapper that knows another's
        vars(layer)["data"] = data
    elif own is not data:
        sys.modules["mujoco"].mj_copyData(own, layer.model, data)


def _simulations(layers: list[Any]) -> tuple[list[int], dict[Path, Any]]:
    """Return the layers that have a MuJoCo simulation, and its parts by where they are found."""
    having, named = list[int](), dict[Path, Any]()
    known = set[int]()
    for i, layer in reversed(list(enumerate(layers))):
        held = vars(layer)
        if is_simulation(held.get("data")) and "model" in held and id(held["data"]) not in known:
            having.append(i)
            for name in ("data", "model"):
                known.add(id(held[name]))
                named[i, name] = held[name]
                for part in dir(held[name]):
                    value = None if part.startswith("_") else getattr(held[name], part, None)
                    if isinstance(value, np.ndarray):
                        named[i, name, part] = value
    return having, named


def _attributes(layer: Any, layers: list[Any]) -> dict[str, Any]:
    """Return the attributes that make up the state of one of the layers."""
    slots = {name: getattr(layer, name) for name in _slots(layer) if hasattr(layer, name)}
    held = vars(layer) | slots
    if isinstance(layer, VecNormalize):
        return {name: held[name] for name in _VEC_NORMALIZE if name in held}
    no_state = set().union(*(names for kind, names in _NO_STATE.items() if isinstance(layer, kind)))
    return {
        name: value
        for name, value in held.items()
        if name not in no_state and not is_resource(value, layers)
    }


def _slots(layer: Any) -> Iterator[str]:
    """Yield the names of the ``__slots__`` of a layer's classes."""
    for kind in type(layer).__mro__:
        if "__slots__" in vars(kind):
            yield from (
                n for n, v in vars(kind).items() if isinstance(v, types.MemberDescriptorType)
            )


class Apart:
    """Refuses what several states hold together, and would each have a copy of.

    Of such objects those are known whose copies are never meant: random generators, and the policy
    that is trained.

    :param policy: The policy that is trained; None if nobody trains
    """

    def __init__(self, policy: Any) -> None:
        self._policy, self._states = policy, 0
        self._holders: dict[int, tuple[int, Any]] = {}
        self._of_spaces: set[int] = set()  # which environments and wrappers share harmlessly

    def begin(self) -> None:
        """Begin the next state."""
        self._states += 1

    def check(self, value: Any) -> None:
        """Check an object that the present state holds.

        :param value: Object
        :raises NotKeptError: It would have a copy
        """
        if value is self._policy and value is not None:
            raise NotKeptError("an environment holds the model's policy, and would have a copy")
        if isinstance(value, gym.Space) and (generator := value._np_random) is not None:
            self._of_spaces |= {id(generator), id(generator.bit_generator)}
        if isinstance(value, _RANDOM) and id(value) not in self._of_spaces:
            holder, _ = self._holders.setdefault(id(value), (self._states, value))
            if holder != self._states:
                raise NotKeptError(f"environments share a {name_of(value)}, and would have copies")


class _Pickler(pickle.Pickler):
    """Pickles attributes, with references to the layers themselves and to their settings."""

    def __init__(
        self, buffer: io.BytesIO, paths: dict[int, Path], memory: Memory, apart: Apart | None
    ) -> None:
        super().__init__(buffer, protocol=4)
        self._paths, self._memory, self._apart = paths, memory, apart

    def reducer_override(self, value: Any) -> Any:
        return self._memory.reduced(value)

    def persistent_id(self, value: Any) -> Path | None:
        if self._apart is not None:
            self._apart.check(value)
        return _reference(self._paths, value)


def _reference(paths: dict[int, Path], value: Any) -> Path | None:
    path = paths.get(id(value))
    if path is None and isinstance(value, EzPickle):
        name = name_of(value)
        raise NotKeptError(f"{name} pickles its constructor's arguments, not its state")
    return path


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, layers: list[Any]) -> None:
        super().__init__(buffer)
        self._layers = layers

    def persistent_load(self, path: int | tuple[Any, ...]) -> Any:
        if isinstance(path, int):  # in files of 0.1.0
            return self._layers[path]
        i, *attributes = path
        found = reduce(getattr, attributes, self._layers[i])
        if found is None:
            raise NotKeptError(f"{name_of(self._layers[i])} has no {'.'.join(attributes)} yet")
        return found


def name_of(layer: Any) -> str:
    """Return the name of an object's class.

    :param layer: Layer, or another object
    :return: Name
    """
    return type(layer).__qualname__


def chain(names: list[str]) -> str:
    """Return how layers are nested, in words.

    :param names: Names of layers, the outermost first
    :return: Names as calls would be nested
    """
    return "(".join(names) + ")" * (len(names) - 1) if names else "no wrapper"
