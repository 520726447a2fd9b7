"""The states of environments, so that a continued training goes on inside its episodes.

Each environment is a chain of wrappers around one of Gymnasium's: :mod:`.layers`.

What has not changed since the training began is no state but how the environment was made, such as
Pendulum's gravity: where it differs, nothing is put, since a state of one task is none of another.

The functions run where the environment lives: in this process, or in one of ``SubprocVecEnv``'s.
"""

import copy
import pickle
import random
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecEnvWrapper,
)

from sb3_course.common.checkpoint.layers import (
    Apart,
    chain,
    look_at,
    name_of,
    pickled,
    unpickle,
)
from sb3_course.common.checkpoint.looks import Held, Look, difference, unchanged
from sb3_course.common.checkpoint.memory import NotKeptError
from sb3_course.envs.gymnasium_env import layers_of
from sb3_course.envs.gymnasium_vec_env import GymnasiumVecEnv

TAKE, PUT, LOOK = "_sb3_course_take_state", "_sb3_course_put_state", "_sb3_course_look"
SPEC = "_sb3_course_spec"

UNSENT = NotImplemented
"""Stands for an argument that cannot leave its process."""
_OF_RESET = ("_seeds", "_options", "_returns", "_lengths")
"""What a VecEnv keeps for its next reset, which uses it up, and of its running episodes."""
_OF_EVERY = {
    *("num_envs", "observation_space", "action_space", "reset_infos", "render_mode", "metadata"),
    *("keys", "buf_obs", "buf_dones", "buf_rews", "buf_infos", "actions", "envs", "env_config"),
    *("waiting", "closed", "remotes", "work_remotes", "processes"),
    *("vector_env", "_same_step", "_is_plain", "_is_async", "_actions", "_t_start"),
    *_OF_RESET,
}
"""What SB3's VecEnvs and ours have; a subclass may have attributes of its own."""


def look(venv: VecEnv) -> Look:
    """Return what the plain attributes of environments hold, to be compared later.

    :param venv: Environments
    :return: What they hold
    :raises NotKeptError: If one of them cannot be looked at; says why
    """
    inner, wrappers = venv.unwrapped, _vec_layers(venv)
    with _explained(inner):
        if isinstance(inner, SubprocVecEnv):
            _visit(inner)
            inside = [_checked(answer) for answer in inner.env_method(LOOK)]
        else:
            inside = [look_at(layers_of(env)) for env in _in_reach(inner)]
        return [look_at(wrappers), *inside]


def take(venv: VecEnv, first: Look | None = None, policy: Any = None) -> bytes:
    """Return the states of vector environments, and of the wrappers around them.

    :param venv: Environments, between two steps
    :param first: What they held when the training began; None if nobody has looked
    :param policy: The model's policy, of which no environment may hold a copy afterwards
    :return: Pickle, for :func:`put`
    :raises NotKeptError: If one of them cannot be kept; says why
    """
    inner, wrappers = venv.unwrapped, _vec_layers(venv)
    made_with = None if first is None else unchanged(first, look(venv))
    apart = Apart(policy)
    nobody_looked: list[Held | None] = [None]
    with _explained(inner):
        of_wrappers, *settings = made_with or nobody_looked * (1 + inner.num_envs)
        states: list[Any]
        if isinstance(inner, SubprocVecEnv):
            _visit(inner)
            states = [
                _checked(inner.env_method(TAKE, held, indices=[i])[0])
                for i, held in enumerate(settings)
            ]
        else:
            pairs = zip(_in_reach(inner), settings, strict=False)
            states = [pickled(layers_of(env), held, apart) for env, held in pairs]
        of_reset = {name: vars(inner)[name] for name in _OF_RESET if name in vars(inner)}
        names = list(map(name_of, wrappers))
        around = pickled(wrappers, of_wrappers, apart)
        own = pickled([_own(inner)], None, apart) if _has_single(inner) else None
        return pickle.dumps((names, around, of_reset, states, made_with, own))


def made_otherwise(venv: VecEnv, content: bytes) -> str | None:
    """Return in which setting environments differ from those whose states :func:`take` returned.

    :param venv: Environments
    :param content: Trusted pickle
    :return: First difference in words; None if there is none, or nobody can say
    """
    with suppress(Exception):  # which put() tells
        *_, made_with, _ = _unpickled(content)
        return difference(made_with, look(venv)) if made_with else None
    return None


def _unpickled(content: bytes) -> tuple[Any, ...]:
    """Return the parts that :func:`take` has put together."""
    # Files of early 0.2.0 and before do not say what the environments were made with.
    return (*pickle.loads(content), None, None)[:6]


