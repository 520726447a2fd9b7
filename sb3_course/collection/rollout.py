"""One batch of experience, time-major."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from sb3_course.collection.observations import Array, Obs, join, map_obs, select, stack_obs


@dataclass(frozen=True)
class Rollout:
    """One batch of experience, time-major: T vector steps of N environments.

    Rewards are those of the environment; nothing is ever added to them. Where ``mask`` is false an
    environment stepped without being counted, and the other arrays hold no meaning there.

    ================  ==============  ====================================================
    variable          shape           meaning
    ================  ==============  ====================================================
    ``obs``           (T, N, …)       s_t (a dict of such arrays for Dict observations)
    ``actions``       (T, N, …)       a_t as sampled, before it was clipped to the space
    ``rewards``       (T, N)          r_t, float64
    ``terminated``    (T, N)          s_{t+1} is terminal: no reward can follow
    ``truncated``     (T, N)          a time limit cut the episode after this step
    ``mask``          (T, N)          the step counts
    ``last_obs``      (N, …)          observations after the last step
    ``terminal_obs``  {(t, n): …}     s_{t+1} where an episode ended
    ================  ==============  ====================================================
    """

    obs: Obs
    actions: Array
    rewards: Array
    terminated: Array
    truncated: Array
    mask: Array
    last_obs: Obs
    terminal_obs: dict[tuple[int, int], Obs]

    def arrays(self) -> dict[str, Any]:
        """Return the fields by name, from which ``Rollout(**fields)`` makes an equal batch."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def ends(self) -> Array:
        """Whether an episode ended after each step, of shape (T, N)."""
        return self.terminated | self.truncated

    @cached_property
    def bootstrap_mask(self) -> Array:
        """Counted steps whose episode continues unseen, at a time limit or the batch's edge."""
        cut = self.truncated.copy()
        cut[-1] |= ~self.ends[-1]
        cut &= self.mask
        return cut

    @cached_property
    def trajectory(self) -> Array:
        """Index of each step's trajectory, in order of start, (T, N); -1 where masked."""
        starts = self.mask.copy()
        starts[1:] &= self.ends[:-1]
        number = np.where(starts, np.cumsum(starts).reshape(starts.shape) - 1, -1)
        return np.where(self.mask, np.maximum.accumulate(number, axis=0), -1)

    @property
    def n_trajectories(self) -> int:
        """Number of trajectories K in the batch."""
        return int(self.trajectory.max(initial=-1)) + 1

    @cached_property
    def lengths(self) -> Array:
        """Number of steps of each trajectory, of shape (K,)."""
        return np.bincount(self.trajectory[self.mask], minlength=self.n_trajectories)

    @cached_property
    def time(self) -> Array:
        """Index of each step inside its trajectory, of shape (T, N); undefined where masked."""
        first = np.zeros_like(self.trajectory)
        new = self.ends[:-1]
        first[1:][new] = np.broadcast_to(np.arange(1, len(first))[:, None], new.shape)[new]
        return np.arange(len(first))[:, None] - np.maximum.accumulate(first, axis=0)

    @property
    def n_transitions(self) -> int:
        """Number of counted steps M."""
        return int(np.count_nonzero(self.mask))

    def flat(self, array: Array) -> Array:
        """Return the counted steps of a (T, N, …) array, one after another.

        :param array: Array of shape (T, N, …)
        :return: Array of shape (M, …), in order of time, then of environment
        """
        if self.mask.all():
            return array.reshape(-1, *array.shape[2:])
        counted: Array = array[self.mask]
        return counted

    def spread(self, flat: Array) -> Array:
        """Undo :meth:`flat`.

        :param flat: Array of shape (M,)
        :return: Array of shape (T, N), float64, 0 where steps do not count
        """
        array = np.zeros(self.mask.shape)
        array[self.mask] = flat
        return array

    @cached_property
    def flat_obs(self) -> Obs:
        """Observations of the counted steps, of shape (M, …)."""
        return map_obs(self.flat, self.obs)

    @cached_property
    def next_obs(self) -> Obs:
        """s_{t+1} of each step, of shape (T, N, …); the last observation where an episode ended."""
        next_obs = join([select(self.obs, slice(1, None)), stack_obs([self.last_obs])])
        for where, terminal in self.terminal_obs.items():
            if isinstance(terminal, dict):
                for key, value in terminal.items():
                    next_obs[key][where] = value
            else:
                next_obs[where] = terminal  # type: ignore[index]
        return next_obs

    def bootstrap_values(self, predict: Callable[[Obs], Array]) -> Array:
        """Compute V(s_{t+1}) where an episode continues unseen, in one call of ``predict``.

        :param predict: Function from B observations to their values, of shape (B,)
        :return: V(s_{t+1}) where ``bootstrap_mask`` is true and 0 elsewhere, of shape (T, N)
        """
        values = np.zeros(self.mask.shape)
        where = list(zip(*np.nonzero(self.bootstrap_mask), strict=True))
        if where:
            next_obs = [
                self.terminal_obs[t, n] if (t, n) in self.terminal_obs else select(self.last_obs, n)
                for t, n in where
            ]
            values[self.bootstrap_mask] = predict(stack_obs(next_obs))
        return values
