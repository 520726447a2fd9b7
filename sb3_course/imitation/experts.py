"""Experts from files and models, as functions from observations to actions."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch as th
from gymnasium import spaces
from imitation.data.types import DictObs, TrajectoryWithRew
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sb3_course import collection
from sb3_course.collection.images import AddedTranspose
from sb3_course.collection.observations import Array, Obs, join, map_obs, rows_of, select, stack_obs
from sb3_course.common.checkpoint import CheckpointError, NeedsPickleError, existing, read_header
from sb3_course.common.errors import UserError, check_whole
from sb3_course.common.evaluation import takes_masks, unnormalized
from sb3_course.common.validation import check_spaces
from sb3_course.imitation.cs285 import SUFFIXES, load_cs285_expert
from sb3_course.imitation.fitting import fit_actions
from sb3_course.loading import load_to_predict, normalization_to_predict
from sb3_course.opening import check_weights, find_class

Expert: TypeAlias = Callable[[Any], Array]
"""Function from M raw observations, of shape (M, …) or a dict of such arrays, to M actions."""

CHUNK = 16_384
"""Maximum number of observations in one call of an expert."""


def as_expert(
    expert: Any,
    vec_normalize: VecNormalize | None = None,
    action_space: spaces.Space[Any] | None = None,
    observation_space: spaces.Space[Any] | None = None,
) -> Expert:
    """Make a function from raw observations to actions of a model, a policy or a file.

    Models act deterministically. The action of a Gaussian policy is its mean, not clipped to the
    environment's bounds: the unclipped mean is easier to learn.

    :param expert: Model or policy of SB3 or sb3-contrib, callable from M observations to M
        actions, or path of a file for :func:`load_expert`
    :param vec_normalize: Normalization that a model was trained with, or None for that of the
        model's environment, if it has one; its present statistics are kept, so that the model may
        not be trained any more
    :param action_space: Action space that a model's own has to equal; None for no check
    :param observation_space: Observation space whose shape a model's own has to have; None for no
        check
    :return: Function from M raw observations to M actions
    :raises UserError: If the expert is of another kind, or made for other spaces
    """
    if isinstance(expert, (str, Path)):
        expert = load_expert(expert)
    if isinstance(expert, BaseAlgorithm) and vec_normalize is None:
        try:
            vec_normalize = normalization_to_predict(expert)
        except CheckpointError as error:
            raise UserError(f"the expert does not see raw observations: {error}") from error
    if isinstance(expert, (BaseAlgorithm, BasePolicy)):
        policy = expert.policy if isinstance(expert, BaseAlgorithm) else expert
        _check_policy(policy)
        check_spaces("expert does", policy, observation_space, action_space)
        normalizer = copy.copy(vec_normalize)  # as it is now, whatever its environments do
        if normalizer is not None and hasattr(normalizer, "obs_rms"):
            normalizer.obs_rms = copy.deepcopy(normalizer.obs_rms)
        return _PolicyExpert(policy, normalizer)
    if callable(expert):
        check_spaces("expert does", expert, observation_space, action_space)
        size = getattr(expert, "action_size", None)
        if action_space is not None and size not in (None, math.prod(action_space.shape or ())):
            raise UserError(
                f"the expert does not fit: its actions are {size} numbers, the environment's are "
                f"in {action_space}"
            )
        rows = isinstance(observation_space, spaces.Box) and len(observation_space.shape) == 1
        if observation_space is not None and hasattr(expert, "observation_size") and not rows:
            raise UserError(
                f"the expert does not fit: it takes {expert.observation_size} numbers, "
                f"observations of the environment are in {observation_space}"
            )
        given: Expert = expert
        return given
    raise UserError(
        f"a {type(expert).__name__} is not an expert; allowed: a model of SB3, a file, or a "
        "callable from observations to actions"
    )


class _PolicyExpert:
    """Function from M raw observations to a policy's M actions, which can be pickled.

    :param policy: Policy
    :param normalizer: Normalization of its observations; None for none
    """

    def __init__(self, policy: BasePolicy, normalizer: VecNormalize | None) -> None:
        self._policy, self._normalizer = policy, normalizer
        self._weights = None if normalizer is None else _weights(policy)
        self.action_space, self.observation_space = policy.action_space, policy.observation_space

    def __getstate__(self) -> dict[str, Any]:
        """Return the state, with what is left of a normalization that has no environments."""
        kept = self._normalizer
        return vars(self) | {"_normalizer": None if kept is None else (type(kept), vars(kept))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state; SB3's own normalization can be pickled once alone."""
        vars(self).update(state)
        if state["_normalizer"] is not None:
            cls, content = state["_normalizer"]
            self._normalizer = cls.__new__(cls)
            vars(self._normalizer).update(content)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_PolicyExpert":
        """Be one object in all copies, as functions are."""
        return self

    def __call__(self, obs: Obs) -> Array:
        """Return the actions.

        :param obs: Raw observations, of shape (M, …), or a dict of such arrays
        :return: Actions, of shape (M, …)
        :raises UserError: The policy has been trained since, which its statistics do not know
        """
        given, now = self._weights, self._policy.parameters()
        if given is not None and not all(map(th.equal, given, now)):
            raise UserError(
                "the expert has been trained since it was given, and its normalization is that of "
                "then: give it once it is trained, as in model.expert = as_expert(expert)"
            )
        seen: Any = obs if self._normalizer is None else self._normalizer.normalize_obs(obs)
        choose = _mode if isinstance(self._policy, ActorCriticPolicy) else _predict
        return choose(self._policy, seen)


