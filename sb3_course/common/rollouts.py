"""Collection of experience: the policy acts, nothing else runs until the batch is complete."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

Array: TypeAlias = np.ndarray[Any, Any]
Obs: TypeAlias = Array | dict[str, Array]

MAX_EPISODE_STEPS = 1_000_000


@dataclass(frozen=True)
class Rollout:
    """One batch of experience, time-major: T vector steps of N environments.

    Rewards are what the environment gave; nothing is ever added to them. Where ``mask`` is false an
    environment stepped without being counted, and what the other arrays hold there means nothing.

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

    @cached_property
    def ends(self) -> Array:
        """Steps after which an episode ended, of shape (T, N)."""
        return self.terminated | self.truncated

    @cached_property
    def cuts(self) -> Array:
        """Counted steps whose episode goes on unseen: time limits and the batch's edge, (T, N)."""
        cut = self.truncated.copy()
        cut[-1] |= ~self.ends[-1]
        cut &= self.mask
        return cut

    @cached_property
    def trajectory(self) -> Array:
        """Number of the trajectory each step belongs to, in order of start; -1 where masked."""
        starts = self.mask.copy()
        starts[1:] &= self.ends[:-1]
        number = np.where(starts, np.cumsum(starts).reshape(starts.shape) - 1, -1)
        return np.where(self.mask, np.maximum.accumulate(number, axis=0), -1)

    @property
    def n_trajectories(self) -> int:
        """How many trajectories the batch holds."""
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
        """How many steps count."""
        return int(np.count_nonzero(self.mask))

    def flat(self, array: Array) -> Array:
        """Line up the counted steps of a (T, N, …) array.

        :param array: Of shape (T, N, …)
        :return: Of shape (``n_transitions``, …), in order of time, then of environment
        """
        if self.mask.all():
            return array.reshape(-1, *array.shape[2:])
        picked: Array = array[self.mask]
        return picked

    def spread(self, flat: Array) -> Array:
        """Undo :meth:`flat`.

        :param flat: Of shape (``n_transitions``,)
        :return: Of shape (T, N), float64, 0 where steps do not count
        """
        array = np.zeros(self.mask.shape)
        array[self.mask] = flat
        return array

    @cached_property
    def flat_obs(self) -> Obs:
        """Observations of the counted steps, of shape (``n_transitions``, …)."""
        return map_obs(self.flat, self.obs)

    @cached_property
    def next_obs(self) -> Obs:
        """s_{t+1} of each step, of shape (T, N, …), the true one where an episode ended."""

        def shift(obs: Array, last: Array) -> Array:
            return np.concatenate([obs[1:], last[None]])

        if isinstance(self.obs, dict):
            assert isinstance(self.last_obs, dict)
            following: Obs = {k: shift(v, self.last_obs[k]) for k, v in self.obs.items()}
        else:
            assert not isinstance(self.last_obs, dict)
            following = shift(self.obs, self.last_obs)
        for where, terminal in self.terminal_obs.items():
            if isinstance(terminal, dict):
                for key, value in terminal.items():
                    following[key][where] = value
            else:
                following[where] = terminal  # type: ignore[index]
        return following

    def cut_values(self, predict: Callable[[Obs], Array]) -> Array:
        """Value what follows each cut, in one call of ``predict`` (none if nothing was cut).

        :param predict: Values of shape (B,) of B observations
        :return: V(s_{t+1}) at the cuts and 0 elsewhere, of shape (T, N)
        """
        values = np.zeros(self.mask.shape)
        where = list(zip(*np.nonzero(self.cuts), strict=True))
        if where:
            following = [
                self.terminal_obs[t, n]
                if (t, n) in self.terminal_obs
                else map_obs(lambda last, n=n: last[n], self.last_obs)  # type: ignore[misc]
                for t, n in where
            ]
            values[self.cuts] = predict(stack_obs(following))
        return values


class Schedule(Protocol):
    """Says which environments' steps count, and when the batch is complete.

    :ivar whole_episodes: Whether it must begin where episodes begin
    :ivar running: The environments whose current step counts, bool of shape (N,)
    """

    whole_episodes: bool
    running: Array

    def advance(self, step: int, dones: Array) -> None:
        """Update ``running`` after a vector step.

        :param step: Vector steps made so far
        :param dones: Environments whose episode has just ended, of shape (N,)
        """


