"""Collection of experience: the policy acts, nothing else runs until the batch is complete."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, unwrap_vec_normalize

from sb3_course.collection.observations import (
    Array,
    Obs,
    as_declared,
    compact,
    finite,
    is_finite,
    last_observation,
    map_obs,
    owned,
    select,
)
from sb3_course.collection.rollout import Rollout

MAX_EPISODE_STEPS = 1_000_000
LONG_EPISODE_STEPS = 10_000
"""Length of an episode up to which nothing is said, however few steps the batch should have."""


def unending(n: int, steps: int) -> str:
    """Return the message on an environment whose episode does not end.

    :param n: Index of the environment
    :param steps: Steps that it has taken
    :return: Message
    """
    return (
        f"environment {n} has not ended its episode within {steps:,} steps; whole episodes need a "
        "time limit (gymnasium.wrappers.TimeLimit)"
    )


class CollectionBudget(Protocol):
    """Which environments' steps count, and when the batch is complete.

    :ivar whole_episodes: Whether the batch must begin where episodes begin
    :ivar running: Environments whose current step counts, bool of shape (N,)
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
    in the batch must not depend on how long it takes. With ``n_episodes`` exactly the first
    ``n_episodes`` that *start* are taken, so each is an unbiased draw. With ``n_steps`` the
    environments continue to start episodes for ``n_steps`` vector steps, and sums over the batch
    have the expectation of Wald's identity.

    :param n_envs: Number of environments N
    :param n_steps: Vector steps during which episodes may start
    :param n_episodes: Number of episodes to start; if given, ``n_steps`` has no effect
    :param min_episodes: Smallest number of episodes to start
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
        self._first_steps = np.zeros(n_envs, dtype=np.int64)
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
                self._first_steps[n] = step
                self.started += 1

    def advance(self, step: int, dones: Array) -> None:
        """See :class:`CollectionBudget`."""
        if dones.any():
            ended = np.flatnonzero(self.running & dones)
            self.running[ended] = False
            self._start(ended, step)
        if step >= MAX_EPISODE_STEPS:
            late = self.running & (step - self._first_steps >= MAX_EPISODE_STEPS)
            if late.any():
                raise RuntimeError(unending(int(np.flatnonzero(late)[0]), MAX_EPISODE_STEPS))
        if self.n_episodes is not None or not self.running.any():
            return
        if step == max(10 * (self.n_steps or 0), LONG_EPISODE_STEPS):
            warnings.warn(
                f"a batch with n_steps={self.n_steps:,} has taken {step:,} steps: an episode has "
                "not ended; an environment without a limit needs gymnasium.wrappers.TimeLimit",
                stacklevel=2,
            )


class FixedSteps:
    """A fixed number of vector steps of every environment, whether or not its episode has ended.

    :param n_envs: Number of environments N
    :param n_steps: Number of vector steps
    """

    whole_episodes = False

    def __init__(self, n_envs: int, n_steps: int) -> None:
        self.n_steps = n_steps
        self.running = np.ones(n_envs, dtype=bool)

    def advance(self, step: int, dones: Array) -> None:
        """See :class:`CollectionBudget`."""
        if step >= self.n_steps:
            self.running[:] = False


def collect(
    env: VecEnv,
    first_obs: Obs,
    act: Callable[[Obs], tuple[Array, Array]],
    budget: CollectionBudget,
    on_step: Callable[[dict[str, Any]], bool],
) -> tuple[Rollout, Array] | None:
    """Step the environments until the budget is complete.

    The result of one step is stored while the environments compute the next one.

    :param env: Environments to step
    :param first_obs: Current observations, of shape (N, …)
    :param act: Function from observations to sampled actions and clipped actions
    :param budget: Which steps count, and when the batch is complete
    :param on_step: Function of SB3's local variables, called after each step; false stops
    :return: Batch and ``dones`` of the last step, or None if ``on_step`` stopped it
    :raises FloatingPointError: An observation or reward is not finite; names environment and step
    """
    store = _Store()
    terminal_obs: dict[tuple[int, int], Obs] = {}
    first_obs = as_declared(first_obs, env.observation_space)
    check_finite("observation", first_obs, step=0)
    obs = store.append_obs(first_obs)
    dones = np.zeros(env.num_envs, dtype=bool)
    step = 0
    while budget.running.any():
        running = budget.running.copy()
        actions, clipped_actions = act(obs)
        env.step_async(clipped_actions)
        store.append("actions", actions)
        store.append("mask", running)
        new_obs, rewards, dones, infos = step_wait(env)
        check_finite("observation", new_obs, step)
        check_finite("reward", rewards, step)
        truncated = truncations(dones, infos)
        for n in np.flatnonzero(dones & running) if dones.any() else ():
            last = last_observation(infos[n])
            if last is None:
                continue
            terminal = map_obs(owned, as_declared(last, env.observation_space))
            check_finite(f"last observation of environment {n}", terminal, step, of_one=True)
            terminal_obs[step, int(n)] = terminal
        store.append("truncated", truncated)
        store.append("terminated", dones & ~truncated)
        obs = store.append_obs(new_obs)
        step += 1
        budget.advance(step, dones)
        step_locals = {
            "new_obs": new_obs,
            "rewards": rewards,
            "dones": dones,
            "infos": infos,
            "actions": actions,
            "clipped_actions": clipped_actions,
            "env": env,
            "n_steps": step,
            "running": running,
        }
        if not on_step(step_locals):
            return None
        store.append("rewards", rewards)  # which a callback may have changed, as in SB3
    return store.rollout(terminal_obs), dones


