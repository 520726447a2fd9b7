"""Results as one tidy table, one row per evaluation."""

import json
from collections.abc import Iterable

import numpy as np
import pandas as pd

from sb3_course.benchmark.storage.result import RunResult

COLUMNS = [
    "algorithm",
    "environment",
    "seed",
    "step",
    "return_mean",
    "return_std",
    "episode_length",
    "wall_time",
    "num_timesteps",
    "episode_returns",
]


def tidy(results: Iterable[RunResult]) -> pd.DataFrame:
    """Return results as one sorted table with one row per evaluation.

    :param results: Results; failed runs have no row
    :return: Table with the columns :data:`COLUMNS`; returns are undiscounted and raw, those of
        single episodes to six digits, steps are environment steps, times are seconds of training
    """
    rows = [
        {
            "algorithm": result.spec.algorithm,
            "environment": result.spec.environment,
            "seed": result.spec.seed,
            "step": m.step,
            "return_mean": float(np.mean(m.returns)),
            "return_std": float(np.std(m.returns)),
            "episode_length": float(np.mean(m.lengths)),
            "wall_time": round(m.wall_time, 3),
            "num_timesteps": m.num_timesteps,
            "episode_returns": json.dumps([float(f"{r:.6g}") for r in m.returns]),
        }
        for result in results
        for m in result.measurements
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(COLUMNS[:4], ignore_index=True)
