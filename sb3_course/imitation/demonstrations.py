"""Demonstrations from files and other libraries, as two arrays that fit an environment's spaces."""

import math
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces
from imitation.data.types import DictObs, Trajectory, TransitionsMinimal
from stable_baselines3.common.preprocessing import maybe_transpose

from sb3_course.collection.observations import Array, Obs, compact, join, map_obs, take
from sb3_course.common.errors import UserError
from sb3_course.imitation.cs285 import load_cs285_demonstrations
from sb3_course.imitation.dataset import KEY

Demonstrations: TypeAlias = Any
"""Demonstrations of any kind that :func:`arrays_of` takes."""

NAMES = (
    ("obs", "acts"),
    ("obs", "actions"),
    ("observation", "action"),
    ("observations", "actions"),
)
"""Names of observations and actions in the libraries that store them."""

MINARI = "minari:"
ALLOWED = "a .npz, a .pkl, a folder or minari:NAME"


def load_demonstrations(source: str | Path) -> Demonstrations:
    """Load demonstrations from a file.

    ==================  ====================================================================
    source              content
    ==================  ====================================================================
    ``FILE.npz``        plain arrays ``obs`` and ``acts`` (or ``actions``, ``observations``,
                        …); ``obs:KEY`` for each key of Dict observations
    ``FILE.pkl``        paths of CS285's homework; a pickle with anything else is refused
    a folder            trajectories that ``imitation.data.serialize.save`` wrote
    ``minari:NAME``     a Minari data set, if the package ``minari`` is installed
    ==================  ====================================================================

    :param source: Path, or ``minari:NAME``
    :return: Demonstrations for ``BC(demonstrations=…)``
    :raises UserError: If there is no such file, or it holds no demonstrations
    """
    if str(source).startswith(MINARI):
        return _load_minari(str(source).removeprefix(MINARI))
    path = Path(source)
    if not path.exists():
        raise UserError(f"{path} does not exist; allowed: {ALLOWED}")
    if path.is_dir():
        return _load_folder(path)
    if path.suffix == ".npz":
        return _load_npz(path)
    if path.suffix in (".pkl", ".pickle"):
        return load_cs285_demonstrations(path)
    raise UserError(f"{path}: unknown kind of file; allowed: {ALLOWED}")


def arrays_of(
    demonstrations: Demonstrations,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
) -> tuple[Obs, Array]:
    """Convert demonstrations of any kind to arrays that a policy is trained on.

    :param demonstrations: Transitions or trajectories of ``imitation``, a Minari data set, a
        mapping with observations and actions (``obs`` and ``acts``, ``observations`` and
        ``actions``, …), a list of such objects, or a source for :func:`load_demonstrations`
    :param observation_space: Observation space of the environment, without normalization
    :param action_space: Action space of the environment
    :return: Observations, of shape (M, …) or a dict of such arrays, and actions as returned by
        :func:`fit_actions`
    :raises UserError: If there are none, they do not fit the spaces, or are not finite
    """
    if isinstance(demonstrations, (str, Path)):
        demonstrations = load_demonstrations(demonstrations)
    pairs = [_pair(item) for item in _items(demonstrations)]
    if not pairs or sum(len(actions) for _, actions in pairs) == 0:
        raise UserError("there are no demonstrations: no transition was given")
    obs = fit_observations(join([obs for obs, _ in pairs]), observation_space)
    actions = fit_actions(np.concatenate([np.asarray(a) for _, a in pairs]), action_space)
    return obs, actions


