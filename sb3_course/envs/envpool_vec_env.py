"""EnvPool's environments as an SB3 ``VecEnv``."""

import functools
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
from sb3_course.envs.backends import usable_cores
from sb3_course.envs.gymnasium_env import quiet_mujoco

_USE_DUMMY = 'use make_vec_env(..., backend="dummy") for that'


class EnvPoolVecEnv(VecEnv):
    r"""EnvPool's environments in C++ threads, with the semantics of SB3's ``DummyVecEnv``.

    An environment whose episode ends is reset within the same step, so the returned observation is
    the first one of the next episode and no action is lost. ``infos[i]`` is an empty dict unless
    an episode ended, in which case it holds

    ========================  ====================================================================
    ``terminal_observation``  the episode's last observation, of the observation space's shape
    ``TimeLimit.truncated``   True if only the time limit ended the episode
    ``episode``               ``r`` (sum of raw rewards), ``l`` (environment steps), ``t`` (seconds
                              since construction), as SB3's ``Monitor`` has them
    ========================  ====================================================================

    The spaces equal Gymnasium's, so a model trained here loads on Gymnasium's environment. If
    Gymnasium cannot make the environment (a package is missing), they are EnvPool's, with infinite
    bounds where EnvPool's mean that there is none.

    *Time limit.* EnvPool flags an episode that ends by itself exactly at the limit as truncated.
    The pool is therefore built with a limit one step later, and the adapter truncates.

    *Seeds.* Environment ``i`` is seeded with ``seed + i`` modulo 2³². Equal seeds lead to equal
    trajectories, bit for bit, whatever ``n_envs`` and ``num_threads`` are. They are not Gymnasium's
    trajectories for that seed, as the generators differ. As in SB3, :meth:`seed` takes effect at
    the next :meth:`reset`, which uses the seeds up; a reset without new seeds continues with the
    generators.

    *Arrays.* ``step_wait`` returns EnvPool's own arrays, which EnvPool hands over and never writes
    to again; they are copied only if the observation space has another dtype. Actions are copied
    once, as EnvPool reads the array that it was sent while it steps.

    *Attributes.* The environments are C++ objects: what SB3 asks for can be read. Other
    attributes, method calls, reset options and rendering raise an error that names the backend
    which supports them.

    A pickled copy is a set of fresh environments, seeded only by seeds that no reset has used.

    :param env_id: Environment id that EnvPool knows, such as ``"HalfCheetah-v4"``
    :param n_envs: Number of environments
    :param seed: Seed of the first environment; None draws one from NumPy's global generator, as
        SB3's ``make_vec_env`` does
    :param num_threads: Number of EnvPool's threads; None stands for one per usable core, at most
        ``n_envs``
    :param \**env_kwargs: Keyword arguments of the environment, which Gymnasium must understand too
        if it has the environment
    :raises ImportError: If EnvPool is not installed
    :raises ValueError: If there is less than one environment or thread, or EnvPool lacks the
        environment, has it with spaces other than Gymnasium's, or with more than one player
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
        self._pool: Any = None  # built by reset(), when the seeds are known
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
        """Start a new episode in every environment; a step in progress is awaited and dropped.

        :return: First observations, of shape (n_envs, ...), or a dict of such arrays
        :raises RuntimeError: If the environments are closed
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
        """Start a step; EnvPool's threads run it while the caller does something else.

        :param actions: Actions of the action space, of shape (n_envs, ...)
        :raises RuntimeError: If there was no reset, a step is in progress, or the environments
            are closed
        :raises ValueError: If the shape is another, or a discrete action is out of range
        """
        if self._pool is None or self._waiting:
            self._refuse_step()
        # EnvPool's threads read this array: a private copy, kept until the next step.
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
        """Wait for the step that :meth:`step_async` started.

        :return: Observations (n_envs, ...), raw rewards (n_envs,) float32, dones (n_envs,) bool,
            and one info dict per environment, described in the class's docstring
        :raises RuntimeError: If no step is in progress
        """
        if not self._waiting:
            raise RuntimeError("step_wait() needs a step_async() before it")
        self._waiting = False  # first, as an interrupt is raised once _recv has returned
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
        """Reset the environments whose episode ended, and fill in their infos.

        :param obs: Last observations, whose rows ``ids`` are replaced by first ones
        :param ids: Indices of the environments whose episode ended
        :param terminated: Whether an episode ended by itself, of shape (n_envs,)
        :param infos: One dict per environment; those of ``ids`` are replaced
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
        """Stop EnvPool's threads; a second call does nothing."""
        self._pool = None
        self._waiting = False
        self._closed = True

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the environments.

        :param attr_name: ``observation_space``, ``action_space``, ``spec`` or ``render_mode``
        :param indices: Indices of the environments, or None for all
        :return: Value of the attribute, once for each selected environment
        :raises AttributeError: If the attribute is any other
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
        """Raise ``NotImplementedError``."""
        raise NotImplementedError(f"cannot set {attr_name!r} in EnvPool's C++: {_USE_DUMMY}")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> NoReturn:
        """Raise ``NotImplementedError``."""
        raise NotImplementedError(f"cannot call {method_name!r} in EnvPool's C++: {_USE_DUMMY}")

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return whether the environments do what a wrapper would do.

        There are no Python wrappers inside. ``evaluate_policy`` asks for ``Monitor`` to learn
        whether ``infos[i]["episode"]`` holds an episode's raw return and length, and here it does.

        :param wrapper_class: Gymnasium wrapper
        :param indices: Indices of the environments, or None for all
        :return: True for ``Monitor`` and False for any other wrapper, once for each environment
        """
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Check that there are no reset options, which EnvPool does not have.

        :param options: None, an empty dict, or a list of empty dicts
        :raises NotImplementedError: If there are options
        """
        if any(options) if isinstance(options, list) else options:
            raise NotImplementedError(f"EnvPool has no reset options: {_USE_DUMMY}")

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Raise ``NotImplementedError``."""
        raise NotImplementedError(f"EnvPool's environments return no images: {_USE_DUMMY}")

    def render(self, mode: str | None = None) -> NoReturn:
        """Raise ``NotImplementedError``."""
        raise NotImplementedError(f"EnvPool's environments do not render: {_USE_DUMMY}")

    def _build(self) -> None:
        """Replace the pool by one with the pending seeds, or with random ones."""
        if self._seeds[0] is None:
            self.seed()
        quiet_mujoco()
        self._pool = import_envpool().make_gymnasium(
            self.env_id,
            num_envs=self.num_envs,
            num_threads=self._num_threads or min(self.num_envs, usable_cores()),
            env_seed=[_as_int32(seed) for seed in self._seeds if seed is not None],
            **{**self._env_kwargs, "max_episode_steps": min(self._limit + 1, NO_LIMIT)},
        )

    def _observation(self, state: list[np.ndarray]) -> VecEnvObs:
        """Return the observation in EnvPool's state, in the space's shape and dtype."""
        parts = {
            key: state[at].astype(dtype, copy=False).reshape(shape)
            for key, at, shape, dtype in self._obs_layout
        }
        return parts if isinstance(self.observation_space, spaces.Dict) else parts[""]

    def _refuse_step(self) -> NoReturn:
        """Raise an error that explains why no step can start now."""
        if self._closed:
            raise RuntimeError("this EnvPoolVecEnv is closed: construct a new one")
        if self._waiting:
            raise RuntimeError("a step is already in progress: call step_wait() first")
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
    """Return each part's key, position in EnvPool's state, shape (-1, ...) and dtype."""
    layout = []
    for key, at in obs_index.items():
        part = space[key] if isinstance(space, spaces.Dict) else space
        layout.append((key, at, (-1, *(part.shape or ())), part.dtype))
    return layout


def _rows(obs: VecEnvObs, rows: Any) -> Any:
    """Return some environments' rows of an observation, or of each part of a Dict."""
    if isinstance(obs, dict):
        return {key: part[rows] for key, part in obs.items()}
    return np.asarray(obs)[rows]


def _as_int32(seed: int) -> int:
    """Return the int32 whose bits are the lowest 32 of the seed."""
    return (int(seed) + 2**31) % 2**32 - 2**31
