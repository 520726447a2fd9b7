"""Demonstrations from files and other libraries, as two arrays that fit an environment's spaces."""

import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch as th
from gymnasium import spaces
from imitation.data.types import DictObs, Trajectory, TransitionsMinimal

from sb3_course.collection.observations import Array, Obs, join, map_obs, select
from sb3_course.common.errors import UserError
from sb3_course.common.validation import check_spaces
from sb3_course.imitation.cs285 import load_cs285_demonstrations
from sb3_course.imitation.dataset import KEY, Dataset
from sb3_course.imitation.fitting import fit_actions, fit_observations

Demonstrations: TypeAlias = Any
"""Demonstrations of any kind that :func:`arrays_of` takes."""

NAMES = (
    ("obs", "acts"),
    ("obs", "actions"),
    ("observation", "action"),
    ("observations", "actions"),
)
"""Names of observations and actions in the libraries that store them."""

Pair: TypeAlias = tuple[Obs, Array]
"""Observations and actions of one item, in as many rows."""

MOST_EMPTY = 1_000
"""Maximum number of items without a transition in a row."""

MINARI = "minari:"
ALLOWED = "a .npz, a .pkl, a folder or minari:NAME"


def load_demonstrations(source: str | Path) -> Demonstrations:
    """Load demonstrations from a file.

    ==================  ====================================================================
    source              content
    ==================  ====================================================================
    ``FILE.npz``        plain arrays ``obs`` and ``acts`` (or ``actions``, ``observations``,
                        …); ``obs:KEY`` for each key of Dict observations
    ``FILE.npz``        trajectories that ``imitation`` saved before it wrote folders; their
                        ``infos``, which are pickled, stay unread
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
        ``actions``, …), an iterable of such objects, which is read to its end, or a source for
        :func:`load_demonstrations`
    :param observation_space: Observation space of the environment, without normalization
    :param action_space: Action space of the environment
    :return: Observations, of shape (M, …) or a dict of such arrays, and actions as returned by
        :func:`.fit_actions`
    :raises UserError: If there are none, they do not fit the spaces, or are not finite
    """
    return _some(Source(demonstrations, observation_space, action_space).read())


class Source:
    """Demonstrations of any kind, read in order and no further than they are used.

    What has a length is read whole. An iterable without one, such as a generator, may be endless:
    of it as many items are read as hold the transitions that are asked for.

    :param demonstrations: As in :func:`arrays_of`
    :param observation_space: Observation space of the environment, without normalization
    :param action_space: Action space of the environment
    :raises UserError: If the demonstrations are of no known kind, or declare other spaces
    """

    def __init__(
        self,
        demonstrations: Demonstrations,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
    ) -> None:
        if isinstance(demonstrations, (str, Path)):
            demonstrations = load_demonstrations(demonstrations)
        self._spaces = observation_space, action_space
        check_spaces("demonstrations do", demonstrations, *self._spaces)
        items, self._has_end = _items(demonstrations)
        self._items: Iterator[Any] = iter(items)
        self._failure: BaseException | None = None

    def fill(self, dataset: Dataset, n: float) -> Obs | None:
        """Read on until a data set has n transitions, or is full, or there is nothing left to read.

        :param dataset: Data set to add to
        :param n: Number of transitions to have in the end; infinite only if there is an end
        :return: Observations that were added; None if none were
        :raises UserError: If they do not fit the spaces, are not finite, or the data set is empty
            and stays so, or all of what may be endless were to be read
        """
        if math.isinf(n) and not self._has_end and dataset.capacity is None:
            raise UserError(
                "demonstrations without a length may be endless, and are read as far as they are "
                "used: total_timesteps must be finite"
            )
        missing = min(n, dataset.capacity or n) - dataset.size
        pair = self.read(math.inf if self._has_end else missing) if missing > 0 else None
        if pair is None and dataset.size > 0:
            return None
        obs, actions = _some(pair)
        dataset.add(obs, actions)
        return obs

    def read(self, n: float = math.inf) -> Pair | None:
        """Read n or a few more transitions, the rest of the last item, or as many as there are.

        :param n: Number of transitions, at least 1; infinite for all
        :return: Observations and actions as of :func:`arrays_of`; None if there is nothing left
        :raises UserError: If they do not fit the spaces, or are not finite, or could not be read
            to the end before: what an iterator has returned does not come again
        """
        if self._failure is not None:
            what = str(self._failure) or type(self._failure).__name__
            raise UserError(f"reading the demonstrations ended ({what}); set them anew")
        try:
            return self._read(n)
        except BaseException as error:  # Ctrl-C ends a generator as well
            self._failure = error
            raise

    def _read(self, n: float) -> Pair | None:
        pairs: list[Pair] = []
        rows = empty = 0
        for item in self._items:
            pair = _pair(item)
            empty = 0 if len(pair[1]) else empty + 1
            if empty > MOST_EMPTY:
                raise UserError(f"more than {MOST_EMPTY:,} demonstrations in a row are empty")
            if empty:
                continue
            pairs.append(pair)
            if _kind(pair) != _kind(pairs[0]):
                raise UserError(f"demonstrations mix {_kind(pairs[0])} and {_kind(pair)}")
            rows += len(pair[1])
            if rows >= n:
                break
        if not rows:
            return None
        obs = fit_observations(join([obs for obs, _ in pairs]), self._spaces[0])
        return obs, fit_actions(np.concatenate([a for _, a in pairs]), self._spaces[1])

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave a copy or a pickle nothing more to read: a generator is in one place only."""
        return Source, ((), *self._spaces)


def _some(pair: Pair | None) -> Pair:
    if pair is None:
        raise UserError("there are no demonstrations: no transition was given")
    return pair


def _items(demonstrations: Demonstrations) -> tuple[Iterable[Any], bool]:
    """Return the items, and whether it is certain that they come to an end."""
    if isinstance(demonstrations, (TransitionsMinimal, Mapping, Trajectory)):
        return [demonstrations], True
    if hasattr(demonstrations, "iterate_episodes"):  # Minari's data sets
        return demonstrations.iterate_episodes(), True
    if isinstance(demonstrations, Iterable):
        return demonstrations, _has_length(demonstrations)
    raise UserError(f"{type(demonstrations).__name__} is not a known kind of demonstrations")


def _has_length(items: Any) -> bool:
    """Return whether items can be counted; a ``DataLoader`` of an endless stream has a ``len``."""
    try:
        return len(items) >= 0
    except TypeError:
        return False


def _pair(item: Any) -> Pair:
    """Return one item's observations and actions, without a last observation that has no action."""
    get = item.get if isinstance(item, Mapping) else lambda name: getattr(item, name, None)
    for names in NAMES:
        obs, actions = map(get, names)
        if obs is None or actions is None:
            continue
        try:
            obs = map_obs(_array, obs.unwrap() if isinstance(obs, DictObs) else obs)
            actions = _array(actions)
        except (TypeError, ValueError, RuntimeError) as error:  # as of rows of several lengths
            what = f"{' and '.join(names)} are no arrays ({error})"
            raise UserError(f"{what}; allowed: one object for each episode") from error
        _check_rows(obs, actions)
        return select(obs, slice(len(actions))), actions
    keys = f" with the keys {sorted(map(str, item))}" if isinstance(item, Mapping) else ""
    raise UserError(
        f"a {type(item).__name__}{keys} holds no demonstrations; allowed: objects with "
        + ", or ".join(" and ".join(names) for names in NAMES)
    )


