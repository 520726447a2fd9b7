"""One function that makes vector environments of every backend."""

import copy
import inspect
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Space
from stable_baselines3.common import env_util
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize

from sb3_course.envs._envpool_spec import UnsupportedEnvError
from sb3_course.envs.backends import Backend
from sb3_course.envs.config import EnvConfig, EnvId, WrapperName, several
from sb3_course.envs.envpool_vec_env import EnvPoolVecEnv
from sb3_course.envs.gymnasium_vec_env import GymnasiumVecEnv, UnsupportedVectorEnvError

#: Environments that EnvPool has with Gymnasium's id and spaces, but with other dynamics.
_KNOWN_DIFFERENCES = {
    "Pendulum-v1": "EnvPool moves the pendulum by its velocity before that is clipped",
    "CarRacing-v3": "EnvPool draws the track in fewer colors and the score as dots",
    "HumanoidStandup-v4": "EnvPool observes zeros where Gymnasium observes contact forces",
}

_CLASSES: dict[str, type[VecEnv]] = {
    "envpool": EnvPoolVecEnv,
    "dummy": DummyVecEnv,
    "subproc": SubprocVecEnv,
    "gymnasium": GymnasiumVecEnv,
}

CONFIG = "env_config"
"""Attribute of a vector environment: what it was made from."""

# Arguments that SB3's function has and ours passes on.
_SB3_KWARGS = inspect.signature(env_util.make_vec_env).parameters.keys() - {
    *("env_id", "n_envs", "seed", "env_kwargs")
}


