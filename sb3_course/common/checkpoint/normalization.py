"""The statistics of ``VecNormalize`` in a checkpoint."""

import copy
import math
import warnings
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import numpy as np
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
    unwrap_vec_normalize,
)

from sb3_course.common.checkpoint.archive import CheckpointError

Normalize: TypeAlias = Literal["train", "freeze"]

STATISTICS = "vec_normalize.npz"
# VecNormalize's settings; SB3 takes any value, so a file has them as one of these.
FLAGS, NUMBERS = ("norm_obs", "norm_reward"), ("clip_obs", "clip_reward", "gamma", "epsilon")
SETTINGS = (*FLAGS, *NUMBERS, "norm_obs_keys")
MOMENTS = ("mean", "var", "count")
_THAWED = "_norm_reward_when_not_frozen"
"""Attribute of a frozen ``VecNormalize``: what a file of the model has, so that it trains on, for
as long as the model does not learn and nobody changes the wrapper."""


def normalization(venv: VecNormalize) -> dict[str, Any]:
    """Return what :func:`wrap_normalized` needs to make an equal ``VecNormalize``.

    :param venv: Wrapper to describe
    :return: Its settings under ``vec_normalize``, its running moments under ``statistics``, and the
        name of a class of one's own under ``vec_normalize_class``
    """
    moments = {
        f"{name}/{moment}": np.array(getattr(rms, moment))
        for name, rms in _running_moments(venv).items()
        for moment in MOMENTS
    }
    keys = venv.norm_obs_keys
    frozen = {} if venv.training or venv.norm_reward else vars(venv)
    settings = {
        **{name: bool(getattr(venv, name)) for name in FLAGS},
        **{name: float(getattr(venv, name)) for name in NUMBERS},
        "norm_reward": bool(frozen.get(_THAWED, venv.norm_reward)),
        "norm_obs_keys": None if keys is None else list(keys),
    }
    own = {} if type(venv) is VecNormalize else {"vec_normalize_class": type(venv).__name__}
    return {"vec_normalize": settings, "statistics": moments, **own}


def normalization_in(header: dict[str, Any]) -> dict[str, Any] | None:
    """Return the part of a checkpoint's header that describes its ``VecNormalize``.

    :param header: Header of the checkpoint, with its statistics
    :return: What :func:`wrap_normalized` needs, or None if it had no ``VecNormalize``
    """
    if "vec_normalize" not in header:
        return None
    names = ("vec_normalize", "statistics", "above_vec_normalize", "vec_normalize_class")
    return {name: header[name] for name in names if name in header}


def normalize_as_saved(env: GymEnv, header: dict[str, Any], normalize: Normalize) -> GymEnv:
    """Give an environment the normalization that a checkpoint was trained with, or look for none.

    A model that was trained on raw observations plays on no others. It may go on training on
    normalized ones, as BC with its demonstrations, which is told.

    :param env: Environment, raw or vectorized
    :param header: Header of the checkpoint, with its statistics; empty for one of another library
    :param normalize: As for :func:`wrap_normalized`
    :return: Environment, wrapped where the checkpoint has a normalization
    :raises ValueError: If the checkpoint has none and the environment normalizes observations for
        ``"freeze"``, or as :func:`wrap_normalized`
    :raises CheckpointError: As :func:`wrap_normalized`
    """
    if "vec_normalize" in header:
        return wrap_normalized(env, header, normalize)
    if header and normalizes_obs(env):
        raw = "the model was trained on raw observations"
        if normalize == "freeze":
            raise ValueError(
                f"{raw}: pass the environment without VecNormalize, or with "
                "VecNormalize(norm_obs=False)"
            )
        warnings.warn(f"{raw}, and the environment normalizes them", stacklevel=3)
    if normalize == "freeze":
        _freeze(env)
    return env


def normalizes_obs(env: GymEnv) -> bool:
    """Return whether a ``VecNormalize`` changes the observations of an environment.

    :param env: Environment, raw or vectorized
    :return: Whether one does, at any depth
    """
    return any(one.norm_obs and one.norm_obs_keys != [] for one in _normalizers(env))


