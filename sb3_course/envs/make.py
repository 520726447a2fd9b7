"""One way to make a vector environment, whichever backend steps it."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
from stable_baselines3.common import env_util
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize

from sb3_course.envs._envpool_spec import UnsupportedEnvError
from sb3_course.envs.backends import Backend
from sb3_course.envs.envpool_vec_env import EnvPoolVecEnv

Env = gym.Env[Any, Any]

#: What EnvPool has under Gymnasium's id and in Gymnasium's spaces, but does otherwise.
_OTHERWISE = {
    "Pendulum-v1": "EnvPool moves the pendulum by its velocity before that is clipped",
    "HumanoidStandup-v4": "EnvPool observes zeros where Gymnasium observes contact forces",
}

_CLASSES: dict[str, type[VecEnv]] = {
    "envpool": EnvPoolVecEnv,
    "dummy": DummyVecEnv,
    "subproc": SubprocVecEnv,
}


def make_vec_env(
    env_id: str | Callable[..., Env],
    n_envs: int = 1,
    seed: int | None = None,
    backend: Backend = "auto",
    normalize: bool | dict[str, Any] = False,
    env_kwargs: dict[str, Any] | None = None,
    verbose: int = 1,
) -> VecEnv:
    """Make a vector environment that reports its episodes in ``infos[i]["episode"]``.

    Lengths and time limits count environment steps.

    =============  ===============================================================================
    ``backend``    what steps the environments
    =============  ===============================================================================
    ``"auto"``     EnvPool where it is installed and has Gymnasium's environment (the spaces agree,
                   and no difference in what it does is known), else ``"dummy"``; prints which and
                   why
    ``"envpool"``  :class:`EnvPoolVecEnv`: C++ threads, no rendering, no access to the environments
    ``"dummy"``    SB3's ``DummyVecEnv``: Gymnasium, one after the other in this process
    ``"subproc"``  SB3's ``SubprocVecEnv``: Gymnasium, one process each
    =============  ===============================================================================

    :param env_id: an id; or, not for ``"envpool"``, a callable that returns an environment
    :param n_envs: number of environments
    :param seed: seed of the first environment, the others follow by one; None for a random one.
        Equal seeds give equal trajectories within one backend, not between EnvPool and Gymnasium
    :param backend: see the table
    :param normalize: True wraps in SB3's ``VecNormalize``; a dict holds its keyword arguments
    :param env_kwargs: keyword arguments of the environment
    :param verbose: 0 silences ``"auto"``
    :return: the vector environment; :func:`backend_of` tells what steps it
    :raises ValueError: for an unknown backend, or less than one environment
    :raises ImportError: for ``"envpool"`` without EnvPool
    """
    if backend != "auto" and backend not in _CLASSES:
        raise ValueError(
            f"unknown backend {backend!r}: it must be one of {', '.join(('auto', *_CLASSES))}"
        )
    if n_envs < 1:
        raise ValueError(f"n_envs must be at least 1, got {n_envs}")
    kwargs = dict(env_kwargs or {})
    if backend == "auto":
        venv = _make_auto(env_id, n_envs, seed, kwargs, verbose)
    elif backend == "envpool":
        venv = _make_envpool(env_id, n_envs, seed, kwargs)
    else:
        venv = _make_gymnasium(env_id, n_envs, seed, kwargs, backend)
    if normalize is False:
        return venv
    return VecNormalize(venv, **({} if normalize is True else normalize))


def backend_of(venv: VecEnv) -> str:
    """Tell what steps a vector environment, however it is wrapped.

    :param venv: a vector environment
    :return: ``"envpool"``, ``"dummy"`` or ``"subproc"``
    :raises ValueError: for any other vector environment
    """
    for name, cls in _CLASSES.items():
        if isinstance(venv.unwrapped, cls):
            return name
    raise ValueError(f"{type(venv.unwrapped).__name__} is not one of make_vec_env's backends")


def _make_auto(
    env_id: str | Callable[..., Env],
    n_envs: int,
    seed: int | None,
    env_kwargs: dict[str, Any],
    verbose: int,
) -> VecEnv:
    """EnvPool if it can stand in for Gymnasium, else ``"dummy"``; one printed line says which."""
    venv: VecEnv
    try:
        if env_id in _OTHERWISE:
            raise UnsupportedEnvError(_OTHERWISE[str(env_id)])
        venv = _make_envpool(env_id, n_envs, seed, env_kwargs)
        unknown = venv.get_attr("spec")[0] is None
        reason = "EnvPool has it" + (", Gymnasium cannot make it here" if unknown else "")
    except (ImportError, UnsupportedEnvError) as error:
        venv = _make_gymnasium(env_id, n_envs, seed, env_kwargs, "dummy")
        reason = str(error)
    if verbose >= 1:
        name = env_id if isinstance(env_id, str) else getattr(env_id, "__name__", repr(env_id))
        print(f"make_vec_env: {name} on backend {backend_of(venv)!r} ({reason})")
    return venv


def _make_envpool(
    env_id: str | Callable[..., Env], n_envs: int, seed: int | None, env_kwargs: dict[str, Any]
) -> EnvPoolVecEnv:
    if not isinstance(env_id, str):
        raise UnsupportedEnvError("EnvPool takes an id, not a callable")
    return EnvPoolVecEnv(env_id, n_envs, seed, **env_kwargs)


def _make_gymnasium(
    env_id: str | Callable[..., Env],
    n_envs: int,
    seed: int | None,
    env_kwargs: dict[str, Any],
    backend: str,
) -> VecEnv:
    return env_util.make_vec_env(
        env_id,
        n_envs=n_envs,
        seed=seed,
        env_kwargs=env_kwargs,
        vec_env_cls=SubprocVecEnv if backend == "subproc" else DummyVecEnv,
    )
