"""Gymnasium's vector environments as an SB3 ``VecEnv``."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import (
    VecEnv,
    VecEnvIndices,
    VecEnvObs,
    VecEnvStepReturn,
)

NEXT_STEP, SAME_STEP = "NextStep", "SameStep"


class UnsupportedVectorEnvError(ValueError):
    """Error for a vector environment that cannot reset some of its environments alone."""


class GymnasiumVecEnv(VecEnv):
    """Gymnasium's vector environment, with the semantics of SB3's ``DummyVecEnv``.

    SB3 wants the first observation of the next episode in the step that ends one. Gymnasium's
    vector environments have three autoreset modes:

    =============  ================================================================================
    mode           what is done
    =============  ================================================================================
    ``SAME_STEP``  they do the same as SB3: the last observation and info are moved
    ``NEXT_STEP``  they would reset with the next step, and drop its action: the environments whose
                   episode ended are reset at once, by ``reset(options={"reset_mask": …})``
    ``DISABLED``   the same
    =============  ================================================================================

    A vector environment that knows no ``reset_mask`` would reset all of its environments, or none.
    It is refused, unless there is only one environment in it.

    Rewards are float32, and ``infos[i]["episode"]`` is that of a ``Monitor`` around the
    environments, or else the sum of the rewards that the vector environment returns.

    :param vector_env: Vector environment
    :raises UnsupportedVectorEnvError: If it cannot reset some of its environments alone
    """

    def __init__(self, vector_env: "gym.vector.VectorEnv[Any, Any, Any]") -> None:
        self.vector_env = vector_env
        mode = (vector_env.metadata or {}).get("autoreset_mode", NEXT_STEP)
        self._same_step = getattr(mode, "value", mode) == SAME_STEP
        self._is_plain = type(vector_env) in (gym.vector.SyncVectorEnv, gym.vector.AsyncVectorEnv)
        self._is_async = type(vector_env) is gym.vector.AsyncVectorEnv
        super().__init__(
            vector_env.num_envs, vector_env.single_observation_space, vector_env.single_action_space
        )
        self._actions: Any = None
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)
        self._t_start = time.time()
        if not (self._same_step or self._is_plain):
            self._check_partial_reset()

    @property
    def envs(self) -> "list[gym.Env[Any, Any]] | None":
        """Environments inside, or None if they are out of reach."""
        inner = self.vector_env.unwrapped
        return list(inner.envs) if isinstance(inner, gym.vector.SyncVectorEnv) else None

    def reset(self) -> VecEnvObs:
        """Start a new episode in every environment.

        :return: First observations, of shape (n_envs, ...), or a dict of such arrays
        :raises NotImplementedError: If the environments have different reset options
        """
        options = self._options[0]
        if any(other != options for other in self._options):
            raise NotImplementedError("Gymnasium's vector environments share their reset options")
        seeds: Any = self._seeds
        if seeds[0] is None:
            seeds = None
        elif self.envs is None and not self._is_async:
            seeds = seeds[0]  # as Gymnasium declares it
        obs, infos = self.vector_env.reset(seed=seeds, options=options or None)
        self._returns[:], self._lengths[:] = 0.0, 0
        self.reset_infos = _by_environment(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        first: VecEnvObs = _copied(obs)
        return first

    def step_async(self, actions: np.ndarray) -> None:
        """Start a step, which Gymnasium's processes run at once if there are any.

        :param actions: Actions of the action space, of shape (n_envs, ...)
        """
        self._actions = actions
        if self._is_async:
            self.vector_env.step_async(actions)  # type: ignore[attr-defined]

    def step_wait(self) -> VecEnvStepReturn:
        """Finish the step that :meth:`step_async` started.

        :return: Observations (n_envs, ...), rewards (n_envs,) float32, dones (n_envs,) bool, and
            one info dict per environment, as those of ``DummyVecEnv``
        """
        if self._is_async:
            outcome = self.vector_env.step_wait()  # type: ignore[attr-defined]
        else:
            outcome = self.vector_env.step(self._actions)
        obs, raw, terminated, truncated, infos = outcome
        rewards = np.array(raw, dtype=np.float64)  # copies: a partial reset may overwrite buffers
        terminated, truncated = np.array(terminated, dtype=bool), np.array(truncated, dtype=bool)
        dones = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        obs = _copied(obs)
        last = {key: infos.pop(key, None) for key in _FINAL} if self._same_step else {}
        by_env = _by_environment(infos, self.num_envs)
        if dones.any():
            obs = self._finish_episodes(obs, dones, last, by_env)
        for i, info in enumerate(by_env):
            info["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
        return obs, rewards.astype(np.float32), dones, by_env

    def _finish_episodes(
        self, obs: Any, dones: np.ndarray, last: dict[str, Any], infos: list[dict[str, Any]]
    ) -> Any:
        """Return the observations to act on, and fill in the infos of the episodes that ended."""
        ended = np.flatnonzero(dones)
        if self._same_step:
            if last["final_obs"] is None:
                raise KeyError(
                    f"{self.vector_env} resets within the step, but its infos have no 'final_obs', "
                    "the last observations of the episodes that ended"
                )
            final = _by_environment(last["final_info"] or {}, self.num_envs)
            for i in ended:
                self.reset_infos[i] = infos[i]
                infos[i] = {**final[i], "terminal_observation": _of(last["final_obs"], i)}
        else:
            for i in ended:
                infos[i]["terminal_observation"] = _row(obs, i)
            obs, reset_infos = self._reset_some(obs, dones)
            for i in ended:
                self.reset_infos[i] = reset_infos[i]
        seconds = round(time.time() - self._t_start, 6)
        wrapped = self.vector_env is not self.vector_env.unwrapped
        for i in ended:
            if wrapped or "episode" not in infos[i]:
                infos[i]["episode"] = {
                    "r": round(float(self._returns[i]), 6),
                    "l": int(self._lengths[i]),
                    "t": seconds,
                }
        self._returns[ended], self._lengths[ended] = 0.0, 0
        return obs

    def _reset_some(self, obs: Any, which: np.ndarray) -> tuple[Any, list[dict[str, Any]]]:
        """Reset some environments; return the observations of all, and the infos."""
        options = None if which.all() else {"reset_mask": which.copy()}
        first, infos = self.vector_env.reset(options=options)
        first = _copied(first)
        for i in np.flatnonzero(~which):
            if not _equal(_row(first, i), _row(obs, i)):
                raise UnsupportedVectorEnvError(
                    f"{self.vector_env} resets with the next step, and its reset() knows no "
                    "reset_mask, so that no single environment can be reset in time for SB3; "
                    "allowed: one environment, autoreset_mode=SAME_STEP, or a SyncVectorEnv, as of "
                    "gymnasium.make_vec(…, vectorization_mode='sync')"
                )
        return first, _by_environment(infos, self.num_envs)

    def _check_partial_reset(self) -> None:
        """Reset all environments but the last, which must not change."""
        which = np.arange(self.num_envs) < self.num_envs - 1
        if which.any():
            obs, _ = self.vector_env.reset()  # without a seed, which would outlast the check
            self._reset_some(_copied(obs), which)

    def close(self) -> None:
        """Close the environments."""
        self.vector_env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return an image of each environment, None where there is none."""
        images: Any = self.vector_env.render()
        return [None] * self.num_envs if images is None else list(images)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the environments.

        :param attr_name: Name of the attribute
        :param indices: Indices of the environments, or None for all
        :return: Value of the attribute, once for each selected environment; of a vector environment
            without single ones its own value
        """
        inner = self.vector_env.unwrapped
        if isinstance(inner, (gym.vector.SyncVectorEnv, gym.vector.AsyncVectorEnv)):
            values = list(inner.get_attr(attr_name))
        else:
            values = [getattr(inner, attr_name)] * self.num_envs
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the environments.

        :param attr_name: Name of the attribute
        :param value: New value
        :param indices: Indices of the environments, or None for all
        :raises NotImplementedError: If the vector environment has no single environments
        """
        inner = self.vector_env.unwrapped
        if not isinstance(inner, (gym.vector.SyncVectorEnv, gym.vector.AsyncVectorEnv)):
            raise NotImplementedError(f"{self.vector_env} has no environments to set attributes of")
        values: list[Any] = [value] * self.num_envs
        if indices is not None:
            values = list(inner.get_attr(attr_name))
            for i in self._get_indices(indices):
                values[i] = value
        inner.set_attr(attr_name, values)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        r"""Call a method of the environments.

        :param method_name: Name of the method
        :param \*method_args: Its positional arguments
        :param indices: Indices of the environments, or None for all
        :param \**method_kwargs: Its keyword arguments
        :return: What it returns, once for each selected environment
        :raises NotImplementedError: If the environments are out of reach, or can only be called
            together
        """
        envs, chosen = self.envs, list(self._get_indices(indices))
        if envs is not None:
            methods = [envs[i].get_wrapper_attr(method_name) for i in chosen]
            return [method(*method_args, **method_kwargs) for method in methods]
        inner = self.vector_env.unwrapped
        if not isinstance(inner, gym.vector.AsyncVectorEnv) or len(chosen) < self.num_envs:
            raise NotImplementedError(f"{self.vector_env} cannot call {method_name!r} of {chosen}")
        return list(inner.call(method_name, *method_args, **method_kwargs))

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return whether the environments are wrapped.

        :param wrapper_class: Gymnasium wrapper; for ``Monitor`` the answer is yes, since
            ``infos[i]["episode"]`` is as it would be
        :param indices: Indices of the environments, or None for all
        :return: Answer for each selected environment; no where it is out of reach
        """
        envs, chosen = self.envs, list(self._get_indices(indices))
        if wrapper_class is Monitor or envs is None:
            return [wrapper_class is Monitor] * len(chosen)
        return [is_wrapped(envs[i], wrapper_class) for i in chosen]


_FINAL = ("final_obs", "final_info", "_final_obs", "_final_info")


def _by_environment(infos: Mapping[str, Any], n: int) -> list[dict[str, Any]]:
    """Split a vector environment's infos, in which ``_key`` says who has ``key``."""
    split: list[dict[str, Any]] = [{} for _ in range(n)]
    for key, value in infos.items():
        if key.startswith("_") and key[1:] in infos:
            continue
        has = infos.get(f"_{key}", np.ones(n, dtype=bool))
        rows: Any = [value] * n
        if isinstance(value, Mapping):
            rows = _by_environment(value, n)
        elif isinstance(value, (np.ndarray, list, tuple)) and len(value) == n:
            rows = value.copy() if isinstance(value, np.ndarray) else value
        for i in np.flatnonzero(has):
            split[i][key] = rows[i]
    return split


def _copied(obs: Any) -> Any:
    if isinstance(obs, Mapping):
        return {key: _copied(part) for key, part in obs.items()}
    return obs if isinstance(obs, tuple) else np.array(obs)


def _row(obs: Any, i: Any) -> Any:
    """Return one environment's observation from those of all."""
    if isinstance(obs, Mapping):
        return {key: _row(part, i) for key, part in obs.items()}
    return obs[i].copy() if isinstance(obs, np.ndarray) else obs[i]


def _of(final: Any, i: Any) -> Any:
    """Return one environment's last observation, which is a row or an object of its own."""
    return final[i] if isinstance(final, np.ndarray) and final.dtype == object else _row(final, i)


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Mapping):
        return all(_equal(first[key], second[key]) for key in first)
    first, second = np.asarray(first), np.asarray(second)
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
