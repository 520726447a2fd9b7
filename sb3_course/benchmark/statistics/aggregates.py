"""Aggregates of normalized scores over environments; they need reference returns (rliable)."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from sb3_course.benchmark.statistics import metrics
from sb3_course.benchmark.statistics.bootstrap import CURVE_REPS, estimates
from sb3_course.benchmark.statistics.environments import ESTIMATE
from sb3_course.benchmark.statistics.metrics import Array
from sb3_course.benchmark.statistics.scores import Cubes


def aggregates(arranged: Cubes) -> pd.DataFrame:
    """Estimate the four aggregates of final scores.

    :param arranged: Scores of the seeds that finished on every environment
    :return: Table with one row per algorithm and statistic
    """
    final = [[array[..., -1]] for array in arranged.scores.values()]
    rows = []
    for (algorithm, array), result in zip(
        arranged.scores.items(), estimates(metrics.aggregates, final), strict=True
    ):
        for name, *numbers in zip(metrics.STATISTICS, *result, strict=True):
            rows.append((algorithm, name, *map(float, numbers), len(array)))
    return pd.DataFrame(rows, columns=["algorithm", "statistic", *ESTIMATE, "n_runs"])


def performance_profiles(arranged: Cubes) -> pd.DataFrame:
    """Estimate performance profiles of final scores.

    :param arranged: Scores of the seeds that finished on every environment
    :return: Table with one row per algorithm and score
    """
    final = {name: array[..., -1] for name, array in arranged.scores.items()}
    lowest = min((array.min() for array in final.values()), default=0.0)
    highest = max((array.max() for array in final.values()), default=1.0)
    # Scores below -1 (a policy far worse than chance) still count but do not stretch the axis.
    thresholds = np.linspace(min(max(lowest, -1.0), 0.0), max(highest, 1.0), 101)
    statistic = partial(metrics.performance_profile, thresholds=thresholds)
    return _along("score", thresholds, final, statistic)


def sample_efficiency(arranged: Cubes) -> pd.DataFrame:
    """Estimate the IQM of scores along training.

    :param arranged: Scores of the seeds that finished on every environment
    :return: Table with one row per algorithm and fraction of the budget
    """
    return _along("fraction", arranged.points, arranged.scores, metrics.iqm)


def _along(
    name: str, positions: Array, scores: Mapping[str, Array], statistic: metrics.Statistic
) -> pd.DataFrame:
    """Estimate for each algorithm a statistic that has one value at each of several positions."""
    parts = [pd.DataFrame(columns=["algorithm", name, *ESTIMATE, "n_runs"])]
    results = estimates(statistic, [[array] for array in scores.values()], reps=CURVE_REPS)
    for (algorithm, array), result in zip(scores.items(), results, strict=True):
        part = {"algorithm": algorithm, name: positions, **result._asdict(), "n_runs": len(array)}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts[1:] or parts, ignore_index=True)