def put(venv: VecEnv, content: bytes) -> None:
    """Set environments to the states that :func:`take` returned.

    :param venv: As many equal environments
    :param content: Trusted pickle
    :raises NotKeptError: If they are not equal, or a state does not fit; says why
    """
    inner, wrappers = venv.unwrapped, _vec_layers(venv)
    with _explained(inner):
        names, of_wrappers, of_reset, states, made_with, own = _unpickled(content)
        if names != list(map(name_of, wrappers)):
            found = chain(list(map(name_of, wrappers)))
            raise NotKeptError(f"the states are of {chain(names)}, not of {found}")
        if _has_single(inner) and len(states) != inner.num_envs:
            raise NotKeptError(f"there are states of {len(states)} environments")
        if made_with and (how := difference(made_with, look(venv))) is not None:
            raise NotKeptError(f"the environment was made otherwise: {how}")
        # Those of SubprocVecEnv come with the generators of its processes.
        kept = [state if isinstance(state, tuple) else (None, None, state) for state in states]
        if isinstance(inner, SubprocVecEnv):
            _visit(inner)
            for i, state in enumerate(kept):
                _checked(inner.env_method(PUT, state, indices=[i])[0])
        else:
            for env, (*_, state) in zip(_in_reach(inner), kept, strict=False):
                unpickle(layers_of(env), state)
        unpickle(wrappers, of_wrappers)
        vars(inner).update(of_reset)
        if own is not None:
            unpickle([here := _own(inner)], own)
            vars(inner).update(vars(here))


def _in_reach(venv: VecEnv) -> list[Any]:
    """Return the environments in this process: single ones, or a VecEnv that shows none."""
    envs = venv.envs if isinstance(venv, (DummyVecEnv, GymnasiumVecEnv)) else None
    return [venv] if envs is None else envs


def _has_single(venv: VecEnv) -> bool:
    """Return whether a VecEnv holds single environments, apart from its own attributes."""
    return isinstance(venv, SubprocVecEnv) or _in_reach(venv)[0] is not venv


def _own(venv: VecEnv) -> types.SimpleNamespace:
    """Return the attributes of a VecEnv that only its own class has."""
    return types.SimpleNamespace(**{k: v for k, v in vars(venv).items() if k not in _OF_EVERY})


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
            setattr(env, TAKE, partial(_answer, _take_there, env))
            setattr(env, PUT, partial(_answer, _put_there, env))
            setattr(env, LOOK, partial(_answer, _look_there, env))
            setattr(env, SPEC, partial(_answer, _spec_there, env))
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


def _answer(function: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """Return what a function does, or what went wrong: an error would end the process."""
    try:
        return function(*arguments), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _take_there(env: Any, settings: Held | None) -> tuple[Any, ...]:
    state = pickled(layers_of(env), settings)
    return random.getstate(), np.random.get_state(), state


def _put_there(env: Any, states: tuple[Any, ...]) -> None:
    of_python, of_numpy, state = states
    unpickle(layers_of(env), state)
    if of_python is not None:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def spec_in_process(venv: SubprocVecEnv) -> Any:
    """Return Gymnasium's spec of the first environment, which its process survives.

    :param venv: Environments, between two steps
    :return: Spec without what cannot be pickled; None if there is none
    :raises NotKeptError: It cannot be told
    """
    _visit(venv)
    return _checked(venv.env_method(SPEC, indices=[0])[0])


def _spec_there(env: Any) -> Any:
    spec = copy.copy(env.spec)
    if spec is not None:
        spec.kwargs = {name: _sent(value) for name, value in spec.kwargs.items()}
        spec.additional_wrappers = tuple(
            replace(wrapper, kwargs=None if _sent(wrapper.kwargs) is UNSENT else wrapper.kwargs)
            for wrapper in spec.additional_wrappers
        )
    return pickle.loads(pickle.dumps(spec))


def _sent(value: Any) -> Any:
    try:
        pickle.dumps(value)
    except Exception:  # an object's own code may raise anything here
        return UNSENT
    return value


def _look_there(env: Any) -> Held:
    return look_at(layers_of(env))


def _checked(answer: tuple[Any, str]) -> Any:
    found, error = answer
    if error:
        raise NotKeptError(error)
    return found


def _vec_layers(venv: VecEnv) -> list[Any]:
    """Return the wrappers around all environments: SB3's, and Gymnasium's around those in reach."""
    layers: list[Any] = []
    while isinstance(venv, VecEnvWrapper):
        layers.append(venv)
        venv = venv.venv
    if isinstance(venv, GymnasiumVecEnv) and venv.envs is not None:
        inner: Any = venv.vector_env
        while isinstance(inner, gym.vector.VectorWrapper):
            layers.append(inner)
            inner = inner.env
    return layers
