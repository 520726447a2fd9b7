"""The files ``monitor.csv`` that SB3's ``Monitor`` writes, one for each parallel environment.

Each line is a training episode: its return ``r``, its length ``l`` and the second ``t`` at which it
ended. The episodes of all files are put in the order of time; then the steps taken when episode i
ends are counted as

    Tᵢ = l₁ + … + lᵢ,

which leaves out the steps of episodes that have not ended, as SB3's own ``ts2xy`` does. The steps
from 0 to T are cut into equal windows, :data:`MOST_WINDOWS` at most and so many that each has
:data:`EPISODES` episodes on average. A window is one point: the mean of the episodes that ended in
it, at its right end, so that no return is dated before it was reached. A window in which none ended
is no point.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sb3_course.benchmark.logs.csv_text import read_csv
from sb3_course.benchmark.logs.points import MOST_STEPS, going_on, points
from sb3_course.common.errors import UserError

MOST_WINDOWS = 50
EPISODES = 5

Array = NDArray[np.float64]


class Episodes(NamedTuple):
    """Training episodes in the order in which they ended.

    :param returns: Undiscounted return of each episode
    :param lengths: Number of steps of each
    :param ends: Time at which each ended, in seconds since 1970
    :param start: Time at which the environments were made, in seconds since 1970
    """

    returns: Array
    lengths: Array
    ends: Array
    start: float


def read_monitors(paths: Sequence[Path]) -> pd.DataFrame:
    """Read the training episodes of a run.

    :param paths: Files of its environments, at least one
    :return: Points of the run, see :func:`.points`; times count from when its environments were
        made
    :raises UserError: A file is not such a file; gives the reason, after the file's name
    """
    files = []
    for path in paths:
        try:
            files.append(read_monitor(path))
        except UserError as error:
            raise UserError(f"{path.name}: {error}") from error
    return windows(merged(files))


def read_monitor(path: Path) -> Episodes:
    """Read the episodes of one environment.

    :param path: The file
    :return: Its episodes; where the clock restarted, as in a run that was resumed, it goes on
    :raises UserError: It is not such a file; gives the reason alone
    """
    table = read_csv(path, still_written=True)
    returns, lengths, times = (np.array(table.numbers(name)) for name in "rlt")
    if not (np.isfinite(times).all() and (lengths >= 1).all() and lengths.sum() < MOST_STEPS):
        raise UserError("a length below 1, or a time or length that is no finite number")
    if (lengths != np.floor(lengths)).any():
        raise UserError("a length that is no whole number of steps")
    for line, value in zip(table.lines, returns.tolist(), strict=True):
        if not math.isfinite(value):
            raise UserError(f"line {line}: the return is {value}, no finite number")
    start = _started(table.comment)
    return Episodes(returns, lengths, start + going_on(times), start)


def merged(files: Sequence[Episodes]) -> Episodes:
    """Merge the episodes of parallel environments by the time at which they ended.

    :param files: Episodes of each environment
    :return: All episodes
    """
    returns, lengths, ends = (np.concatenate([file[i] for file in files]) for i in range(3))
    order = np.argsort(ends, kind="stable")
    start = min(file.start for file in files)
    return Episodes(returns[order], lengths[order], ends[order], start)


def windows(episodes: Episodes) -> pd.DataFrame:
    """Average training episodes over equal windows of steps, as this module describes.

    :param episodes: Episodes of a run
    :return: Points of the run, see :func:`.points`
    :raises UserError: No episode has ended
    """
    n_episodes = len(episodes.returns)
    if not n_episodes:
        raise UserError("no episode has ended")
    taken = np.cumsum(episodes.lengths).astype(np.int64)
    total, n = int(taken[-1]), min(MOST_WINDOWS, max(2, n_episodes // EPISODES))
    window = (taken * n - 1) // total
    groups = pd.DataFrame(
        {"r": episodes.returns, "l": episodes.lengths, "end": episodes.ends}
    ).groupby(window)
    ends = [-(-total * (k + 1) // n) for k in np.unique(window).tolist()]
    return points(
        ends,
        groups["r"].mean().to_numpy(),
        deviations=np.asarray(groups["r"].std(ddof=0), dtype=np.float64),
        lengths=groups["l"].mean().to_numpy(),
        seconds=(groups["end"].max() - episodes.start).to_numpy(),
    )


def _started(comment: str) -> float:
    """Return when an environment was made according to its file's first line, 0 if unknown."""
    start = header(comment).get("t_start")
    return float(start) if isinstance(start, int | float) and 0 <= start < 2**40 else 0.0


def header(comment: str) -> dict[str, object]:
    """Return the facts in a file's first line.

    :param comment: The line, without its ``#``
    :return: Such as ``t_start`` and ``env_id``; empty if it is no JSON
    """
    try:
        facts = json.loads(comment[:10_000])
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