def _array(values: Any) -> Array:
    """Return values as an array, those of a tensor from wherever it is."""
    if isinstance(values, th.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == th.bfloat16 else values  # unknown to NumPy
    if np.ma.is_masked(values):
        raise ValueError("some of their values are masked")
    return np.asarray(values)


def _kind(pair: Pair) -> str:
    """Return what pairs that are joined have in common, in words."""
    obs, actions = pair
    if not isinstance(obs, dict):
        return f"observations of shape {obs.shape[1:]} with actions of shape {actions.shape[1:]}"
    columns = ", ".join(f"{key!r} of shape {obs[key].shape[1:]}" for key in sorted(obs))
    return f"Dicts of {columns or 'nothing'} with actions of shape {actions.shape[1:]}"


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


def _load_npz(path: Path) -> Demonstrations:
    try:
        if not zipfile.is_zipfile(path):  # of which NumPy advises to read a pickle
            raise ValueError("it is no zip file")
        with np.load(path, allow_pickle=False) as file:
            names = [n for pair in NAMES for n in pair if n in file] + [
                name for name in file if name.startswith(KEY)
            ]
            arrays = {name: file[name] for name in dict.fromkeys(names)}
            ends = file["indices"] if {"indices", "terminal"} <= set(file) else None
    except Exception as error:  # NumPy, zipfile and zlib fail at damage in many ways
        raise UserError(f"{path} is not a file of plain arrays: {error}") from error
    if ends is not None and {"obs", "acts"} <= arrays.keys():
        return _trajectories(path, arrays["obs"], arrays["acts"], ends)
    keys = {n.removeprefix(KEY): arrays.pop(n) for n in list(arrays) if n.startswith(KEY)}
    return arrays | ({"obs": keys} if keys else {})


def _trajectories(path: Path, obs: Array, acts: Array, ends: Array) -> list[dict[str, Array]]:
    """Divide trajectories that follow each other, each with one more observation than actions.

    :param path: File, for messages
    :param obs: Observations, of shape (M + N, …), of N trajectories
    :param acts: Actions, of shape (M, …)
    :param ends: Where each trajectory but the last ends among the actions, of shape (N - 1,)
    :return: Trajectories
    """
    bounds = [0, *np.ravel(ends).tolist(), len(acts)] if acts.ndim and obs.ndim else []
    whole = np.ravel(ends).dtype.kind in "iu" or ends.size == 0
    if not (bounds and whole and bounds == sorted(bounds)):
        raise UserError(f"{path}: its indices do not divide its actions into trajectories")
    if len(obs) != len(acts) + len(bounds) - 1:
        raise UserError(
            f"{path} holds {len(obs)} observations of {len(bounds) - 1} trajectories with "
            f"{len(acts)} actions; each must have one more observation than actions"
        )
    return [
        {"obs": obs[start + i : stop + i + 1], "acts": acts[start:stop]}
        for i, (start, stop) in enumerate(pairwise(bounds))
    ]


def _load_folder(path: Path) -> list[dict[str, Array]]:
    """Read only observations and actions: the infos are jsonpickled, and could execute code."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise UserError("folders of trajectories need datasets: pip install datasets") from error
    try:
        data = datasets.load_from_disk(str(path))
        if isinstance(data, datasets.DatasetDict):
            raise ValueError(
                f"it holds the splits {', '.join(data)}; allowed: one of their folders"
            )
        rows = data.select_columns(["obs", "acts"])
        return [{name: np.asarray(row[name]) for name in ("obs", "acts")} for row in rows]
    except Exception as error:  # of a damaged folder, of many kinds
        raise UserError(f"{path} is not a folder of trajectories: {error}") from error


def _load_minari(name: str) -> Any:
    try:
        import minari
    except ModuleNotFoundError as error:
        raise UserError("Minari data sets need Minari: pip install minari") from error
    return minari.load_dataset(name, download=True)