def make_vec_env(
    env_id: EnvId | EnvConfig,
    n_envs: int = 1,
    seed: int | None = None,
    backend: Backend = "auto",
    normalize: bool | dict[str, Any] = False,
    env_kwargs: Mapping[str, Any] | None = None,
    verbose: int = 1,
    *,
    wrappers: WrapperName | Sequence[WrapperName] = (),
    frame_stack: int | None = None,
    time_limit: int | None = None,
    **sb3_kwargs: Any,
) -> VecEnv:
    r"""Make a vector environment that reports its episodes in ``infos[i]["episode"]``.

    Lengths and time limits count environment steps. ``infos[i]["episode"]`` is of the environment
    below its wrappers, as in SB3 and RL Zoo: a wrapper that changes rewards changes what is learned
    from, but not the return that is reported.

    ===============  =============================================================================
    ``backend``      how the environments are stepped
    ===============  =============================================================================
    ``"auto"``       ``"envpool"`` if EnvPool is installed and has Gymnasium's environment (the
                     spaces agree, no difference in dynamics is known, it knows all arguments,
                     there are no wrappers), else ``"dummy"``; prints which one and why
    ``"envpool"``    :class:`.EnvPoolVecEnv`: C++ threads, no rendering, no access to environments
    ``"dummy"``      SB3's ``DummyVecEnv``: Gymnasium, one after the other in this process
    ``"subproc"``    SB3's ``SubprocVecEnv``: Gymnasium, one process per environment, which leaves
                     Ctrl-C to this process
    ``"gymnasium"``  :class:`.GymnasiumVecEnv`: the vector environment that is registered with the
                     id if there is one and it can reset single environments, else
                     ``SyncVectorEnv``
    ===============  =============================================================================

    :param env_id: Environment id, ``module:id``, a whole
        :class:`~sb3_course.envs.config.EnvConfig` or, except for ``"envpool"``, a callable that
        returns an environment
    :param n_envs: Number of environments
    :param seed: Seed of the first environment, from which the others count up; None draws one.
        Equal seeds lead to equal trajectories within one backend, but not between EnvPool and
        Gymnasium
    :param backend: Backend from the table
    :param normalize: Whether to wrap the environments in SB3's ``VecNormalize``, which normalizes
        what is a Box of a Dict and no image, or a dict of its keyword arguments
    :param env_kwargs: Keyword arguments of the environment
    :param verbose: Verbosity; 0 silences ``"auto"``
    :param wrappers: Wrappers around each environment, the innermost first: classes, names
        ``"module:Class"``, or ``{"module:Class": {argument: value}}``; a single one needs no list
    :param frame_stack: Number of the last observations that are stacked, below the normalization
    :param time_limit: Environment steps after which an episode is truncated, in place of the
        registered limit
    :param \**sb3_kwargs: Other keyword arguments of SB3's ``make_vec_env``, such as
        ``wrapper_class``, ``monitor_dir`` and ``vec_env_cls``, which Gymnasium's environments take:
        with them ``"auto"`` stands for ``vec_env_cls``, by default ``DummyVecEnv``
    :return: Vector environment, whose backend :func:`backend_of` names
    :raises TypeError: If SB3's function has no such argument, or the backend excludes it
    :raises ValueError: If the backend is unknown, the number of environments or the seed is no
        whole number or too small, or a wrapper or an argument is refused
    :raises ImportError: If the backend is ``"envpool"`` and EnvPool is not installed
    """
    if backend != "auto" and backend not in _CLASSES:
        raise ValueError(
            f"unknown backend {backend!r}: it must be one of {', '.join(('auto', *_CLASSES))}"
        )
    n_envs = _whole_number("n_envs", n_envs, 1)
    seed = None if seed is None else _whole_number("seed", seed, 0)
    if isinstance(env_id, EnvConfig):
        if env_kwargs or wrappers or (frame_stack, time_limit) != (None, None):
            raise TypeError("an EnvConfig has its own settings: give them there alone")
        config = env_id
    else:
        config = EnvConfig(env_id, env_kwargs or {}, several(wrappers), frame_stack, time_limit)
    if sb3_kwargs:
        _check_sb3_kwargs(sb3_kwargs, backend, config)
        venv = _make_gymnasium(config, n_envs, seed, backend, sb3_kwargs)
    elif backend == "auto":
        venv = _make_auto(config, n_envs, seed, verbose)
    elif backend == "envpool":
        venv = _make_envpool(config, n_envs, seed)
    elif backend == "gymnasium":
        venv = _make_vector(config, n_envs, seed, verbose)
    else:
        venv = _make_gymnasium(config, n_envs, seed, backend, {})
    if isinstance(config.id, str):
        vars(venv.unwrapped)[CONFIG] = _whole(config, sb3_kwargs)
    return normalized(config.stack(venv), normalize)


def _whole_number(name: str, value: object, least: int) -> int:
    """Return an argument as an int, where Gymnasium takes none of NumPy's whole numbers."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def config_of(venv: VecEnv) -> EnvConfig | None:
    """Return what :func:`make_vec_env` has made an environment from, however it is wrapped.

    :param venv: Vector environment
    :return: Description; None for one of others, or of a function
    """
    config: EnvConfig | None = vars(venv.unwrapped).get(CONFIG)
    return config


def _whole(config: EnvConfig, sb3_kwargs: Mapping[str, Any]) -> EnvConfig:
    """Add the wrapper that was given as SB3's function takes it."""
    wrapper = sb3_kwargs.get("wrapper_class")
    if wrapper is None:
        return config
    kwargs = sb3_kwargs.get("wrapper_kwargs") or {}
    return replace(config, wrappers=(partial(wrapper, **kwargs) if kwargs else wrapper,))


def normalized(venv: VecEnv, normalize: bool | dict[str, Any]) -> VecEnv:
    """Wrap environments in SB3's ``VecNormalize``, as far as :func:`normalization_of` allows.

    :param venv: Environments
    :param normalize: Whether to wrap them, or a dict of the wrapper's keyword arguments
    :return: The environments, wrapped or not
    :raises ValueError: ``normalize`` is neither
    """
    if normalize is False:
        return venv
    # VecNormalize writes into it, and it may be an attribute of the environments' class.
    venv.observation_space = copy.deepcopy(venv.observation_space)
    if isinstance(normalize, dict):
        return VecNormalize(venv, **normalize)
    if normalize is not True:
        takes = "True, False or a dict of VecNormalize's arguments"
        raise ValueError(f"normalize must be {takes}, got {normalize!r}")
    return VecNormalize(venv, **normalization_of(venv.observation_space))


