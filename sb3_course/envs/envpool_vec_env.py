"""EnvPool's environments as an SB3 ``VecEnv``."""

import functools
import os
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import (
    VecEnv,
    VecEnvIndices,
    VecEnvObs,
    VecEnvStepReturn,
)

from sb3_course.envs._envpool_spec import NO_LIMIT, import_envpool, read_spec

_USE_DUMMY = 'take make_vec_env(..., backend="dummy") for that'


class EnvPoolVecEnv(VecEnv):
    """Environments that EnvPool steps in C++ threads, with the semantics of SB3's ``DummyVecEnv``.

    An environment that ends is reset within the same step, so that the returned observation is
    the next episode's first one and no action is lost. ``infos[i]`` is an empty dict except where
    an episode ended; there it holds

    ========================  ====================================================================
    ``terminal_observation``  the episode's last observation, of the observation space's shape
    ``TimeLimit.truncated``   True where only the time limit ended the episode
    ``episode``               ``r`` (sum of raw rewards), ``l`` (environment steps), ``t`` (seconds
                              since construction), as SB3's ``Monitor`` has them
    ========================  ====================================================================

    The spaces equal Gymnasium's, so that a model trained here loads on Gymnasium's environment.
    Where Gymnasium cannot make the environment (a package is missing), they are EnvPool's, with
    bounds that mean "none" made infinite.

    *Time limit.* EnvPool flags an episode that ends by itself exactly at the limit as truncated.
    The pool is therefore built with a limit one step later, and the adapter truncates.

    *Seeds.* Environment ``i`` gets ``seed + i``, taken modulo 2³². Equal seeds give equal
    trajectories bit for bit, whatever ``n_envs`` and ``num_threads``. They are not the trajectories
    that Gymnasium has for that seed: the generators differ. As in SB3, :meth:`seed` waits for the
    next :meth:`reset`, which uses the seeds up; a reset without new seeds goes on with the
    generators.

    *Arrays.* ``step_wait`` returns EnvPool's own arrays, which EnvPool gives away and never writes
    again; they are copied only where the observation space has another dtype. Actions are copied
    once, since EnvPool reads the array that it was sent while it steps.

    A pickled copy is a set of fresh environments, seeded only by seeds that no reset had used.

    :param env_id: an id that EnvPool has, such as ``"HalfCheetah-v4"``
    :param n_envs: number of environments
    :param seed: seed of the first environment; None draws one from NumPy's global generator, as
        SB3's ``make_vec_env`` does
    :param num_threads: EnvPool's threads; None takes one for each usable core, at most ``n_envs``
    :param env_kwargs: keyword arguments of the environment, which Gymnasium must understand too
        where it has the environment
    :raises ImportError: without EnvPool
    :raises ValueError: for less than one environment or thread; for an environment that EnvPool
        lacks, or has with other spaces than Gymnasium, or with more than one player
    """

    def __init__(
        self,
        env_id: str,
        n_envs: int = 1,
        seed: int | None = None,
        num_threads: int | None = None,
        **env_kwargs: Any,
    ) -> None:
        if n_envs < 1:
            raise ValueError(f"n_envs must be at least 1, got {n_envs}")
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads must be at least 1 or None, got {num_threads}")
        spec = read_spec(env_id, env_kwargs)
        self.env_id = env_id
        self.spec = spec.gym_spec
        self.max_episode_steps = spec.max_episode_steps
        self._num_threads = num_threads
        self._env_kwargs = env_kwargs
        self._pool: Any = None  # built by reset(), which knows the seeds
        self._closed = False
        self._waiting = False
        super().__init__(n_envs, spec.observation_space, spec.action_space)

        self._limit = NO_LIMIT if spec.max_episode_steps is None else spec.max_episode_steps
        self._at_reward, self._at_done = spec.index["reward"], spec.index["done"]
        self._at_trunc, self._at_env_id = spec.index["trunc"], spec.index["info:env_id"]
        self._obs_layout = _observation_layout(spec.obs_index, self.observation_space)
        self._action_dtype = spec.action_dtype
        self._action_shape = (n_envs, *(self.action_space.shape or ()))
        self._actions = np.zeros(self._action_shape, self._action_dtype)
        self._ids = np.arange(n_envs, dtype=np.int32)
        self._returns = np.zeros(n_envs)
        self._lengths = np.zeros(n_envs, dtype=np.int64)
        self._t_start = time.time()
        self.seed(seed)

    def reset(self) -> VecEnvObs:
        """Start a new episode in every environment; a step in flight is awaited and dropped.

        :return: first observations, shape (n_envs, ...), or a dict of such arrays
        :raises RuntimeError: after :meth:`close`
        """
        if self._closed:
            raise RuntimeError("this EnvPoolVecEnv is closed: construct a new one")
        if self._waiting:
            self._waiting = False
            self._pool._recv()
        if self._pool is None or self._seeds[0] is not None:
            self._build()
        self._pool._reset(self._ids)
        state = self._pool._recv()
        if not np.array_equal(state[self._at_env_id], self._ids):
            raise RuntimeError("EnvPool did not return the environments in their order")
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._reset_seeds()
        return self._observation(state)

    def step_async(self, actions: np.ndarray) -> None:
        """Send actions off; EnvPool's threads step while the caller does something else.

        :param actions: shape (n_envs, ...), as the action space says
        :raises RuntimeError: before the first reset, after close, or with a step in flight
        :raises ValueError: for another shape, or a discrete action out of range
        """
        if self._pool is None or self._waiting:
            self._refuse_step()
        # EnvPool's threads read this very array: a private copy, which lives until the next step.
        copied = np.array(actions, dtype=self._action_dtype, order="C")
        if copied.shape != self._action_shape:
            raise ValueError(f"actions must have shape {self._action_shape}, got {copied.shape}")
        space = self.action_space
        if isinstance(space, spaces.Discrete):
            low, high = int(copied.min()), int(copied.max())
            if low < space.start or high >= space.start + space.n:
                raise ValueError(f"actions must lie in {space}, got {low} to {high}")
        self._actions = copied
        self._pool._send([self._ids, self._ids, copied])
        self._waiting = True

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step that :meth:`step_async` sent.

        :return: observations (n_envs, ...), raw rewards (n_envs,) float32, dones (n_envs,) bool,
            and one info dict per environment; see the class for what it holds
        :raises RuntimeError: without a step in flight
        """
        if not self._waiting:
            raise RuntimeError("step_wait() needs a step_async() before it")
        self._waiting = False  # first: an interrupt is raised once _recv has returned
        state = self._pool._recv()
        obs, rewards, ended = self._observation(state), state[self._at_reward], state[self._at_done]
        self._returns += rewards
        self._lengths += 1
        dones = ended | (self._lengths >= self._limit)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if dones.any():
            terminated = ended & ~state[self._at_trunc]
            self._finish_episodes(obs, np.flatnonzero(dones), terminated, infos)
        return obs, rewards, dones, infos

    def _finish_episodes(
        self, obs: VecEnvObs, ids: np.ndarray, terminated: np.ndarray, infos: list[dict[str, Any]]
    ) -> None:
        """Reset the environments that ended, in place, and say so in their infos.

        :param obs: last observations; the rows of ``ids`` become first ones
        :param ids: environments that ended
        :param terminated: shape (n_envs,), whether it ended by itself
        :param infos: one dict per environment, filled for ``ids``
        """
        self._pool._reset(ids.astype(np.int32))  # runs while the infos are written
        self._waiting = True
        last = _rows(obs, ids)
        seconds = round(time.time() - self._t_start, 6)
        for row, i in enumerate(ids):
            infos[i] = {
                "terminal_observation": _rows(last, row),
                "TimeLimit.truncated": not terminated[i],
                "episode": {
                    "r": round(float(self._returns[i]), 6),
                    "l": int(self._lengths[i]),
                    "t": seconds,
                },
            }
        self._returns[ids] = 0.0
        self._lengths[ids] = 0
        self._waiting = False
        first = self._observation(self._pool._recv())
        if isinstance(obs, dict) and isinstance(first, dict):
            for key, part in first.items():
                obs[key][ids] = part
        elif isinstance(obs, np.ndarray):
            obs[ids] = first

    def close(self) -> None:
        """End EnvPool's threads; a second call does nothing."""
        self._pool = None
        self._waiting = False
        self._closed = True

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Refuse reset options, which EnvPool does not have.

        :param options: nothing
        :raises NotImplementedError: for anything but nothing
        """
        if options:
            raise NotImplementedError(f"EnvPool has no reset options: {_USE_DUMMY}")

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Read what one environment would know: its spaces, ``spec`` and ``render_mode``.

        :param attr_name: ``observation_space``, ``action_space``, ``spec`` or ``render_mode``
        :param indices: which environments, None for all
        :return: the value, once for each of them
        :raises AttributeError: for any other name
        """
        known = {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "spec": self.spec,
            "render_mode": None,
        }
        if attr_name not in known:
            raise AttributeError(
                f"EnvPool's environments live in C++ and have no attribute {attr_name!r}, only "
                f"{', '.join(known)}: {_USE_DUMMY}"
            )
        return [known[attr_name] for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> NoReturn:
        """Refuse.

        :raises NotImplementedError: always
        """
        raise NotImplementedError(f"cannot set {attr_name!r} in EnvPool's C++: {_USE_DUMMY}")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> NoReturn:
        """Refuse.

        :raises NotImplementedError: always
        """
        raise NotImplementedError(f"cannot call {method_name!r} in EnvPool's C++: {_USE_DUMMY}")

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Say whether the environments do what a wrapper would do.

        There are no Python wrappers inside. ``evaluate_policy`` asks for ``Monitor`` to learn
        whether ``infos[i]["episode"]`` holds an episode's raw return and length, and here it does.

        :param wrapper_class: a Gymnasium wrapper
        :param indices: which environments, None for all
        :return: for each of them, True for ``Monitor`` and False for anything else
        """
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Refuse.

        :raises NotImplementedError: always
        """
        raise NotImplementedError(f"EnvPool's environments give no images: {_USE_DUMMY}")

    def render(self, mode: str | None = None) -> NoReturn:
        """Refuse.

        :raises NotImplementedError: always
        """
        raise NotImplementedError(f"EnvPool's environments do not render: {_USE_DUMMY}")

    def _build(self) -> None:
        """Replace the pool by one with the seeds that wait, or with fresh ones."""
        if self._seeds[0] is None:
            self.seed()
        self._pool = import_envpool().make_gymnasium(
            self.env_id,
            num_envs=self.num_envs,
            num_threads=self._num_threads or min(self.num_envs, _usable_cores()),
            env_seed=[_as_int32(seed) for seed in self._seeds if seed is not None],
            **{**self._env_kwargs, "max_episode_steps": min(self._limit + 1, NO_LIMIT)},
        )

    def _observation(self, state: list[np.ndarray]) -> VecEnvObs:
        """Pick the observation out of what EnvPool returned, in the space's shape and dtype."""
        parts = {
            key: state[at].astype(dtype, copy=False).reshape(shape)
            for key, at, shape, dtype in self._obs_layout
        }
        return parts if isinstance(self.observation_space, spaces.Dict) else parts[""]

    def _refuse_step(self) -> NoReturn:
        """Say why no step can be sent now."""
        if self._closed:
            raise RuntimeError("this EnvPoolVecEnv is closed: construct a new one")
        if self._waiting:
            raise RuntimeError("a step is in flight already: call step_wait() first")
        raise RuntimeError("call reset() before the first step")

    def __reduce__(self) -> tuple[Any, ...]:
        make = functools.partial(
            type(self),
            self.env_id,
            self.num_envs,
            num_threads=self._num_threads,
            **self._env_kwargs,
        )
        return make, (), {"_seeds": list(self._seeds)}


def _observation_layout(
    obs_index: dict[str, int], space: spaces.Space[Any]
) -> list[tuple[str, int, tuple[int, ...], Any]]:
    """Name, position in EnvPool's state, shape (-1 for the environments) and dtype of each part."""
    layout = []
    for key, at in obs_index.items():
        part = space[key] if isinstance(space, spaces.Dict) else space
        layout.append((key, at, (-1, *(part.shape or ())), part.dtype))
    return layout


def _rows(obs: VecEnvObs, rows: Any) -> Any:
    """Index an observation, or each part of a Dict, by environment."""
    if isinstance(obs, dict):
        return {key: part[rows] for key, part in obs.items()}
    return np.asarray(obs)[rows]


def _as_int32(seed: int) -> int:
    """The int32 whose bits are those of the seed's lowest 32."""
    return (int(seed) + 2**31) % 2**32 - 2**31


def _usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