class WholeEpisodes:
    """Start episodes until the budget is reached, then finish every one that was started.

    Cutting or dropping the running episodes would over-represent short ones: whether an episode is
    in the batch must not depend on how long it takes. With ``n_episodes`` exactly the first so many
    that *start* are taken, so each is an unbiased draw. With ``n_steps`` the environments go on
    starting for so many vector steps, and sums over the batch have the expectation that Wald's
    identity gives them.

    :param n_envs: Number of environments N
    :param n_steps: Vector steps during which episodes may start
    :param n_episodes: Number of episodes to start; given this, ``n_steps`` does not count
    :param min_episodes: Go on starting until there are so many
    """

    whole_episodes = True

    def __init__(
        self,
        n_envs: int,
        n_steps: int | None = None,
        n_episodes: int | None = None,
        min_episodes: int = 1,
    ) -> None:
        self.n_steps = n_steps
        self.n_episodes = n_episodes
        self.min_episodes = min_episodes
        self.started = 0
        self.running = np.zeros(n_envs, dtype=bool)
        self._start(range(n_envs), step=0)

    def _is_open(self, step: int) -> bool:
        if self.n_episodes is not None:
            return self.started < self.n_episodes
        assert self.n_steps is not None
        return step < self.n_steps or self.started < self.min_episodes

    def _start(self, environments: Iterable[int], step: int) -> None:
        for n in environments:
            if self._is_open(step):
                self.running[n] = True
                self.started += 1

    def advance(self, step: int, dones: Array) -> None:
        """See :class:`Schedule`."""
        if step >= MAX_EPISODE_STEPS + (self.n_steps or 0):
            raise RuntimeError(
                f"environment {int(np.flatnonzero(self.running)[0])} has not ended its episode "
                f"within {step:,} steps; whole episodes need a time limit "
                "(gymnasium.wrappers.TimeLimit)"
            )
        if dones.any():
            ended = np.flatnonzero(self.running & dones)
            self.running[ended] = False
            self._start(ended, step)


class FixedSteps:
    """So many vector steps of every environment, wherever its episode then stands.

    :param n_envs: Number of environments N
    :param n_steps: Vector steps
    """

    whole_episodes = False

    def __init__(self, n_envs: int, n_steps: int) -> None:
        self.n_steps = n_steps
        self.running = np.ones(n_envs, dtype=bool)

    def advance(self, step: int, dones: Array) -> None:
        """See :class:`Schedule`."""
        if step >= self.n_steps:
            self.running[:] = False


def collect(
    env: VecEnv,
    first_obs: Obs,
    act: Callable[[Obs], tuple[Array, Array]],
    schedule: Schedule,
    on_step: Callable[[dict[str, Any]], bool],
) -> tuple[Rollout, Array] | None:
    """Step the environments until the schedule is complete.

    What one step gave is stored while the environments compute the next one.

    :param env: The environments
    :param first_obs: Their current observations, of shape (N, …)
    :param act: Maps observations to the actions as sampled and to the actions as sent
    :param schedule: Which steps count, and until when
    :param on_step: Called after each step with SB3's local variables; false stops the collection
    :return: The batch and the last step's ``dones``, or None if ``on_step`` stopped it
    :raises FloatingPointError: An observation or reward is not finite; says which environment, step
    """
    store = _Store()
    terminal_obs: dict[tuple[int, int], Obs] = {}
    check_finite("observation", first_obs, step=0)
    obs = store.append_obs(first_obs)
    dones = np.zeros(env.num_envs, dtype=bool)
    step = 0
    while schedule.running.any():
        running = schedule.running.copy()
        actions, sent = act(obs)
        env.step_async(sent)
        store.append("actions", actions)
        store.append("mask", running)
        new_obs, rewards, dones, infos = env.step_wait()
        assert not isinstance(new_obs, tuple), "SB3 has no policy for Tuple observations"
        check_finite("observation", new_obs, step)
        check_finite("reward", rewards, step)
        truncated = truncations(dones, infos)
        for n in np.flatnonzero(dones & running) if dones.any() else ():
            terminal = map_obs(compact, infos[n]["terminal_observation"])
            check_finite(f"last observation of environment {n}", terminal, step, of_one=True)
            terminal_obs[step, int(n)] = terminal
        store.append("rewards", rewards)
        store.append("truncated", truncated)
        store.append("terminated", dones & ~truncated)
        obs = store.append_obs(new_obs)
        step += 1
        schedule.advance(step, dones)
        step_locals = {
            "new_obs": new_obs,
            "rewards": rewards,
            "dones": dones,
            "infos": infos,
            "actions": actions,
            "clipped_actions": sent,
            "n_steps": step,
            "running": running,
        }
        if not on_step(step_locals):
            return None
    return store.rollout(terminal_obs), dones