def normalization_of(space: Space[Any]) -> dict[str, Any]:
    """Return the arguments with which SB3's ``VecNormalize`` takes an observation space.

    :param space: Observation space
    :return: Nothing for a Box or a Dict of them; the keys of the parts of a Dict that are a Box
        and no image, which SB3's networks scale themselves; for any other space, that rewards alone
        are normalized
    """
    images = isinstance(space, Dict)
    parts = space.spaces if isinstance(space, Dict) else {"": space}
    boxes = [
        key
        for key, part in parts.items()
        if isinstance(part, Box) and not (images and is_image_space(part))
    ]
    if not boxes:
        return {"norm_obs": False}
    return {} if len(boxes) == len(parts) else {"norm_obs_keys": boxes}


def backend_of(venv: VecEnv) -> str:
    """Return the backend of a vector environment, however it is wrapped.

    :param venv: Vector environment
    :return: ``"envpool"``, ``"dummy"``, ``"subproc"`` or ``"gymnasium"``
    :raises ValueError: If its class is another
    """
    for name, cls in _CLASSES.items():
        if isinstance(venv.unwrapped, cls):
            return name
    raise ValueError(f"{type(venv.unwrapped).__name__} is not one of make_vec_env's backends")


def _check_sb3_kwargs(given: dict[str, Any], backend: str, config: EnvConfig) -> None:
    for name in given.keys() - _SB3_KWARGS:
        raise TypeError(
            f"make_vec_env has no argument {name!r}; of SB3's it takes "
            f"{', '.join(sorted(_SB3_KWARGS))}"
        )
    if backend in ("envpool", "gymnasium"):
        raise TypeError(
            f"backend {backend!r} has no support for {', '.join(sorted(given))}; "
            "allowed with these: backend 'auto', 'dummy' or 'subproc'"
        )
    if backend != "auto" and given.get("vec_env_cls") is not None:
        raise TypeError(f"vec_env_cls and backend {backend!r} both choose the class: give one")
    if given.get("wrapper_kwargs") and given.get("wrapper_class") is None:
        raise TypeError("wrapper_kwargs are of a wrapper_class, which is missing")
    if config.wrappers and given.get("wrapper_class") is not None:
        raise TypeError("wrappers and SB3's wrapper_class exclude each other: put it last in them")


def _make_auto(config: EnvConfig, n_envs: int, seed: int | None, verbose: int) -> VecEnv:
    """Make the environments with EnvPool if it can replace Gymnasium, and print the choice."""
    pool = _try_envpool(config, n_envs, seed)
    if isinstance(pool, str):
        try:
            venv, reason = _make_gymnasium(config, n_envs, seed, "dummy", {}), pool
        except gymnasium.error.UnregisteredEnv as error:
            is_plain = isinstance(error, gymnasium.error.NameNotFound) and ":" not in str(config.id)
            own = f" One of your own names its module: my_module:{config.id}." * is_plain
            raise UnsupportedEnvError(f"{error}{own} And of EnvPool: {pool}") from error
    else:
        venv, unknown = pool, pool.get_attr("spec")[0] is None
        reason = "EnvPool has it" + (", Gymnasium cannot make it here" if unknown else "")
    if verbose >= 1:
        print(f"make_vec_env: {config.name} on backend {backend_of(venv)!r} ({reason})")
    return venv


def _try_envpool(config: EnvConfig, n_envs: int, seed: int | None) -> EnvPoolVecEnv | str:
    """Make the environments with EnvPool, or return why it cannot replace Gymnasium."""
    if config.id in _KNOWN_DIFFERENCES:
        return _KNOWN_DIFFERENCES[str(config.id)]
    try:
        return _make_envpool(config, n_envs, seed)
    except (ImportError, UnsupportedEnvError) as error:
        return str(error)


