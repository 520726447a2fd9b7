"""EnvPool's description of an environment, compared with Gymnasium's."""

import difflib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sb3_course.envs.gymnasium_env import make_env

Space = spaces.Space[Any]

#: EnvPool writes "no limit" as the largest int32.
NO_LIMIT = int(np.iinfo(np.int32).max)

#: Arguments that the adapter sets itself, with what a caller should know instead.
_RESERVED = {
    "num_envs": "use n_envs",
    "env_seed": "use seed, or call seed()",
    "batch_size": "only synchronous stepping is supported, where every environment steps",
    "max_num_players": "only single-player environments are supported",
    "gym_reset_return_info": "it is always on",
}


class UnsupportedEnvError(ValueError):
    """Error for an environment that EnvPool cannot run as Gymnasium does."""


@dataclass(frozen=True)
class EnvPoolSpec:
    """Everything that the adapter needs to know before it builds a pool.

    :param observation_space: Observation space of one environment, as in Gymnasium
    :param action_space: Action space of one environment, as in Gymnasium
    :param max_episode_steps: Environment steps until truncation, or None if there is no limit
    :param gym_spec: Gymnasium's registration, or None if Gymnasium cannot make the environment
    :param obs_index: Positions in ``pool._recv()`` of the observation's parts by their keys; the
        key is empty unless the space is a Dict
    :param index: Positions in ``pool._recv()`` of all arrays by their names
    :param action_dtype: Data type in which EnvPool takes actions
    """

    observation_space: Space
    action_space: Space
    max_episode_steps: int | None
    gym_spec: Any
    obs_index: dict[str, int]
    index: dict[str, int]
    action_dtype: np.dtype[Any]


def import_envpool() -> Any:
    """Import EnvPool on first use.

    :return: Module ``envpool``
    :raises ImportError: If it is not installed, with the command that installs it
    """
    try:
        import envpool
    except ImportError as error:
        raise ImportError(
            "EnvPool is not installed: pip install 'sb3-course[envpool]' (Python 3.11 or newer), "
            'or use backend="dummy"'
        ) from error
    return envpool


