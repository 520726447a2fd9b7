"""Raw observations under a ``VecNormalize``, and its statistics, which follow from them."""

import copy
from typing import Any, TypeAlias

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sb3_course.collection.observations import Obs, map_obs, owned
from sb3_course.common import checkpoint

Moments: TypeAlias = list[tuple[RunningMeanStd, RunningMeanStd]]
"""Running moments, each with those that it takes over."""


def check_outermost(env: VecEnv | None, venv: VecNormalize | None) -> None:
    """Refuse observations whose raw ones are not those that the policy sees.

    :param env: Environment of the model
    :param venv: Its ``VecNormalize``, or None
    :raises ValueError: It normalizes observations below a wrapper that changes them
    """
    above = [] if venv is None else checkpoint.wrappers_above(env, venv)
    if venv is not None and venv.norm_obs and above:
        raise ValueError(
            f"observations are normalized below {', '.join(above)}, so the policy's own are never "
            "raw, as demonstrations are: make VecNormalize the outermost wrapper, or pass "
            "norm_obs=False"
        )


def raw_obs(venv: VecNormalize | None, obs: Obs) -> Obs:
    """Return the observations before their normalization, which environments cannot change.

    :param venv: ``VecNormalize`` that they come from, or None
    :param obs: Observations that the policy sees
    :return: Raw observations of the same form
    """
    if venv is None or not venv.norm_obs:
        return map_obs(np.copy, obs)
    raw: Any = venv.get_original_obs()
    if not isinstance(obs, dict):
        return map_obs(owned, raw)
    normalized: Any = venv.obs_rms  # of the other keys, images may be transposed above it
    return {key: owned(raw[key] if key in normalized else obs[key].copy()) for key in obs}


def is_new(venv: VecNormalize | None) -> bool:
    """Return whether normalization has seen no observation yet.

    :param venv: A ``VecNormalize``, or None
    :return: Whether it normalizes observations, with the statistics that it began with
    """
    if venv is None or not venv.norm_obs:
        return False
    moments: Any = venv.obs_rms
    return all(
        one.count < 1 for one in (moments.values() if isinstance(moments, dict) else [moments])
    )


def updated_moments(venv: VecNormalize, obs: Obs) -> Moments:
    """Compute the statistics with raw observations, without changing those that are.

    :param venv: ``VecNormalize`` that normalizes observations
    :param obs: Raw observations
    :return: The running moments, each with what it becomes
    """
    of_key: Any = venv.obs_rms if isinstance(obs, dict) else {"": venv.obs_rms}
    moments = [(old, copy.deepcopy(old)) for old in of_key.values()]
    for key, (_, new) in zip(of_key, moments, strict=True):
        new.update(obs[key] if isinstance(obs, dict) else obs)
    return moments


def set_moments(moments: Moments) -> None:
    """Set running moments to what they become.

    :param moments: Moments, each with its new ones
    """
    for old, new in moments:
        old.mean, old.var, old.count = new.mean, new.var, new.count