def _weights(policy: BasePolicy) -> list[th.Tensor]:
    """Return a copy of a policy's parameters, which may be written to in any way."""
    return [parameter.detach().clone() for parameter in policy.parameters()]


def seeing_as_given(expert: Expert, env: VecEnv | None) -> Expert:
    """Return an expert that sees images as the user's environments return them.

    A model moves the channels of images to the front, for its networks; a function was written for
    the environment. One whose ``observation_space`` is the model's, channels first, sees them so.

    :param expert: Function from M raw observations to M actions
    :param env: Environments of the model that asks the expert
    :return: Function from M observations of these environments to M actions
    """
    own = getattr(expert, "observation_space", None)
    if not isinstance(env, AddedTranspose) or own == env.observation_space:
        return expert
    return lambda obs: expert(env.as_given(obs))


def _predict(policy: Any, obs: Obs) -> Array:
    return np.asarray(policy.predict(obs, deterministic=True)[0])


def _check_policy(policy: BasePolicy) -> None:
    """Refuse a policy whose actions are no function of the observation."""
    if hasattr(policy, "lstm_actor"):
        raise UserError(
            "a recurrent policy cannot be the expert: its actions depend on past observations"
        )
    if takes_masks(policy):
        raise UserError(
            "a policy with action masks cannot be the expert: its actions depend on the masks"
        )


def _mode(policy: Any, obs: Obs) -> Array:
    """Return the actions that ``predict`` returns, before they are clipped."""
    if policy.squash_output:
        return _predict(policy, obs)
    policy.set_training_mode(False)
    with th.no_grad():
        tensor, _ = policy.obs_to_tensor(obs)
        actions = policy.get_distribution(tensor).get_actions(deterministic=True)
    return np.asarray(actions.cpu())


def load_expert(path: str | Path, algo: str | None = None, weights_only: bool = False) -> Expert:
    """Load an expert from a file.

    ================================  ==========================================================
    file                              content
    ================================  ==========================================================
    ``.zip`` that this package wrote  model of any library, with the normalization statistics in
                                      the file
    ``.zip`` of SB3 or sb3-contrib    model of the class ``algo``, such as ``"PPO"``; for one that
                                      was trained with ``VecNormalize``, load both yourself and
                                      use :func:`as_expert`
    ``.pkl``                          expert of CS285's homework
    ================================  ==========================================================

    SB3's zip files contain pickles, which SB3 executes: load only files from people you trust. The
    homework's files are read without executing anything.

    :param path: File of the expert
    :param algo: Class of a model that SB3 saved, whose file does not name it
    :param weights_only: Whether to read no pickle, as for a file that you do not trust
    :return: Function from M raw observations to M actions
    :raises UserError: If there is no such file, it holds no expert, or its weights are not finite
    :raises NeedsPickleError: ``weights_only``, and only a pickle holds what is needed
    """
    path = existing(path)
    if not path.exists():
        raise UserError(
            f"{path} does not exist; allowed: a .zip that `sb3-course train` saved, or a .pkl of "
            "CS285's homework"
        )
    if path.suffix in SUFFIXES:
        return load_cs285_expert(path)
    try:
        header = read_header(path)
        if algo is None and "class" not in header:
            raise UserError(
                f"{path} does not name its class: pass load_expert({path.name!r}, algo='PPO'), or "
                "whichever it is"
            )
        algorithm = find_class(path, header, algo, trusted=not weights_only)
        model = load_to_predict(algorithm, path, trusted=not weights_only)
    except NeedsPickleError:
        raise
    except CheckpointError as error:
        raise UserError(str(error)) from error
    check_weights(path, model)
    return as_expert(model)