def wrap_normalized(env: GymEnv, header: dict[str, Any], normalize: Normalize) -> VecEnv:
    """Wrap an environment in the normalization that a checkpoint was trained with.

    A ``VecNormalize`` that the environment already has, however deep, keeps all of its settings
    and takes the checkpoint's statistics alone.

    :param env: Environment, raw or vectorized
    :param header: Header of the checkpoint, with its statistics
    :param normalize: ``"train"`` to continue updating the statistics (a ``VecNormalize`` in the
        environment decides for itself), ``"freeze"`` to keep them and return raw rewards
    :return: Environment with normalization
    :raises ValueError: If a ``VecNormalize`` in it differs in whether it normalizes observations,
        or if there is none and the checkpoint's was below another wrapper or of another class
    :raises CheckpointError: If settings or statistics are missing, not finite or of another shape
    """
    if not isinstance(env, VecEnv):
        single = env if is_wrapped(env, Monitor) else Monitor(env)
    venv = env if isinstance(env, VecEnv) else DummyVecEnv([lambda: single])
    settings, above = _settings(header), header.get("above_vec_normalize", [])
    wrapper = unwrap_vec_normalize(venv)
    if wrapper is None and above:
        order = "(".join([*above, "VecNormalize(env)"]) + ")" * len(above)
        raise ValueError(
            f"the model was trained with VecNormalize below {', '.join(above)}: pass the "
            f"environment with a VecNormalize there, as in {order}, which takes the statistics"
        )
    own = header.get("vec_normalize_class")
    if wrapper is None and own is not None:
        raise ValueError(
            f"the model was trained with {own}, a VecNormalize of one's own: pass the environment "
            f"as {own}(env), which takes the statistics"
        )
    if wrapper is None:
        # VecNormalize writes into it, and it may be an attribute of the environments' class.
        venv.observation_space = copy.deepcopy(venv.observation_space)
        wrapper = venv = VecNormalize(venv, **settings)
    elif bool(wrapper.norm_obs) != settings["norm_obs"]:
        raise ValueError(
            f"the model was trained with VecNormalize(norm_obs={settings['norm_obs']}), the "
            f"environment has norm_obs={wrapper.norm_obs}: pass it without VecNormalize"
        )
    _set_statistics(_running_moments(wrapper), header.get("statistics", {}))
    if normalize == "freeze":
        _freeze(venv)
    return venv


def _normalizers(env: GymEnv) -> Iterator[VecNormalize]:
    """Yield each ``VecNormalize`` of an environment, the outermost first."""
    while isinstance(env, VecEnv) and (wrapper := unwrap_vec_normalize(env)) is not None:
        yield wrapper
        env = wrapper.venv


def _freeze(env: GymEnv) -> None:
    """Keep the statistics, and leave rewards raw."""
    for wrapper in _normalizers(env):
        setattr(wrapper, _THAWED, vars(wrapper).get(_THAWED, wrapper.norm_reward))
        wrapper.training = wrapper.norm_reward = False


def keep_frozen(env: VecEnv) -> None:
    """Make a frozen ``VecNormalize`` what a model learns with, and so what its file has.

    :param env: Environment of a model that begins to learn
    """
    for wrapper in _normalizers(env):
        vars(wrapper).pop(_THAWED, None)


def _settings(header: dict[str, Any]) -> dict[str, Any]:
    settings, above = header["vec_normalize"], header.get("above_vec_normalize", [])
    if not isinstance(settings, dict) or set(settings) != set(SETTINGS) or not _are_names(above):
        raise CheckpointError("the settings of VecNormalize in the checkpoint are malformed")
    keys = settings["norm_obs_keys"]
    wrong = [name for name in FLAGS if not isinstance(settings[name], bool)]
    wrong += [name for name in NUMBERS if not _is_number(settings[name])]
    wrong += [] if keys is None or _are_names(keys) else ["norm_obs_keys"]
    if wrong:
        found = settings[wrong[0]]
        raise CheckpointError(f"VecNormalize's {wrong[0]} in the checkpoint is {found!r}")
    return settings


def _is_number(value: Any) -> bool:
    """Return whether a value is a number, which may be infinite: no limit."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return real and not math.isnan(value)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _set_statistics(running: dict[str, RunningMeanStd], statistics: dict[str, Any]) -> None:
    """Set running moments, once all of the checkpoint's have been checked."""
    for name, rms in running.items():
        for moment in MOMENTS:
            key, shape = f"{name}/{moment}", np.shape(getattr(rms, moment))
            value = statistics.get(key)
            if value is None or value.shape != shape or value.dtype.kind not in "fiu":
                given = "missing" if value is None else f"{value.dtype} of shape {value.shape}"
                raise CheckpointError(
                    "Observation spaces do not match, or the file is damaged: statistics of "
                    f"VecNormalize: {key} is {given}, not numbers of shape {shape}"
                )
            least = -np.inf if moment == "mean" else 0.0
            if not (np.isfinite(value).all() and (value >= least).all()):
                raise CheckpointError(
                    f"statistics of VecNormalize: {key} holds {value.min()}, where "
                    f"{'finite' if moment == 'mean' else 'finite, non-negative'} numbers belong"
                )
    for name, rms in running.items():
        for moment in MOMENTS:
            setattr(rms, moment, statistics[f"{name}/{moment}"])


def wrappers_above(env: VecEnv | None, venv: VecNormalize | None) -> list[str]:
    """Return the names of the wrappers above a ``VecNormalize`` that change what a policy sees.

    :param env: Outermost environment
    :param venv: The ``VecNormalize``; None for all wrappers
    :return: Names of classes, the outermost first
    """
    names = []
    while isinstance(env, VecEnvWrapper) and env is not venv:
        if not isinstance(env, (VecTransposeImage, VecMonitor, VecCheckNan, VecVideoRecorder)):
            names.append(type(env).__name__)
        env = env.venv
    return names


def _running_moments(venv: VecNormalize) -> dict[str, RunningMeanStd]:
    moments = {"ret": venv.ret_rms}
    if venv.norm_obs:
        if isinstance(venv.obs_rms, dict):
            moments |= {f"obs:{key}": rms for key, rms in venv.obs_rms.items()}
        else:
            moments["obs"] = venv.obs_rms
    return moments
