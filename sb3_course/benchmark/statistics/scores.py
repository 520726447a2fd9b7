"""Normalized scores: returns on a scale that is the same in every table.

A score is ``(return - random) / (expert - random)``: 0 is the return of random actions and 1 that
of a named expert. Both are fixed and versioned in ``reference_scores.yaml`` and never taken from
the results themselves.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat, model_validator

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.statistics.curves import RUN, interpolate
from sb3_course.benchmark.storage.references import MeasuredReference, described
from sb3_course.common.yaml_values import read_yaml


class Reference(BaseModel):
    """The two returns that define an environment's scale."""

    model_config = ConfigDict(extra="forbid")

    random: FiniteFloat
    expert: FiniteFloat
    expert_name: str

    @model_validator(mode="after")
    def _a_scale(self) -> "Reference":
        if self.expert <= self.random:
            raise ValueError("the expert's return must be higher than that of random actions")
        return self


class References(BaseModel):
    """Reference returns by environment; the numbers never change within a version."""

    model_config = ConfigDict(extra="forbid")

    version: int
    environments: dict[str, Reference]


@cache
def load_references() -> References:
    """Read the reference scores that ship with the package."""
    text = (
        files("sb3_course.benchmark.statistics")
        .joinpath("reference_scores.yaml")
        .read_text("utf-8")
    )
    return References.model_validate(read_yaml(text))


def normalize(returns: pd.DataFrame, references: References) -> pd.DataFrame:
    """Add a column ``score`` = (return - random) / (expert - random).

    :param returns: Rows with the columns ``environment`` and ``return_mean``
    :param references: Reference returns of each environment
    :return: Rows of the environments that have reference returns, with the new column
    """
    known = returns[returns["environment"].isin(list(references.environments))].copy()
    scales = [references.environments[name] for name in known["environment"]]
    low = np.array([scale.random for scale in scales])
    high = np.array([scale.expert for scale in scales])
    known["score"] = (known["return_mean"].to_numpy() - low) / (high - low)
    return known


def shipped_reference(grid: Grid, name: str) -> Reference | None:
    """Return the reference that ships with the package for an environment of a grid.

    :param grid: Grid
    :param name: Name of the environment in the grid
    :return: Reference of its task; None if there is none, or it is changed by settings, whose
        returns are on another scale
    """
    config = grid.environments[name].config(name)
    if config.data(config.name):
        return None
    return load_references().environments.get(config.name)


def references_of(grid: Grid, measured: Mapping[str, MeasuredReference]) -> References:
    """Return the reference returns of a grid: those it declares, else shipped or measured ones.

    An expert that the grid declares without a return of random actions takes the measured one, and
    a measured one without a declared expert takes Gymnasium's reward threshold. What was measured
    with other settings of the environment is not taken.

    :param grid: Grid
    :param measured: What ``sb3-course references`` measured, by environment
    :return: References of the environments for which there are both returns
    """
    found: dict[str, Reference] = {}
    for name in grid.environments:
        declared, known = grid.references.get(name), measured.get(name)
        if known is not None and known.env != described(grid.environments[name].config(name)):
            known = None
        random = declared.random if declared else None
        threshold = known.threshold if known is not None and declared is None else None
        if random is None and known is not None:
            random = known.random
        if declared is None and (own := shipped_reference(grid, name)) is not None:
            found[name] = own
        elif random is not None and declared is not None and declared.expert > random:
            found[name] = Reference(
                random=random, expert=declared.expert, expert_name=declared.expert_name
            )
        elif random is not None and threshold is not None and threshold > random:
            found[name] = Reference(
                random=random, expert=threshold, expert_name="Gymnasium's reward threshold"
            )
    return References(version=load_references().version, environments=found)


class Cubes(NamedTuple):
    """The runs that aggregates over environments are computed from.

    :param scores: For each algorithm, an array ``(n_seeds, n_environments, n_points)`` of the seeds
        that finished on every environment; algorithms without such a seed are left out
    :param environments: Environments along the second axis
    :param points: Positions along the last axis, as fractions of an environment's budget
    :param left_out: Scored runs that are in none of the arrays: ``algorithm, environment, seed``
        and ``lacking``, the environments on which the seed is missing
    """

    scores: dict[str, NDArray[np.float64]]
    environments: list[str]
    points: NDArray[np.float64]
    left_out: pd.DataFrame


def cubes(scores: pd.DataFrame) -> Cubes:
    """Arrange scores into complete arrays and list the runs that do not fit.

    Environments may differ in budget and evaluation steps, so curves are interpolated at fractions
    of the budget. These are the fractions of the environment with the fewest evaluations, so no
    detail is invented. If all environments have the same fractions, the scores are unchanged.

    :param scores: Complete runs, one row per run and declared step, with a column ``score``
    :return: Arrays of scores, and the runs that are left out
    """
    environments = sorted(set(scores["environment"]))
    points = _fractions(scores)
    arrays, left_out = {}, []
    for algorithm, rows in scores.groupby("algorithm"):
        seeds = {name: set(rows.loc[rows["environment"] == name, "seed"]) for name in environments}
        whole = sorted(set.intersection(*seeds.values()))
        if whole:
            chosen = rows[rows["seed"].isin(whole)]
            arrays[str(algorithm)] = np.stack(
                [_read(chosen[chosen["environment"] == name], points) for name in environments],
                axis=1,
            )
        for seed in sorted(set.union(*seeds.values()) - set(whole)):
            lacking = ", ".join(name for name in environments if seed not in seeds[name])
            having = [name for name in environments if seed in seeds[name]]
            left_out += [(algorithm, name, seed, lacking) for name in having]
    return Cubes(arrays, environments, points, pd.DataFrame(left_out, columns=[*RUN, "lacking"]))


def _fractions(scores: pd.DataFrame) -> NDArray[np.float64]:
    grids = [_of_budget(np.unique(rows["step"])) for _, rows in scores.groupby("environment")]
    coarsest = min(grids, key=len, default=np.ones(1))
    start = max((grid[0] for grid in grids), default=0.0)  # before it, a curve has no value
    return coarsest[coarsest >= start]


def _of_budget(steps: NDArray[Any]) -> NDArray[np.float64]:
    """Return ascending steps as fractions of the last one; logs may end at step 0."""
    return np.asarray(steps / max(steps[-1], 1), dtype=np.float64)


def _read(rows: pd.DataFrame, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the curves of one algorithm on one environment as an array ``(n_seeds, n_points)``."""
    curves = rows.pivot(index="seed", columns="step", values="score")
    fractions = _of_budget(curves.columns.to_numpy())
    return np.stack([interpolate(points, fractions, curve) for curve in curves.to_numpy()])