def step_wait(env: VecEnv) -> tuple[Obs, Array, Array, list[dict[str, Any]]]:
    """Finish a vector step, whose results become of the declared kind, whatever kind they were.

    :param env: Environments whose ``step_async`` has been called
    :return: Observations as their space declares them, rewards as floats and dones as bool, both of
        shape (N,), and infos
    :raises TypeError: The observation is a tuple, for which SB3 has no policy
    :raises ValueError: There is not one reward and one done of each environment
    """
    with _bool_dones(env):
        new_obs, rewards, dones, infos = env.step_wait()
    if isinstance(new_obs, tuple):
        raise TypeError("Tuple observations are not supported: SB3 has no policy for them")
    rewards, dones = np.asarray(rewards), np.asarray(dones)
    for name, values in (("rewards", rewards), ("dones", dones)):
        if values.shape != (env.num_envs,):
            raise ValueError(
                f"{type(env).__name__}.step() returned {name} of shape {values.shape}; allowed: "
                f"({env.num_envs},), one of each environment"
            )
    if rewards.dtype.kind != "f":
        rewards = rewards.astype(np.float64)
    return as_declared(new_obs, env.observation_space), rewards, dones.astype(bool), infos


@contextmanager
def _bool_dones(env: VecEnv) -> Iterator[None]:
    """Have dones in bool below ``VecNormalize``, which takes whole numbers for indices."""
    below: Any = env
    while (normalizer := unwrap_vec_normalize(below)) is not None:
        below = normalizer.venv
    if below is env or type(below) is DummyVecEnv:  # whose dones are bool
        yield
        return
    step_wait, own = below.step_wait, "step_wait" in vars(below)

    def cast() -> Any:
        obs, rewards, dones, infos = step_wait()
        return obs, rewards, np.asarray(dones).astype(bool), infos

    below.step_wait = cast
    try:
        yield
    finally:
        del below.step_wait
        if own:
            below.step_wait = step_wait


def truncations(dones: Array, infos: list[dict[str, Any]]) -> Array:
    """Return which episodes were ended by a time limit alone.

    :param dones: Whether each episode ended, bool of shape (N,)
    :param infos: SB3's infos, N of them
    :return: Whether a time limit cut each episode, bool of shape (N,)
    :raises KeyError: Such an episode's last observation, of which the value is needed, is missing
    """
    truncated = np.zeros(len(dones), dtype=bool)
    if dones.any():
        for n in np.flatnonzero(dones):
            truncated[n] = bool(infos[n].get("TimeLimit.truncated", False))
            if truncated[n] and infos[n].get("terminal_observation") is None:
                raise KeyError(
                    f"infos[{n}] of an episode cut by a time limit has no 'terminal_observation', "
                    f"only {sorted(map(str, infos[n]))}: SB3's VecEnv puts the last one there"
                )
    return truncated


def check_finite(what: str, values: Obs, step: int, of_one: bool = False) -> None:
    """Check that values from an environment are finite.

    :param what: Name of the values, for the message
    :param values: Array of shape (N, …), or a dict of such arrays
    :param step: Vector step, for the message
    :param of_one: Whether the values belong to one environment, which ``what`` names
    :raises FloatingPointError: A value is not finite; names environment and step
    """
    if isinstance(values, dict):
        for key, value in values.items():
            check_finite(f"{what} {key!r}", value, step, of_one)
    elif not is_finite(values):
        where = tuple(np.argwhere(~finite(values))[0])
        whose = what if of_one else f"{what} of environment {where[0]}"
        why = ", which float32 does not hold" if np.isfinite(values[where]) else ""
        raise FloatingPointError(
            f"the {whose} is {values[where]} at vector step {step} of the rollout{why}"
        )


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

    def append(self, name: str, row: Array) -> Array:
        column = self._columns.get(name)
        if column is None:
            dtype = np.float64 if name == "rewards" else compact(row[:0]).dtype
            column = self._columns[name] = _Column(row, dtype)
        return column.append(row)

    def append_obs(self, obs: Obs) -> Obs:
        if isinstance(obs, dict):
            return {key: self.append(f"obs:{key}", value) for key, value in obs.items()}
        return self.append("obs", obs)

    def rollout(self, terminal_obs: dict[tuple[int, int], Obs]) -> Rollout:
        rows = {name: column.data[: column.length] for name, column in self._columns.items()}
        parts = [name for name in rows if name.startswith("obs:")]
        obs: Obs = {name.removeprefix("obs:"): rows.pop(name) for name in parts} or rows.pop("obs")
        return Rollout(
            obs=select(obs, slice(-1)),
            last_obs=select(obs, -1),
            terminal_obs=terminal_obs,
            **rows,  # actions, rewards, terminated, truncated, mask
        )