def label(expert: Expert, obs: Obs, action_space: spaces.Space[Any]) -> Array:
    """Query the expert for its actions.

    :param expert: Function from M raw observations to M actions
    :param obs: Observations, of shape (M, …), or a dict of such arrays
    :param action_space: Action space of the environment
    :return: Actions as a policy is trained on them, as returned by
        :func:`~sb3_course.imitation.fitting.fit_actions`
    :raises UserError: If the expert fails, or does not return M finite actions of the space
    """
    n = rows_of(obs)
    try:
        # a copy each: an expert that scales its argument in place changes no data
        chunks = (map_obs(np.copy, select(obs, slice(i, i + CHUNK))) for i in range(0, n, CHUNK))
        answers: list[Any] = [expert(chunk) for chunk in chunks]
        if isinstance(answers[0], tuple) and len(answers[0]) == 2 and answers[0][1] is None:
            raise TypeError(
                "it returned (actions, None), as predict() does: pass the model itself, or "
                "lambda obs: model.predict(obs)[0]"
            )
        parts = [np.asarray(answer) for answer in answers]
    except Exception as error:  # of the user's own function
        shape = map_obs(np.shape, obs)
        raise UserError(
            f"the expert cannot act on observations of shape {shape}: {error}"
        ) from error
    for part, start in zip(parts, range(0, n, CHUNK), strict=True):
        queried = min(CHUNK, n - start)
        if part.ndim == 0 or len(part) != queried:
            raise UserError(
                f"the expert was called with {queried} observations and returned an array of "
                f"shape {part.shape}: it must take a batch and return one action for each"
            )
    try:
        return fit_actions(np.concatenate(parts), action_space)
    except UserError as error:
        raise UserError(f"the expert does not fit the environment: {error}") from error


def demonstrate(
    expert: Any, env: VecEnv, n_episodes: int = 2, seed: int | None = None
) -> list[TrajectoryWithRew]:
    """Play episodes with an expert, and record them.

    The recorded actions have the action space's shape, and are not clipped to its bounds, as the
    environment's are: the expert's mean is easier to learn.

    Episodes count in the order in which they start, so that short ones are not over-represented.

    :param expert: Expert of any kind that :func:`as_expert` takes
    :param env: Environments; a ``VecNormalize`` passes raw observations and rewards meanwhile
    :param n_episodes: Number of episodes
    :param seed: Seed of the first environment, or None to leave the seeds unchanged
    :return: One trajectory of ``imitation`` per episode, with raw rewards
    :raises ValueError: ``env`` is not vectorized, or ``n_episodes`` is less than 1
    """
    if not isinstance(env, VecEnv):
        raise UserError(f"env must be a VecEnv, as make_vec_env returns, got {env!r}")
    check_whole("n_episodes", n_episodes)
    act = as_expert(expert, None, env.action_space, env.observation_space)
    act = seeing_as_given(act, env)
    if seed is not None:
        env.seed(seed)
    space = env.action_space

    def choose(obs: Obs) -> tuple[Array, Array]:
        actions = label(act, obs, space)
        if not isinstance(space, spaces.Box):
            return actions, actions.copy()  # an environment may write into its own
        actions = actions.reshape(-1, *space.shape)
        return actions, np.clip(actions, space.low, space.high)

    schedule = collection.WholeEpisodes(env.num_envs, n_episodes=n_episodes)
    with unnormalized(env):
        first_obs: Any = env.reset()
        collected = collection.collect(env, first_obs, choose, schedule, lambda _: True)
    assert collected is not None, "no callback stops it"
    return _trajectories(collected[0])


def _trajectories(rollout: collection.Rollout) -> list[TrajectoryWithRew]:
    trajectories = []
    counted = np.nonzero(rollout.mask)
    numbers = rollout.trajectory[counted]
    order = np.argsort(numbers, kind="stable")
    for part in np.split(order, np.cumsum(np.bincount(numbers))[:-1]):
        steps, n = counted[0][part], counted[1][part[0]]
        end = int(steps[-1]), int(n)
        if end not in rollout.terminal_obs:
            raise KeyError(
                f"infos[{n}] has no 'terminal_observation' of finite numbers, which a "
                "demonstration ends with"
            )
        last = stack_obs([rollout.terminal_obs[end]])
        obs = join([select(rollout.obs, (steps, n)), last])
        trajectories.append(
            TrajectoryWithRew(
                obs=DictObs(obs) if isinstance(obs, dict) else obs,
                acts=rollout.actions[steps, n],
                infos=None,
                terminal=True,
                rews=rollout.rewards[steps, n],
            )
        )
    return trajectories
