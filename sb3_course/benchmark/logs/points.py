"""The returns of one run along its steps, checked: rows of the table but for the run's names."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sb3_course.benchmark.storage.returns_table import episodes_text
from sb3_course.common.errors import UserError

LARGEST_LOG = 2**27
"""Bytes of the largest log file that is read."""
MOST_STEPS = 2**53

Numbers = Sequence[float] | NDArray[np.float64]


def going_on(times: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return times of a clock that goes on where it restarted, as that of a resumed run does.

    :param times: Seconds, at each begin from 0 on
    :return: Seconds since the first begin
    """
    given = np.asarray(times, dtype=np.float64)
    began = np.diff(given, prepend=0.0) < 0.0
    before = np.concatenate([[0.0], given[:-1]])
    total: NDArray[np.float64] = given + np.cumsum(before * began)
    return total


def points(
    steps: Numbers,
    means: Numbers,
    *,
    deviations: Numbers | None = None,
    lengths: Numbers | None = None,
    seconds: Numbers | None = None,
    episodes: Sequence[Sequence[float]] | None = None,
) -> pd.DataFrame:
    """Return the points of one run as a table, after checks. Of equal steps, the last one counts.

    :param steps: Environment steps that had been taken at each point
    :param means: Mean return at each point
    :param deviations: Standard deviation of the returns, None if unknown, like what follows
    :param lengths: Mean number of steps of the episodes
    :param seconds: Seconds of training until then, without those spent on evaluation
    :param episodes: Return of each episode
    :return: Table with one row per point: ``step, return_mean, return_std, episode_length,
        wall_time, num_timesteps, episode_returns``; NaN for what is unknown
    :raises UserError: There is no point, a return is not finite, or steps are no ascending numbers
    """
    if len(steps) == 0:
        raise UserError("no return in it")
    before = 0.0
    for k, (step, mean) in enumerate(zip(steps, means, strict=True), start=1):
        if not (0 <= step < MOST_STEPS and step == int(step)):
            raise UserError(f"point {k}: step {step:g}; allowed: whole numbers from 0 upwards")
        if step < before:
            raise UserError(
                f"point {k}: step {int(step):,} after step {int(before):,}; allowed: ascending "
                "steps, those of one run"
            )
        if not math.isfinite(mean):
            raise UserError(
                f"point {k}, step {int(step):,}: the return is {mean}, no finite number"
            )
        before = step
    taken = np.asarray(steps, dtype=np.int64)
    texts = None if episodes is None else list(map(episodes_text, episodes))
    table = pd.DataFrame(
        {
            "step": taken,
            "return_mean": np.asarray(means, dtype=np.float64),
            "return_std": np.nan if deviations is None else deviations,
            "episode_length": np.nan if lengths is None else lengths,
            "wall_time": np.nan if seconds is None else seconds,
            "num_timesteps": taken,
            "episode_returns": np.nan if texts is None else texts,
        }
    )
    return table.drop_duplicates("step", keep="last", ignore_index=True)