def read_spec(env_id: str, env_kwargs: Mapping[str, Any]) -> EnvPoolSpec:
    """Look an environment up in EnvPool and in Gymnasium, without building a pool.

    :param env_id: Environment id, the same in both
    :param env_kwargs: Keyword arguments of the environment that both understand
    :return: Description on which both agree
    :raises ImportError: If EnvPool is not installed
    :raises UnsupportedEnvError: If EnvPool lacks the environment or one of the keyword arguments,
        or has the environment with spaces other than Gymnasium's
    :raises ValueError: If a keyword argument is one that the adapter sets itself
    """
    pool_spec = _pool_spec(env_id, env_kwargs)
    obs_index = _observation_index(env_id, pool_spec)
    action_key = pool_spec._action_keys[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Box warns that it lowers the precision of bounds
        pool_obs, pool_act = pool_spec.observation_space, pool_spec.action_space
    limit: int | None = int(pool_spec.config.max_episode_steps)
    limit = None if limit == NO_LIMIT else limit
    made = _gymnasium_env(env_id, env_kwargs)
    if made is None:
        obs_space, act_space, gym_spec = _cleaned(pool_obs), _cleaned(pool_act, action=True), None
    else:
        obs_space, act_space, gym_spec = made.observation_space, made.action_space, made.spec
        _check_agreement(env_id, "observation", pool_obs, obs_space)
        _check_agreement(env_id, "action", pool_act, act_space)
        limit = gym_spec.max_episode_steps
        limit = None if limit == -1 else limit  # gymnasium.make's value for no limit
    return EnvPoolSpec(
        observation_space=obs_space,
        action_space=act_space,
        max_episode_steps=limit,
        gym_spec=gym_spec,
        obs_index=obs_index,
        index={key: i for i, key in enumerate(pool_spec._state_keys)},
        action_dtype=np.dtype(pool_spec.action_array_spec[action_key].dtype),
    )


def _pool_spec(env_id: str, env_kwargs: Mapping[str, Any]) -> Any:
    """Return EnvPool's own specification, after the checks that need nothing else."""
    for name in _RESERVED.keys() & env_kwargs.keys():
        raise ValueError(f"env_kwargs must not hold {name!r}: {_RESERVED[name]}")
    if env_kwargs.get("render_mode") is not None:
        raise UnsupportedEnvError(f'{env_id} on EnvPool does not render: use backend="dummy"')
    if "xml_file" in env_kwargs:
        raise UnsupportedEnvError(
            'EnvPool reads an xml_file from a folder of its own only: use backend="dummy"'
        )
    envpool = import_envpool()
    known = envpool.list_all_envs()
    if env_id not in known:
        near = difflib.get_close_matches(str(env_id), known, n=3)
        hint = f"; near matches: {', '.join(near)}" if near else ""
        raise UnsupportedEnvError(
            f'EnvPool {envpool.__version__} does not have {env_id!r}{hint}. backend="dummy" '
            "supports every environment that Gymnasium has"
        )
    kwargs = {key: value for key, value in env_kwargs.items() if key != "render_mode"}
    try:
        spec = envpool.make_spec(env_id, num_envs=1, **kwargs)
    except TypeError as error:
        known_kwargs = envpool.make_spec(env_id, num_envs=1)._config_keys
        what = [f"no {name}" for name in kwargs if name not in known_kwargs]
        raise UnsupportedEnvError(
            f"EnvPool's {env_id} does not take env_kwargs {sorted(kwargs)}: it has "
            f"{', '.join(what) or 'them with values of other types'}. "
            'backend="dummy" passes them on to Gymnasium'
        ) from error
    if spec.config.max_num_players != 1:
        raise UnsupportedEnvError(f"{env_id} has more than one player, but SB3 trains one")
    if len(spec._action_keys) != 3:
        raise UnsupportedEnvError(f"{env_id} takes a Dict of actions, which SB3 does not support")
    return spec


def _observation_index(env_id: str, pool_spec: Any) -> dict[str, int]:
    """Return the observation's positions in EnvPool's state, by key of a Dict observation."""
    found = [(i, key) for i, key in enumerate(pool_spec._state_keys) if key.startswith("obs")]
    if len(found) == 1:
        return {"": found[0][0]}
    names = {key.removeprefix("obs:"): i for i, key in found}
    if any(":" in name or "." in name for name in names):
        raise UnsupportedEnvError(
            f"{env_id} has nested Dict observations, but SB3 supports only flat ones"
        )
    return names


def _gymnasium_env(env_id: str, env_kwargs: Mapping[str, Any]) -> Any:
    """Return Gymnasium's environment, already closed, or None if it cannot be made here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a newer version of the environment exists
        try:
            env = make_env(env_id, disable_env_checker=True, **env_kwargs)
        except (gym.error.Error, ImportError):
            return None
        except TypeError as error:
            raise UnsupportedEnvError(
                f"Gymnasium's {env_id} does not take env_kwargs {sorted(env_kwargs)}, so a model "
                f"trained with them could not be played there: {error}"
            ) from error
    env.close()
    return env


def _check_agreement(env_id: str, what: str, pool: Space, gymnasium: Space) -> None:
    if not _agree(pool, gymnasium):
        raise UnsupportedEnvError(
            f"{env_id}: EnvPool's {what} space {pool} does not fit Gymnasium's {gymnasium}; "
            'use backend="dummy"'
        )


def _agree(pool: Space, gymnasium: Space) -> bool:
    """Return whether values of both spaces have the same layout, ignoring bounds and dtypes."""
    if isinstance(gymnasium, spaces.Dict):
        return (
            isinstance(pool, spaces.Dict)
            and pool.spaces.keys() == gymnasium.spaces.keys()
            and all(_agree(pool[key], gymnasium[key]) for key in gymnasium.spaces)
        )
    if isinstance(gymnasium, spaces.Discrete) and isinstance(pool, spaces.Discrete):
        return bool(pool.n == gymnasium.n and pool.start == gymnasium.start)
    return pool.shape is not None and pool.shape == gymnasium.shape


def _cleaned(space: Space, action: bool = False) -> Space:
    """Return EnvPool's space in Gymnasium's conventions.

    A bound at the end of the floating-point range means that there is none (as does the smallest
    positive number, which C++ calls ``min``), and continuous actions are float32.

    :param space: Space of EnvPool
    :param action: Whether it is the action space
    :return: Space with infinite bounds where there are none
    """
    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: _cleaned(sub) for key, sub in space.spaces.items()})
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        return space
    limits = np.finfo(space.dtype)  # type: ignore[arg-type, unused-ignore]
    low = np.where((space.low <= limits.min) | (space.low == limits.tiny), -np.inf, space.low)
    high = np.where(space.high >= limits.max, np.inf, space.high)
    dtype: Any = np.float32 if action else space.dtype
    return spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)