def why_not_envpool(config: EnvConfig) -> str | None:
    """Return why backend ``"auto"`` steps an environment by Gymnasium.

    :param config: Environment
    :return: Reason, or None if it takes EnvPool
    """
    pool = _try_envpool(config, 1, 0)
    if isinstance(pool, str):
        return pool
    pool.close()
    return None


def _make_envpool(config: EnvConfig, n_envs: int, seed: int | None) -> EnvPoolVecEnv:
    if not isinstance(config.id, str):
        raise UnsupportedEnvError("EnvPool requires an environment id, not a callable")
    if config.wrappers:
        raise UnsupportedEnvError(
            "EnvPool's environments are no Python objects, which wrappers could be put around"
        )
    return EnvPoolVecEnv(config.id, n_envs, seed, **config.arguments)


def _make_vector(config: EnvConfig, n_envs: int, seed: int | None, verbose: int) -> GymnasiumVecEnv:
    """Make Gymnasium's vector environment, and print which one where there is a choice."""
    if not hasattr(gymnasium.vector, "AutoresetMode"):
        raise ImportError(
            f"backend 'gymnasium' needs Gymnasium 1.1 or newer, not {gymnasium.__version__}: "
            'use backend="dummy"'
        )
    make: Any = partial(config.make, Monitor, drawable=True)
    venv = None
    if isinstance(config.id, str) and n_envs > 1 and not config.wrappers:
        make().close()  # imports the module of the id, and tells mistakes as other backends do
        if gymnasium.spec(config.id.rpartition(":")[2]).vector_entry_point is not None:
            try:
                venv = GymnasiumVecEnv(
                    gymnasium.make_vec(config.id, n_envs, "vector_entry_point", **config.arguments)
                )
            except UnsupportedVectorEnvError as error:
                if verbose >= 1:
                    print(f"make_vec_env: {config.name} in a SyncVectorEnv ({error})")
    if venv is None:
        same_step = gymnasium.vector.AutoresetMode.SAME_STEP
        vector = gymnasium.vector.SyncVectorEnv([make] * n_envs, autoreset_mode=same_step)
        venv = GymnasiumVecEnv(vector)
    venv.seed(seed)
    return venv


def _make_gymnasium(
    config: EnvConfig,
    n_envs: int,
    seed: int | None,
    backend: str,
    sb3_kwargs: dict[str, Any],
) -> VecEnv:
    if sb3_kwargs.get("wrapper_class") is None:
        sb3_kwargs = {**sb3_kwargs, "wrapper_class": config.wrap}
    if backend == "subproc":
        sb3_kwargs = {**sb3_kwargs, "vec_env_cls": SubprocVecEnv}
    if sb3_kwargs.get("vec_env_cls") is SubprocVecEnv:
        config.make().close()  # whose mistakes a process could not tell
    # Monitor comes between the environment and the wrappers.
    make = partial(config.make_bare, drawable=True)
    make_there: Any = partial(_leaving_interrupts, os.getpid(), make)
    return env_util.make_vec_env(make_there, n_envs=n_envs, seed=seed, **sb3_kwargs)


def _leaving_interrupts(
    parent: int, make: Callable[..., gymnasium.Env[Any, Any]], **kwargs: Any
) -> gymnasium.Env[Any, Any]:
    """Make an environment, and leave Ctrl-C to the parent in a process of its own.

    A terminal sends it to all of them. The process would end at once, and the batch that it belongs
    to could not be finished; it ends where the pipe to its parent does.

    :param parent: Process whose batch it is
    :param make: Function that makes the environment
    :param kwargs: Its keyword arguments
    :return: Environment
    """
    if os.getpid() != parent:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return make(**kwargs)
