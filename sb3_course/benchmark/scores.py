"""Normalised scores, and rliable's statistics over them.

Scores of one algorithm are an array of shape ``(n_runs, n_environments)``: row i holds seed i.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rliable import library, metrics

from sb3_course.benchmark.source import read_yaml

Scores = dict[str, NDArray[np.float64]]

REPS = 2_000
"""Bootstrap replications of an interval."""
ALL = "All environments"
"""Name of the aggregate."""


class Reference(BaseModel):
    """The two returns that fix an environment's scale: 0 is ``random``, 1 is ``reference``."""

    model_config = ConfigDict(extra="forbid")

    random: float
    reference: float
    reference_name: str


class References(BaseModel):
    """Reference returns by environment; numbers never change within a version."""

    model_config = ConfigDict(extra="forbid")

    version: int
    environments: dict[str, Reference]


def load_references() -> References:
    """Read the reference scores that ship with the package."""
    text = files("sb3_course.benchmark").joinpath("reference_scores.yaml").read_text("utf-8")
    return References.model_validate(read_yaml(text))


def final_returns(table: pd.DataFrame) -> pd.DataFrame:
    """Keep each run's last evaluation.

    :param table: tidy returns, a row for each evaluation
    """
    last = table.groupby(["algorithm", "environment", "seed"])["step"].idxmax()
    return table.loc[last].reset_index(drop=True)


def normalise(final: pd.DataFrame, references: References) -> pd.DataFrame:
    """Add a column ``score`` = (return - random) / (reference - random).

    :param final: a row for each run
    :param references: the scales
    :return: the rows whose environment has a scale
    """
    known = final[final["environment"].isin(list(references.environments))].copy()
    scales = [references.environments[name] for name in known["environment"]]
    low = np.array([scale.random for scale in scales])
    high = np.array([scale.reference for scale in scales])
    known["score"] = (known["return_mean"].to_numpy() - low) / (high - low)
    return known


def score_matrices(scores: pd.DataFrame) -> Scores:
    """Arrange scores by algorithm.

    :param scores: a row for each run, with a column ``score``
    :return: for each algorithm an array ``(n_runs, n_environments)`` of the seeds that finished
        on every environment; algorithms without such a seed are left out
    """
    n_environments = scores["environment"].nunique()
    matrices = {}
    for algorithm, rows in scores.groupby("algorithm"):
        matrix = rows.pivot(index="seed", columns="environment", values="score").dropna()
        if len(matrix) and matrix.shape[1] == n_environments:
            matrices[str(algorithm)] = matrix.to_numpy()
    return matrices


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, which rliable draws from whatever it is given."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def _iqm(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([metrics.aggregate_iqm(scores)])


def iqm_intervals(scores: Mapping[str, NDArray[np.float64]], reps: int = REPS) -> pd.DataFrame:
    """Estimate interquartile means with stratified bootstrap intervals.

    Every algorithm draws the same resamples, so that none depends on which others are there.

    :param scores: for each algorithm an array ``(n_runs, n_environments)``
    :param reps: bootstrap replications
    :return: a row for each algorithm: ``algorithm, iqm, low, high, n_runs``; low and high bound
        the 95% percentile interval
    """
    rows = []
    for algorithm, matrix in scores.items():
        with _seeded(0):
            points, intervals = library.get_interval_estimates({algorithm: matrix}, _iqm, reps=reps)
        low, high = intervals[algorithm][:, 0]
        rows.append((algorithm, float(points[algorithm][0]), float(low), float(high), len(matrix)))
    return pd.DataFrame(rows, columns=["algorithm", "iqm", "low", "high", "n_runs"])


def iqm_table(scores: pd.DataFrame, reps: int = REPS) -> pd.DataFrame:
    """Estimate interquartile means for each environment and over all of them.

    :param scores: a row for each run, with a column ``score``
    :param reps: bootstrap replications
    :return: :func:`iqm_intervals` with a column ``environment``, which is :data:`ALL` for the
        aggregate; with one environment alone there is no aggregate
    """
    groups = {str(name): rows for name, rows in scores.groupby("environment")}
    if len(groups) > 1:
        groups[ALL] = scores
    tables = [
        iqm_intervals(score_matrices(rows), reps).assign(environment=name)
        for name, rows in groups.items()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