def fit_observations(obs: Obs, space: spaces.Space[Any]) -> Obs:
    """Check observations against the space, and move images' channels to where the space has them.

    :param obs: Observations, of shape (M, …), or a dict of such arrays
    :param space: Observation space
    :return: Observations that fit the space, floats as float32
    :raises UserError: If they do not fit, or are not finite
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(obs, dict) or obs.keys() != space.spaces.keys():
            given = f"have the keys {sorted(obs)}" if isinstance(obs, dict) else "are an array"
            raise UserError(
                f"the observations {given}, the environment's have the keys {sorted(space)}"
            )
        return {key: _fit_column(obs[key], sub, key) for key, sub in space.spaces.items()}
    if isinstance(obs, dict):
        raise UserError(f"the observations have keys {sorted(obs)}, the environment's have none")
    return _fit_column(obs, space, "")


def _fit_column(values: Array, space: spaces.Space[Any], key: str) -> Array:
    values = np.asarray(values)
    name = f"observations {key!r}".removesuffix(" ''")
    if isinstance(space, spaces.Box) and len(values):
        values = maybe_transpose(values, space)
    if values.shape[1:] != space.shape:
        raise UserError(
            f"the {name} have the shape {values.shape[1:]}, the environment's {space.shape}"
        )
    _check_finite(name, values)
    with np.errstate(over="ignore", invalid="ignore"):
        fitted = values.astype(space.dtype, copy=False)
    _check_finite(name, fitted)  # numbers too large for the space's floats have become infinite
    whole = fitted.dtype.kind in "iu"
    if whole and ((fitted != values).any() or not _inside(fitted, space)):
        raise UserError(
            f"the {name} are from {values.min()} to {values.max()}, the space is {space}"
        )
    return compact(fitted)


def fit_actions(actions: Array, space: spaces.Space[Any]) -> Array:
    """Check actions against the space.

    A Box's bounds are not checked: experts exceed them, and unclipped actions are learned better
    than clipped ones.

    :param actions: Actions, of shape (M, …)
    :param space: Action space
    :return: Actions of shape (M, A), float32 and not clipped, for a Box; of the space's shape for
        other spaces, int64, or float32 for MultiBinary
    :raises UserError: If they do not fit, or are not finite
    """
    actions = np.asarray(actions)
    shape = space.shape or ()
    if isinstance(space, spaces.Discrete) and actions.shape[1:] == (1,):
        actions = actions[:, 0]
    if actions.shape[1:] not in (shape, (math.prod(shape),)):
        raise UserError(
            f"the actions have the shape {actions.shape[1:]}, the environment's are {space}"
        )
    _check_finite("actions", actions)
    if isinstance(space, spaces.Box):
        return actions.reshape(len(actions), -1).astype(np.float32)
    kind = np.float32 if isinstance(space, spaces.MultiBinary) else np.int64  # as SB3 takes them
    whole = actions.reshape(-1, *shape).astype(kind)
    if (whole != actions).any() or not _inside(whole, space):
        raise UserError(
            f"the actions are from {actions.min()} to {actions.max()}, "
            f"the environment's are {space}"
        )
    return whole


def _inside(actions: Array, space: spaces.Space[Any]) -> bool:
    if isinstance(space, spaces.Box):
        return True
    low: Any = 0
    high: Any = 2
    if isinstance(space, spaces.Discrete):
        low, high = space.start, space.start + space.n
    elif isinstance(space, spaces.MultiDiscrete):
        high = space.nvec
    return bool(((actions >= low) & (actions < high)).all())


def _check_finite(what: str, values: Array) -> None:
    if values.dtype.kind not in "biuf":
        raise UserError(f"the {what} are not real numbers, but {values.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise UserError(f"the {what} of transition {row} are not finite")


def _items(demonstrations: Demonstrations) -> Iterable[Any]:
    if isinstance(demonstrations, (TransitionsMinimal, Mapping, Trajectory)):
        return [demonstrations]
    if hasattr(demonstrations, "iterate_episodes"):  # Minari's data sets
        episodes: Iterable[Any] = demonstrations.iterate_episodes()
        return episodes
    if isinstance(demonstrations, Iterable):
        return demonstrations
    raise UserError(f"{type(demonstrations).__name__} is not a known kind of demonstrations")


def _pair(item: Any) -> tuple[Obs, Array]:
    """Return one item's observations and actions, without a last observation that has no action."""
    get = item.get if isinstance(item, Mapping) else lambda name: getattr(item, name, None)
    for names in NAMES:
        obs, actions = map(get, names)
        if obs is None or actions is None:
            continue
        obs = map_obs(np.asarray, obs.unwrap() if isinstance(obs, DictObs) else obs)
        actions = np.asarray(actions)
        _check_rows(obs, actions)
        return take(obs, 0, len(actions)), actions
    raise UserError(
        f"a {type(item).__name__} holds no demonstrations; allowed: objects with "
        + ", or ".join(" and ".join(names) for names in NAMES)
    )


def _check_rows(obs: Obs, actions: Array) -> None:
    columns = list(obs.values()) if isinstance(obs, dict) else [obs]
    if actions.ndim == 0 or any(column.ndim == 0 for column in columns):
        raise UserError("demonstrations must be arrays of transitions, not a single number")
    rows = {len(column) for column in columns}
    if len(rows) != 1 or min(rows) - len(actions) not in (0, 1):
        given = " or ".join(map(str, sorted(rows))) or "no"
        raise UserError(
            f"{given} observations do not match {len(actions)} actions; allowed: as many, or one "
            "more in each episode"
        )


def _load_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            names = [n for pair in NAMES for n in pair if n in file] + [
                name for name in file if name.startswith(KEY)
            ]
            arrays = {name: file[name] for name in dict.fromkeys(names)}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a file of plain arrays: {error}") from error
    keys = {n.removeprefix(KEY): arrays.pop(n) for n in list(arrays) if n.startswith(KEY)}
    return arrays | ({"obs": keys} if keys else {})


def _load_folder(path: Path) -> list[dict[str, Array]]:
    """Read only observations and actions: the infos are jsonpickled, and could execute code."""
    import datasets

    try:
        rows = datasets.load_from_disk(str(path)).select_columns(["obs", "acts"])
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{path} is not a folder of trajectories: {error}") from error
    return [{name: np.asarray(row[name]) for name in ("obs", "acts")} for row in rows]


def _load_minari(name: str) -> Any:
    try:
        import minari
    except ModuleNotFoundError as error:
        raise UserError("Minari data sets need Minari: pip install minari") from error
    return minari.load_dataset(name, download=True)
