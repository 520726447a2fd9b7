"""One function that makes vector environments of every backend."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
from stable_baselines3.common import env_util
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize

from sb3_course.envs._envpool_spec import UnsupportedEnvError
from sb3_course.envs.backends import Backend
from sb3_course.envs.envpool_vec_env import EnvPoolVecEnv
from sb3_course.envs.gymnasium_env import make_drawable_env

Env = gym.Env[Any, Any]

#: Environments that EnvPool has with Gymnasium's id and spaces, but with other dynamics.
_KNOWN_DIFFERENCES = {
    "Pendulum-v1": "EnvPool moves the pendulum by its velocity before that is clipped",
    "HumanoidStandup-v4": "EnvPool observes zeros where Gymnasium observes contact forces",
}

_CLASSES: dict[str, type[VecEnv]] = {
    "envpool": EnvPoolVecEnv,
    "dummy": DummyVecEnv,
    "subproc": SubprocVecEnv,
}


# Arguments that SB3's function has and ours passes on.
_SB3_KWARGS = inspect.signature(env_util.make_vec_env).parameters.keys() - {
    *("env_id", "n_envs", "seed", "env_kwargs")
}


def make_vec_env(
    env_id: str | Callable[..., Env],
    n_envs: int = 1,
    seed: int | None = None,
    backend: Backend = "auto",
    normalize: bool | dict[str, Any] = False,
    env_kwargs: dict[str, Any] | None = None,
    verbose: int = 1,
    **sb3_kwargs: Any,
) -> VecEnv:
    r"""Make a vector environment that reports its episodes in ``infos[i]["episode"]``.

    Lengths and time limits count environment steps.

    =============  ===============================================================================
    ``backend``    how the environments are stepped
    =============  ===============================================================================
    ``"auto"``     ``"envpool"`` if EnvPool is installed and has Gymnasium's environment (the spaces
                   agree, and no difference in dynamics is known), else ``"dummy"``; prints which
                   one and why
    ``"envpool"``  :class:`EnvPoolVecEnv`: C++ threads, no rendering, no access to the environments
    ``"dummy"``    SB3's ``DummyVecEnv``: Gymnasium, one after the other in this process
    ``"subproc"``  SB3's ``SubprocVecEnv``: Gymnasium, one process per environment
    =============  ===============================================================================

    :param env_id: Environment id or, except for ``"envpool"``, a callable that returns an
        environment
    :param n_envs: Number of environments
    :param seed: Seed of the first environment, from which the others count up; None draws one.
        Equal seeds lead to equal trajectories within one backend, but not between EnvPool and
        Gymnasium
    :param backend: Backend from the table
    :param normalize: Whether to wrap the environments in SB3's ``VecNormalize``, or a dict of its
        keyword arguments
    :param env_kwargs: Keyword arguments of the environment
    :param verbose: Verbosity; 0 silences ``"auto"``
    :param \**sb3_kwargs: Other keyword arguments of SB3's ``make_vec_env``, such as
        ``wrapper_class``, ``monitor_dir`` and ``vec_env_cls``, which Gymnasium's environments take:
        with them ``"auto"`` stands for ``vec_env_cls``, by default ``DummyVecEnv``
    :return: Vector environment, whose backend :func:`backend_of` names
    :raises TypeError: If SB3's function has no such argument, or the backend excludes it
    :raises ValueError: If the backend is unknown, or there is less than one environment
    :raises ImportError: If the backend is ``"envpool"`` and EnvPool is not installed
    """
    if backend != "auto" and backend not in _CLASSES:
        raise ValueError(
            f"unknown backend {backend!r}: it must be one of {', '.join(('auto', *_CLASSES))}"
        )
    if n_envs < 1:
        raise ValueError(f"n_envs must be at least 1, got {n_envs}")
    kwargs = dict(env_kwargs or {})
    if sb3_kwargs:
        _check_sb3_kwargs(sb3_kwargs, backend)
        venv = _make_gymnasium(env_id, n_envs, seed, kwargs, backend, sb3_kwargs)
    elif backend == "auto":
        venv = _make_auto(env_id, n_envs, seed, kwargs, verbose)
    elif backend == "envpool":
        venv = _make_envpool(env_id, n_envs, seed, kwargs)
    else:
        venv = _make_gymnasium(env_id, n_envs, seed, kwargs, backend, {})
    if normalize is False:
        return venv
    return VecNormalize(venv, **({} if normalize is True else normalize))


def backend_of(venv: VecEnv) -> str:
    """Return the backend of a vector environment, however it is wrapped.

    :param venv: Vector environment
    :return: ``"envpool"``, ``"dummy"`` or ``"subproc"``
    :raises ValueError: If its class is another
    """
    for name, cls in _CLASSES.items():
        if isinstance(venv.unwrapped, cls):
            return name
    raise ValueError(f"{type(venv.unwrapped).__name__} is not one of make_vec_env's backends")


def _check_sb3_kwargs(given: dict[str, Any], backend: str) -> None:
    for name in given.keys() - _SB3_KWARGS:
        raise TypeError(
            f"make_vec_env has no argument {name!r}; of SB3's it takes "
            f"{', '.join(sorted(_SB3_KWARGS))}"
        )
    if backend == "envpool":
        raise TypeError(
            f"backend 'envpool' has no Gymnasium environments for {', '.join(sorted(given))}; "
            "allowed: 'auto', 'dummy' and 'subproc'"
        )
    if backend != "auto" and given.get("vec_env_cls") is not None:
        raise TypeError(f"vec_env_cls and backend {backend!r} both choose the class: give one")


def _make_auto(
    env_id: str | Callable[..., Env],
    n_envs: int,
    seed: int | None,
    env_kwargs: dict[str, Any],
    verbose: int,
) -> VecEnv:
    """Make the environments with EnvPool if it can replace Gymnasium, and print the choice."""
    venv: VecEnv
    try:
        if env_id in _KNOWN_DIFFERENCES:
            raise UnsupportedEnvError(_KNOWN_DIFFERENCES[str(env_id)])
        venv = _make_envpool(env_id, n_envs, seed, env_kwargs)
        unknown = venv.get_attr("spec")[0] is None
        reason = "EnvPool has it" + (", Gymnasium cannot make it here" if unknown else "")
    except (ImportError, UnsupportedEnvError) as error:
        venv = _make_gymnasium(env_id, n_envs, seed, env_kwargs, "dummy", {})
        reason = str(error)
    if verbose >= 1:
        name = env_id if isinstance(env_id, str) else getattr(env_id, "__name__", repr(env_id))
        print(f"make_vec_env: {name} on backend {backend_of(venv)!r} ({reason})")
    return venv


def _make_envpool(
    env_id: str | Callable[..., Env], n_envs: int, seed: int | None, env_kwargs: dict[str, Any]
) -> EnvPoolVecEnv:
    if not isinstance(env_id, str):
        raise UnsupportedEnvError("EnvPool requires an environment id, not a callable")
    return EnvPoolVecEnv(env_id, n_envs, seed, **env_kwargs)


def _make_gymnasium(
    env_id: str | Callable[..., Env],
    n_envs: int,
    seed: int | None,
    env_kwargs: dict[str, Any],
    backend: str,
    sb3_kwargs: dict[str, Any],
) -> VecEnv:
    if backend == "subproc":
        sb3_kwargs = {**sb3_kwargs, "vec_env_cls": SubprocVecEnv}
    make = partial(make_drawable_env, env_id) if isinstance(env_id, str) else env_id
    return env_util.make_vec_env(
        make, n_envs=n_envs, seed=seed, env_kwargs=env_kwargs, **sb3_kwargs
    )
