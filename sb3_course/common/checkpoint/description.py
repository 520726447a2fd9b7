"""What a model's environment is built from, so that a file can have it built again.

An environment of :func:`.make_vec_env` knows its :class:`.EnvConfig`. Of others Gymnasium's spec
says the id, the arguments, the time limit and the wrappers, but not the arguments of a wrapper that
does not record them. What cannot be told is listed, so that nobody takes the rest for the whole.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecEnvWrapper, VecFrameStack

from sb3_course.common.checkpoint.environments import spec_in_process
from sb3_course.envs.config import EnvConfig, WrapperName, find_wrapper
from sb3_course.envs.make import config_of

OBSERVERS = ("Monitor", "RecordEpisodeStatistics", "RecordVideo")
"""Wrappers of SB3 and Gymnasium that change nothing."""
MISSING = object()
LEARNS_IN = "_learns_in"
"""Attribute of an algorithm: its environment when it began to learn, and what that is."""
WENT_ON = "a continuation in an environment without an id"
"""What a model is trained in besides the environment that its file names."""


@dataclass(frozen=True)
class Description:
    """What a model's environment is built from.

    :param env: Gymnasium id, ``module:id`` where the module is known; None if there is none
    :param settings: What differs from the plain environment, as of :meth:`.EnvConfig.data`
    :param unknown: What else it has, in words, that no file can name
    """

    env: str | None
    settings: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def description_of(algorithm: BaseAlgorithm) -> Description:
    """Describe the environment that a model acts in.

    :param algorithm: Algorithm of this package or another; an environment that is closed is what it
        was when the algorithm began to learn; without one that says what it is, its file's is
        described, with a word on learning that went on in one without an id
    :return: Description
    """
    venv, known = algorithm.get_env(), vars(algorithm)
    found = None if venv is None else _described(venv)
    learns_in, learned = known.get(LEARNS_IN, (None, None))
    if found is None and venv is learns_in:
        found = learned
    if found is not None:
        named = str(known.get("env_id")).endswith(f":{found.env}")  # its file knows the module
        return replace(found, env=known["env_id"]) if named else found
    settings, unknown = known.get("env_settings") or {}, known.get("env_unknown") or []
    if learns_in is not None and learned is None and "env_id" in known:
        unknown = list(dict.fromkeys([*unknown, WENT_ON]))
    return Description(known.get("env_id"), settings, unknown)


def remember(algorithm: BaseAlgorithm, header: Mapping[str, Any]) -> None:
    """Keep with a loaded model what its file says of its environment.

    :param algorithm: Algorithm of this package or another
    :param header: Header of the file
    """
    if "env" in header:
        vars(algorithm)["env_id"] = header["env"]
        vars(algorithm)["env_settings"] = header.get("env_settings", {})
        vars(algorithm)["env_unknown"] = header.get("env_unknown", [])


def remember_env(algorithm: BaseAlgorithm) -> None:
    """Keep with a model what its environment is, which may be closed before the model is saved.

    :param algorithm: Algorithm that begins to learn
    """
    venv = algorithm.get_env()
    vars(algorithm)[LEARNS_IN] = (venv, None if venv is None else _described(venv))


def _described(venv: VecEnv) -> Description | None:
    config, unknown = config_of(venv), list[str]()
    if config is None:
        spec = spec_of(venv)
        if spec is None:
            return None
        config = _config(spec, unknown)
    wrappers = []
    for wrapper in config.wrappers:
        try:
            wrappers.append(_named(wrapper))
        except ValueError:
            name = next(iter(wrapper)) if isinstance(wrapper, Mapping) else wrapper
            called = name if isinstance(name, str) else getattr(name, "__name__", repr(name))
            unknown.append(f"a wrapper that no file can name, {called}")
    kwargs = {}
    for key, value in config.kwargs.items():
        try:
            kwargs[key] = _plain(value)
        except ValueError:
            unknown.append(f"an argument {key} of type {type(value).__name__}")
    frames = _frames(venv, unknown)
    config = replace(config, wrappers=tuple(wrappers), kwargs=kwargs, frame_stack=frames)
    return Description(str(config.id), config.data(str(config.id)), unknown)


def spec_of(venv: VecEnv) -> EnvSpec | None:
    """Return Gymnasium's spec of the first environment.

    :param venv: Vector environment
    :return: Spec, of another process without arguments that cannot be pickled; None if there is
        none, or nobody answers
    """
    inner = venv.unwrapped
    try:
        if not isinstance(inner, SubprocVecEnv):
            specs = venv.get_attr("spec", 0)
            spec = specs[0] if specs else None
        # In the middle of a step, its results would be the answer.
        elif not inner.waiting:
            spec = spec_in_process(inner)
        else:
            spec = None
    except Exception:  # a VecEnv of one's own may refuse in any way, and saving goes on without it
        return None
    return spec if isinstance(spec, EnvSpec) else None


def _config(spec: EnvSpec, unknown: list[str]) -> EnvConfig:
    """Return what a spec says, and add what it leaves open."""
    plain = gymnasium.registry.get(spec.id, EnvSpec(spec.id))
    kwargs = {
        key: value
        for key, value in spec.kwargs.items()
        if key != "render_mode" and not _equal(value, plain.kwargs.get(key, MISSING))
    }
    limit = spec.max_episode_steps if spec.max_episode_steps != plain.max_episode_steps else None
    if spec.max_episode_steps is None and plain.max_episode_steps is not None:
        unknown.append("no time limit")
    wrappers: list[WrapperName] = []
    for wrapper in spec.additional_wrappers[len(plain.additional_wrappers) :]:
        if wrapper.name in OBSERVERS or wrapper.entry_point.startswith("sb3_course."):
            continue
        if wrapper.kwargs is None and _has_arguments(wrapper.entry_point):
            unknown.append(f"the wrapper {wrapper.name}, whose arguments are not known")
        else:
            name = wrapper.entry_point
            wrappers.append({name: dict(wrapper.kwargs)} if wrapper.kwargs else name)
    return EnvConfig(spec.id, kwargs, tuple(wrappers), time_limit=limit)


def _has_arguments(entry_point: str) -> bool:
    """Return whether a wrapper may have been made with more than the environment."""
    try:
        parameters = inspect.signature(find_wrapper(entry_point)).parameters.values()
    except (TypeError, ValueError):
        return True
    return len(parameters) != 1 or any(p.kind == p.VAR_POSITIONAL for p in parameters)


def _named(wrapper: WrapperName) -> WrapperName:
    """Return a wrapper by its name, with plain arguments; ValueError if it has no such form."""
    if isinstance(wrapper, Mapping):
        ((name, kwargs),) = wrapper.items()
        find_wrapper(name)
        return {name: _plain(kwargs)}
    if isinstance(wrapper, str):
        find_wrapper(wrapper)
        return wrapper
    if isinstance(wrapper, partial) and not wrapper.args:
        name = _import_path(wrapper.func)
        return {name: _plain(wrapper.keywords)} if wrapper.keywords else name
    return _import_path(wrapper)


def _import_path(wrapper: Callable[..., Any]) -> str:
    name = f"{getattr(wrapper, '__module__', '')}:{getattr(wrapper, '__qualname__', '')}"
    if name.startswith("__main__:") or find_wrapper(name) is not wrapper:
        raise ValueError(f"{wrapper!r} cannot be imported")
    return name


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; ValueError if it cannot."""
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{value!r} is not plain")


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # arrays and tensors have no single answer, and objects of one's own any
        return False


def _frames(venv: VecEnv, unknown: list[str]) -> int | None:
    """Return how many frames are stacked, and add the wrappers of vector environments to name."""
    ours = ("stable_baselines3.", "sb3_course.")
    frames: list[int] = []
    while isinstance(venv, VecEnvWrapper):
        if isinstance(venv, VecFrameStack):
            frames.append(venv.stacked_obs.n_stack)
        elif not type(venv).__module__.startswith(ours):
            unknown.append(f"a {type(venv).__name__} around its environments")
        venv = venv.venv
    if len(frames) > 1:
        unknown.append("frames that are stacked twice")
    return frames[0] if frames else None
