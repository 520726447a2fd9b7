"""Gymnasium's own environments, without noise in the user's terminal and folder."""

import ctypes
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from typing import Any

import gymnasium


def make_env(env_id: str, **settings: Any) -> gymnasium.Env[Any, Any]:
    r"""Make Gymnasium's own environment, without its warning about old versions.

    :param env_id: Gymnasium id, or ``module:id``
    :param \**settings: Keyword arguments of ``gymnasium.make`` and of the environment
    :return: Environment
    """
    with suppress(Exception):  # what is wrong with the id, gymnasium.make says
        _import_class(env_id)
    quiet_mujoco()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*out of date.*")
        return gymnasium.make(env_id, **settings)


def make_drawable_env(env_id: str, **settings: Any) -> gymnasium.Env[Any, Any]:
    r"""Make an environment that can render images where it knows how to, as SB3 does.

    :param env_id: Gymnasium id, or ``module:id``
    :param \**settings: Keyword arguments of ``gymnasium.make`` and of the environment
    :return: Environment
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not in the possible render_modes")
        try:
            return make_env(env_id, **{"render_mode": "rgb_array", **settings})
        except TypeError:
            return make_env(env_id, **settings)


def _import_class(env_id: str) -> None:
    module, _, plain = env_id.rpartition(":")
    if module:
        import_module(module)
    entry = gymnasium.spec(plain).entry_point
    if isinstance(entry, str):
        import_module(entry.partition(":")[0])


def layers_of(env: Any) -> list[Any]:
    """Return an environment's wrappers and the environment inside.

    :param env: Environment
    :return: Layers, the outermost first
    """
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    return layers


def quiet_mujoco() -> None:
    """Keep MuJoCo's warnings from the terminal, and from the file ``MUJOCO_LOG.TXT``.

    MuJoCo's own are Python warnings from then on, without the one that every model of Gymnasium
    causes when it is read. Those of EnvPool's MuJoCo are dropped, since its threads must not call
    Python; where a simulation diverges, training stops at an observation that is not finite.
    """
    mujoco = sys.modules.get("mujoco")
    if mujoco is not None and mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_warn)
    for name, module in list(sys.modules.items()):
        file = str(getattr(module, "__file__", ""))
        if name.startswith("envpool.mujoco.") and file.endswith(".so"):
            with suppress(ValueError, OSError):  # without this variable nothing can be set
                handler = ctypes.c_void_p.in_dll(ctypes.CDLL(file), "mju_user_warning")
                # A C function that takes a string and does nothing to it.
                handler.value = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p).value


def _warn(message: str) -> None:
    if "is deprecated" not in message:
        warnings.warn(f"MuJoCo: {message.strip()}", RuntimeWarning, stacklevel=2)
