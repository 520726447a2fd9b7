"""What EnvPool and Gymnasium each say of an environment, and whether they agree."""

import difflib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

Space = spaces.Space[Any]

#: EnvPool writes "no limit" as the largest int32.
NO_LIMIT = int(np.iinfo(np.int32).max)

#: What the adapter sets itself, with the reason a caller is given.
_RESERVED = {
    "num_envs": "say n_envs",
    "env_seed": "say seed, or call seed()",
    "batch_size": "only synchronous stepping is supported, where every environment steps",
    "max_num_players": "only single-player environments are supported",
    "gym_reset_return_info": "it is always on",
}


class UnsupportedEnvError(ValueError):
    """EnvPool cannot stand in for Gymnasium's environment; `backend="dummy"` still can."""


@dataclass(frozen=True)
class EnvPoolSpec:
    """All that the adapter must know before it builds a pool.

    :param observation_space: of one environment, as Gymnasium has it
    :param action_space: of one environment, as Gymnasium has it
    :param max_episode_steps: environment steps until truncation, None without a limit
    :param gym_spec: Gymnasium's registration, None where Gymnasium cannot make the environment
    :param obs_index: where ``pool._recv()`` holds the observation, by name (empty: not a Dict)
    :param index: where ``pool._recv()`` holds everything else, by name
    :param action_dtype: the dtype EnvPool takes actions in
    """

    observation_space: Space
    action_space: Space
    max_episode_steps: int | None
    gym_spec: Any
    obs_index: dict[str, int]
    index: dict[str, int]
    action_dtype: np.dtype[Any]


def import_envpool() -> Any:
    """Import EnvPool when it is needed, not before.

    :return: the module ``envpool``
    :raises ImportError: where it is not installed, with the command that installs it
    """
    try:
        import envpool
    except ImportError as error:
        raise ImportError(
            "EnvPool is not installed: pip install 'sb3-course[envpool]' (Python 3.11 or newer), "
            'or take backend="dummy"'
        ) from error
    return envpool


def read_spec(env_id: str, env_kwargs: Mapping[str, Any]) -> EnvPoolSpec:
    """Look an environment up in EnvPool and in Gymnasium; build no pool.

    :param env_id: the id, the same in both
    :param env_kwargs: keyword arguments of the environment that both understand
    :return: what both agree on
    :raises ImportError: without EnvPool
    :raises UnsupportedEnvError: where EnvPool lacks the environment or one of the keyword
        arguments, or has the environment with other spaces than Gymnasium
    :raises ValueError: for a keyword argument that the adapter sets itself
    """
    pool_spec = _pool_spec(env_id, env_kwargs)
    obs_index = _observation_index(env_id, pool_spec)
    action_key = pool_spec._action_keys[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Box's word on precision
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
        limit = None if limit == -1 else limit  # how gymnasium.make is told to leave it out
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
    """EnvPool's own specification, after the checks that need nothing else."""
    for name in _RESERVED.keys() & env_kwargs.keys():
        raise ValueError(f"env_kwargs must not hold {name!r}: {_RESERVED[name]}")
    if env_kwargs.get("render_mode") is not None:
        raise UnsupportedEnvError(f'{env_id} on EnvPool does not render: take backend="dummy"')
    envpool = import_envpool()
    known = envpool.list_all_envs()
    if env_id not in known:
        near = difflib.get_close_matches(str(env_id), known, n=3)
        hint = f"; near matches: {', '.join(near)}" if near else ""
        raise UnsupportedEnvError(
            f'EnvPool {envpool.__version__} does not have {env_id!r}{hint}. backend="dummy" '
            "takes any environment that Gymnasium has"
        )
    kwargs = {key: value for key, value in env_kwargs.items() if key != "render_mode"}
    try:
        spec = envpool.make_spec(env_id, num_envs=1, **kwargs)
    except TypeError as error:
        raise UnsupportedEnvError(
            f"EnvPool's {env_id} does not take env_kwargs {sorted(kwargs)}: {error}. "
            'backend="dummy" passes them on to Gymnasium'
        ) from error
    if spec.config.max_num_players != 1:
        raise UnsupportedEnvError(f"{env_id} has more than one player: SB3 trains one")
    if len(spec._action_keys) != 3:
        raise UnsupportedEnvError(f"{env_id} takes a Dict of actions, which SB3 does not support")
    return spec


def _observation_index(env_id: str, pool_spec: Any) -> dict[str, int]:
    """Positions of the observation in EnvPool's state, keyed by the name within a Dict."""
    found = [(i, key) for i, key in enumerate(pool_spec._state_keys) if key.startswith("obs")]
    if len(found) == 1:
        return {"": found[0][0]}
    names = {key.removeprefix("obs:"): i for i, key in found}
    if any(":" in name or "." in name for name in names):
        raise UnsupportedEnvError(f"{env_id} has nested Dict observations: SB3 takes flat ones")
    return names


def _gymnasium_env(env_id: str, env_kwargs: Mapping[str, Any]) -> Any:
    """Gymnasium's environment, closed at once; None where Gymnasium cannot make it here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a newer version exists
        try:
            env = gym.make(env_id, disable_env_checker=True, **env_kwargs)
        except (gym.error.Error, ImportError):
            return None
        except TypeError as error:
            raise UnsupportedEnvError(
                f"Gymnasium's {env_id} does not take env_kwargs {sorted(env_kwargs)}, so that "
                f"nothing trained with them could be played there: {error}"
            ) from error
    env.close()
    return env


def _check_agreement(env_id: str, what: str, pool: Space, gymnasium: Space) -> None:
    if not _agree(pool, gymnasium):
        raise UnsupportedEnvError(
            f"{env_id}: EnvPool's {what} space {pool} does not fit Gymnasium's {gymnasium}; "
            'take backend="dummy"'
        )


def _agree(pool: Space, gymnasium: Space) -> bool:
    """Whether the values of both spaces have one layout, whatever bounds and dtypes say."""
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
    """EnvPool's space as Gymnasium would write it.

    A bound at the end of the floating-point range means none (also the smallest positive number,
    which C++ calls ``min``), and continuous actions are float32.
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