def truncations(dones: Array, infos: list[dict[str, Any]]) -> Array:
    """Say which episodes only a time limit ended.

    :param dones: Episodes that ended, bool of shape (N,)
    :param infos: SB3's infos, N of them
    :return: Bool of shape (N,)
    """
    truncated = np.zeros(len(dones), dtype=bool)
    if dones.any():
        for n in np.flatnonzero(dones):
            truncated[n] = infos[n].get("TimeLimit.truncated", False)
    return truncated


def check_finite(what: str, values: Obs, step: int, of_one: bool = False) -> None:
    """Refuse NaN and infinity from an environment, and say where they came from.

    :param what: What the values are, for the message
    :param values: Of shape (N, …), or a dict of such arrays
    :param step: The vector step, for the message
    :param of_one: The values are of one environment, which ``what`` names
    :raises FloatingPointError: Some value is not finite
    """
    if isinstance(values, dict):
        for key, value in values.items():
            check_finite(f"{what} {key!r}", value, step, of_one)
    elif values.dtype.kind == "f" and not np.isfinite(values).all():
        where = tuple(np.argwhere(~np.isfinite(values))[0])
        whose = what if of_one else f"{what} of environment {where[0]}"
        raise FloatingPointError(
            f"the {whose} is {values[where]} at vector step {step} of the rollout"
        )


def map_obs(function: Callable[[Array], Array], obs: Obs) -> Obs:
    """Apply a function to an observation array, or to each array of a Dict observation.

    :param function: From array to array
    :param obs: An array or a dict of arrays
    :return: Of the same structure
    """
    if isinstance(obs, dict):
        return {key: function(value) for key, value in obs.items()}
    return function(obs)


def compact(array: Array) -> Array:
    """Give floats as float32, which is what networks compute in, and anything else as it is.

    :param array: Of any shape
    :return: Of the same shape
    """
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


class _Column:
    """A time-major array that grows by doubling."""

    def __init__(self, row: Array, dtype: Any) -> None:
        self.data = np.empty((1024, *row.shape), dtype=dtype)
        self.length = 0

    def append(self, row: Array) -> Array:
        if self.length == len(self.data):
            longer = np.empty((2 * self.length, *row.shape), dtype=self.data.dtype)
            longer[: self.length] = self.data
            self.data = longer
        self.data[self.length] = row
        self.length += 1
        stored: Array = self.data[self.length - 1]
        return stored


class _Store:
    """The columns of a rollout while it is collected."""

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}
        self._dict_obs = False

    def append(self, name: str, row: Array) -> Array:
        column = self._columns.get(name)
        if column is None:
            dtype = np.float64 if name == "rewards" else compact(row[:0]).dtype
            column = self._columns[name] = _Column(row, dtype)
        return column.append(row)

    def append_obs(self, obs: Obs) -> Obs:
        if isinstance(obs, dict):
            self._dict_obs = True
            return {key: self.append(f"obs:{key}", value) for key, value in obs.items()}
        return self.append("obs", obs)

    def _rows(self, name: str, start: int, stop: int | None) -> Array:
        column = self._columns[name]
        rows: Array = column.data[: column.length][start:stop]
        return rows

    def _obs_rows(self, start: int, stop: int | None) -> Obs:
        if self._dict_obs:
            keys = [name for name in self._columns if name.startswith("obs:")]
            return {key.removeprefix("obs:"): self._rows(key, start, stop) for key in keys}
        return self._rows("obs", start, stop)

    def rollout(self, terminal_obs: dict[tuple[int, int], Obs]) -> Rollout:
        return Rollout(
            obs=self._obs_rows(0, -1),
            actions=self._rows("actions", 0, None),
            rewards=self._rows("rewards", 0, None),
            terminated=self._rows("terminated", 0, None),
            truncated=self._rows("truncated", 0, None),
            mask=self._rows("mask", 0, None),
            last_obs=map_obs(lambda rows: rows[0], self._obs_rows(-1, None)),
            terminal_obs=terminal_obs,
        )


def stack_obs(observations: list[Obs]) -> Obs:
    """Stack single observations to a batch.

    :param observations: B observations of shape (…)
    :return: Of shape (B, …)
    """
    first = observations[0]
    if isinstance(first, dict):
        return {k: np.stack([o[k] for o in observations]) for k in first}
    return np.stack(observations)  # type: ignore[arg-type]
