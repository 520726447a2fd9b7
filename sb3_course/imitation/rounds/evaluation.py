"""The evaluation after each round of DAgger."""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import WrapperSpec, load_env_creator
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from sb3_course.common.base_class import CourseAlgorithm
from sb3_course.common.checkpoint import wrappers_above
from sb3_course.common.checkpoint.description import spec_of
from sb3_course.common.errors import UserError
from sb3_course.common.evaluation import (
    evaluate,
    evaluation_envs,
    evaluation_seed,
    undisturbed,
    unnormalized,
)
from sb3_course.common.validation import check_spaces
from sb3_course.envs.config import EnvConfig

ONLOOKERS = (Monitor.class_name(), "RecordEpisodeStatistics", "RecordVideo", "HumanRendering")
"""Wrappers that only look on: those of an evaluation would write over the training's files."""
STATEFUL = ("NormalizeObservation",)
"""Wrappers of Gymnasium whose state decides what a policy sees; a new one begins without it."""


def evaluation_facts(model: CourseAlgorithm, envs: VecEnv | None, seed: int) -> dict[str, float]:
    """Measure a policy over one episode of every environment, without disturbing its training.

    :param model: Model in training
    :param envs: Environments to measure it in; None for no evaluation
    :param seed: Seed of the run
    :return: Mean, deviation, minimum and maximum of the returns, and the mean length, by log key
    """
    if envs is None:
        return {}
    with undisturbed(model), unnormalized(envs):  # they are normalized as the training's are
        returns, lengths = evaluate(model, envs, evaluation_seed(seed))
    return {
        "eval/mean_reward": float(returns.mean()),
        "eval/std_reward": float(returns.std()),
        "eval/min_reward": float(returns.min()),
        "eval/max_reward": float(returns.max()),
        "eval/mean_ep_length": float(lengths.mean()),
    }


@contextmanager
def evaluating(env: VecEnv | None, eval_env: GymEnv | None, n: int) -> Iterator[VecEnv | None]:
    """Provide the environments of the evaluations.

    :param env: Environments in training
    :param eval_env: The user's evaluation environments; None for new ones like ``env``
    :param n: Number of new environments, which are closed in the end; 0 for no evaluation
    :yield: The environments, or None for no evaluation
    :raises UserError: ``eval_env`` has other spaces, or the training's own ``VecNormalize``
    """
    assert env is not None
    if eval_env is not None:
        given = CourseAlgorithm._wrap_env(eval_env)
        check_spaces("evaluation environments do", given, env.observation_space, env.action_space)
        normalizer = unwrap_vec_normalize(given)
        if normalizer is not None and normalizer is unwrap_vec_normalize(env):
            raise UserError(
                "eval_env has the training's own VecNormalize; allowed: environments of their own, "
                "normalized or not"
            )
        yield given
        return
    envs = evaluation_envs_like(env, n) if n > 0 else None
    try:
        yield envs
    finally:
        if envs is not None:
            envs.close()


def evaluation_envs_like(env: VecEnv, n: int) -> VecEnv | None:
    """Make environments of Gymnasium's own like the first one of a vector environment.

    :param env: Environments in training
    :param n: Number of environments to make
    :return: The environments, or None, with a warning, where Gymnasium cannot make them again
    """
    lost: list[str] = []
    try:
        lost = _what_is_lost(env)
        if not lost:
            envs = CourseAlgorithm._wrap_env(evaluation_envs(_made_again(env), n))
            same = [envs.observation_space, envs.action_space]
            if same == [env.observation_space, env.action_space]:
                return envs
            envs.close()
    except (AttributeError, ValueError, gym.error.Error):
        pass  # it has no id, or a wrapper that Gymnasium cannot make again
    without = f" with {', '.join(lost)}" if lost else ""
    warnings.warn(
        f"DAgger cannot make its environment again{without} to evaluate the policy: pass eval_env, "
        "or n_eval_episodes=0 for no evaluation",
        stacklevel=5,
    )
    return None


def _wrappers_of(env: VecEnv) -> list[WrapperSpec]:
    """Return Gymnasium's descriptions of what changes the first environment around it."""
    spec = spec_of(env)
    around = () if spec is None else spec.additional_wrappers
    return [wrapper for wrapper in around if wrapper.name not in ONLOOKERS]


def _made_again(env: VecEnv) -> EnvConfig:
    """Return how to make the first environment again, wrappers apart: returns are those below."""
    spec: Any = copy.copy(spec_of(env))
    if spec is None:
        raise ValueError("it has no id")
    spec.additional_wrappers = ()
    if spec.kwargs.get("render_mode") == "human":  # with a window for each, in real time
        spec.kwargs = spec.kwargs | {"render_mode": None}
    return EnvConfig(spec, wrappers=tuple(map(_again, _wrappers_of(env))))


def _again(wrapper: WrapperSpec) -> Callable[..., gym.Env[Any, Any]]:
    if wrapper.kwargs is None:
        raise ValueError(f"{wrapper.name} does not record its arguments")
    creator: Any = load_env_creator(wrapper.entry_point)
    return partial(creator, **wrapper.kwargs)


def _what_is_lost(env: VecEnv) -> list[str]:
    """Return the wrappers that change what a policy sees, and cannot be made again as they are."""
    normalizer = unwrap_vec_normalize(env)
    names = wrappers_above(env, normalizer)
    if normalizer is not None:
        names += wrappers_above(normalizer.venv, None)
    return names + [wrapper.name for wrapper in _wrappers_of(env) if wrapper.name in STATEFUL]
