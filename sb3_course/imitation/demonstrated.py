"""What learns from demonstrations: the data set, its normalization, and its place in the file."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from sb3_course.collection.observations import Array, Obs, TensorObs
from sb3_course.common import checkpoint
from sb3_course.common.base_class import CourseAlgorithm
from sb3_course.imitation.dataset import Dataset
from sb3_course.imitation.demonstrations import Demonstrations, Source
from sb3_course.imitation.normalization import (
    Moments,
    check_outermost,
    is_new,
    set_moments,
    updated_moments,
)

DEMONSTRATIONS = "demonstrations.npz"


class Demonstrated(CourseAlgorithm):
    """An algorithm with a data set of demonstrations, which are raw.

    The statistics of a ``VecNormalize`` in training mode follow the data set, and nothing else.
    They are of all demonstrations that were ever set: for new ones alone, bring a new one.

    :ivar dataset: Demonstrations that have been read
    """

    dataset: Dataset
    _was_training = False  # whether the statistics, now frozen, were in training mode
    _source: Source | None = None  # of demonstrations that have not been read yet

    @property
    def _capacity(self) -> int | None:
        """Maximum number of transitions to keep; None for no limit."""
        return None

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Set the environment, as in :meth:`.CourseAlgorithm.set_env`.

        :param env: New environment, raw or vectorized
        :param force_reset: Whether to reset it before training, as in SB3
        :raises ValueError: It does not fit the model, or normalizes below another wrapper
        """
        if isinstance(env, VecEnv):
            check_outermost(env, unwrap_vec_normalize(env))
        super().set_env(env, force_reset)
        self._observe_unseen()

    def set_demonstrations(self, demonstrations: Demonstrations) -> None:
        """Replace the demonstrations; statistics of the former ones stay in a ``VecNormalize``.

        An iterable without a length, such as a generator, may be endless: ``learn`` reads what it
        uses, and DAgger's round 0. A copy or a file of the model holds what has been read.

        :param demonstrations: Demonstrations, as in the constructor
        :raises ValueError: They do not fit the environment's spaces, or are not finite
        """
        source = Source(demonstrations, self.observation_space, self.action_space)
        dataset = Dataset(self._capacity)
        source.fill(dataset, 1)
        self.dataset, self._source = dataset, source
        self._observe(dataset.obs)

    def _read_demonstrations(self, n: float) -> None:
        """Read on, if there is more, until there are n transitions."""
        obs = None if self._source is None else self._source.fill(self.dataset, n)
        if obs is not None:
            self._observe(obs)

    def _observe(self, obs: Obs) -> None:
        """Update the statistics of a ``VecNormalize`` in training mode with raw observations."""
        set_moments(self._moments(obs))

    def _observe_unseen(self) -> None:
        """Update the statistics of a ``VecNormalize`` that has seen nothing, with all of D."""
        if self.dataset.size > 0 and is_new(self._vec_normalize_env):
            self._observe(self.dataset.obs)

    def _moments(self, obs: Obs) -> Moments:
        """Return the statistics that raw observations change, each with what it becomes."""
        venv = self._vec_normalize_env
        if venv is None or not (venv.norm_obs and (venv.training or self._was_training)):
            return []
        return updated_moments(venv, obs)

    def _training_set(self) -> tuple[TensorObs, th.Tensor]:
        """Return all observations, normalized like the environment's, and all actions."""
        return self._normalized_obs(self.dataset.obs), self._samples(self.dataset.actions)

    def _normalized_obs(self, raw: Obs) -> TensorObs:
        venv = self._vec_normalize_env
        seen: TensorObs = self.to_tensor(raw if venv is None else venv.normalize_obs(raw))
        return seen

    def _samples(self, actions: Array) -> th.Tensor:
        """Return a Box's actions as π_θ samples them: in [-1, 1] if it squashes them, as in SB3."""
        space = self.action_space
        if isinstance(space, spaces.Box) and self.policy.squash_output:
            shaped = actions.reshape(-1, *space.shape)
            scaled = self.policy.scale_action(shaped).reshape(actions.shape)
            actions = np.clip(scaled, -1, 1)  # the expert may exceed what π_θ can do
        samples: th.Tensor = self.to_tensor(actions)
        return samples

    @contextmanager
    def _frozen_statistics(self) -> Iterator[None]:
        """Keep the steps of ``learn`` out of the normalization statistics."""
        venv = self._vec_normalize_env
        if venv is None:
            yield
            return
        self._was_training, venv.training = venv.training, False
        try:
            yield
        finally:
            self._was_training, venv.training = False, self._was_training

    def file_members(
        self, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None
    ) -> checkpoint.Members:
        """Return the content of the file, with the demonstrations as plain arrays.

        :param exclude: Names of attributes to leave out, as in SB3, and ``"dataset"``
        :param include: Names of attributes to keep although they are excluded by default
        :return: Content by name
        """
        exclude = set(exclude or ())  # an iterator can be read once
        members = super().file_members(exclude, include)
        if "dataset" not in exclude:
            members[DEMONSTRATIONS] = checkpoint.pack_arrays(self.dataset.state())
        return members

    def _take_from(self, members: checkpoint.Members, trusted: bool) -> None:
        given = vars(self).pop("demonstrations", None)  # an argument of load
        if given is not None:
            self.set_demonstrations(given)
            return
        state = checkpoint.unpack_arrays(members, DEMONSTRATIONS)
        self.dataset = Dataset.from_state(state, self._capacity)
        self._observe_unseen()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "dataset", "_source", "_was_training"]
