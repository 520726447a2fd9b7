"""The policy that acts in a round of DAgger, and the returns that it gets."""

import numpy as np
from gymnasium import spaces

from sb3_course.collection.observations import Array, Obs, join
from sb3_course.common.base_class import CourseAlgorithm
from sb3_course.common.networks.actors import Actor
from sb3_course.imitation.experts import Expert, label
from sb3_course.imitation.normalization import raw_obs


class Mixture:
    """π_i = β_i π* + (1 − β_i) π_θ, which keeps the raw observations of its calls.

    :param model: Model with the policy π_θ
    :param actor: π_θ
    :param expert: Expert π*, queried at each step if β is greater than 0
    :param beta: Probability β_i that the expert acts
    :param rng: Generator of the choice between expert and policy
    """

    def __init__(
        self,
        model: CourseAlgorithm,
        actor: Actor,
        expert: Expert,
        beta: float,
        rng: np.random.Generator,
    ) -> None:
        self._model, self._expert, self._beta, self._rng = model, expert, beta, rng
        self._actor = actor
        self._venv = model.get_vec_normalize_env()
        self._obs: list[Obs] = []
        self._labels: list[Array] = []

    def __call__(self, obs: Obs) -> tuple[Array, Array]:
        """Return the sampled actions, and the clipped actions for the environments."""
        raw = raw_obs(self._venv, obs)
        self._obs.append(raw)
        model = self._model
        actions, clipped_actions = model.clip_actions(self._actor.sample(model.to_tensor(obs)))
        if self._beta == 0.0:
            return actions, clipped_actions
        space = model.action_space
        labels = label(self._expert, raw, space)
        self._labels.append(labels)
        expert_acts = self._rng.random(len(labels)) < self._beta
        shaped = labels.reshape(clipped_actions.shape)
        if isinstance(space, spaces.Box):
            shaped = np.clip(shaped, space.low, space.high)
        chosen = expert_acts.reshape(-1, *[1] * (shaped.ndim - 1))
        mixed = np.where(chosen, shaped, clipped_actions)
        return actions, mixed.astype(shaped.dtype)

    def seen(self) -> tuple[Obs, Array | None]:
        """Return the raw observations and, if the expert was queried, its actions."""
        return join(self._obs), np.concatenate(self._labels) if self._labels else None


class TrainingReturns:
    """Raw returns of the episodes of one round.

    :param n_envs: Number of environments N
    """

    def __init__(self, n_envs: int) -> None:
        self._running, self._ended = np.zeros(n_envs), list[float]()

    def add(self, rewards: Array, dones: Array) -> None:
        """Add the rewards of a vector step.

        :param rewards: Raw rewards, of shape (N,)
        :param dones: Whether each episode ended, of shape (N,)
        """
        self._running += rewards
        self._ended.extend(self._running[dones])
        self._running[dones] = 0.0

    def mean(self) -> float:
        """Compute the mean over the episodes that ended, or over the running ones if none did."""
        return float(np.mean(self._ended or self._running))
