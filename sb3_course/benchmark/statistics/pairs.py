"""Comparisons of two algorithms at a time, which need no scale of the returns: only their order.

A pair is compared on every environment on which both have finished runs, however many; environments
count equally.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from sb3_course.benchmark.statistics import metrics
from sb3_course.benchmark.statistics.bootstrap import (
    REPS,
    Estimate,
    bounds,
    estimate,
    improvements,
    resamples,
)
from sb3_course.benchmark.statistics.design import Design
from sb3_course.benchmark.statistics.environments import (
    ESTIMATE,
    Runs,
    at_the_end,
    over_the_run,
)
from sb3_course.benchmark.statistics.hypothesis_tests.permutation_test import LEVEL, holm, p_value
from sb3_course.benchmark.statistics.metrics import Array
from sb3_course.benchmark.statistics.scores import Cubes

ALL = ""
"""Stands in for an environment's name where a number covers all; no environment is called so."""
PROBABILITIES = {"P(X > Y)": at_the_end, "P(X > Y) over the run": over_the_run}
"""What is compared of each run: its last return, or its mean return since training began."""
DIFFERENCES = {"IQM at the end": at_the_end, "IQM over the run": over_the_run}
"""Differences of normalized scores, where there are any."""
PAIR = ["x", "y"]


def shared(runs: Runs, x: str, y: str, environments: Mapping[str, object]) -> list[str]:
    """Return the environments on which both of two algorithms have finished runs.

    :param runs: Curves of the runs
    :param x: Name of the first algorithm
    :param y: Name of the second algorithm
    :param environments: Environments in the order of the report
    :return: Names of environments
    """
    both = runs.get(x, {}).keys() & runs.get(y, {}).keys()
    return [name for name in environments if name in both]


def values(runs: Runs, algorithm: str, environments: Sequence[str]) -> list[Array]:
    """Return the last returns of an algorithm's runs on each of some environments.

    :param runs: Curves of the runs
    :param algorithm: Name of the algorithm
    :param environments: Environments on which it has runs
    :return: For each environment, an array of shape ``(n_runs,)``
    """
    return [at_the_end(runs[algorithm][name]) for name in environments]


def fewest(runs: Runs, algorithm: str, environments: Sequence[str]) -> int:
    """Return the smallest number of runs that an algorithm has on one of some environments.

    :param runs: Curves of the runs
    :param algorithm: Name of the algorithm
    :param environments: Environments, at least one
    :return: Number of runs
    """
    return min(len(runs[algorithm][name]) for name in environments)


def probability_of_improvement(runs: Runs, design: Design) -> pd.DataFrame:
    """Estimate for each pair how probably a run of X ends higher than one of Y, and test it.

    :param runs: Curves of the runs
    :param design: What is compared
    :return: Table with ``x, y``, an estimate, ``n_runs_x, n_runs_y`` (the fewest on an
        environment), ``environments``, the permutation test's ``p``, ``p_holm`` (corrected over all
        pairs) and ``apart`` (whether that is at most 0.05)
    """
    compared = {
        (x, y): names
        for x, y in combinations((name for name in design.algorithms if name in runs), 2)
        if (names := shared(runs, x, y, design.environments))
    }
    finals = [
        (values(runs, x, names), values(runs, y, names)) for (x, y), names in compared.items()
    ]
    rows = []
    for ((x, y), names), (a, b), result in zip(
        compared.items(), finals, improvements(finals), strict=True
    ):
        n_runs = fewest(runs, x, names), fewest(runs, y, names)
        rows.append((x, y, *map(float, result), *n_runs, names, p_value(a, b)))
    columns = [*PAIR, *ESTIMATE, "n_runs_x", "n_runs_y", "environments", "p"]
    table = pd.DataFrame(rows, columns=columns)
    table["p_holm"] = np.array(holm(table["p"].tolist()), dtype=float)
    table["apart"] = table["p_holm"] <= LEVEL
    return table


def ranks(runs: Runs, design: Design) -> pd.DataFrame:
    """Estimate the mean rank of each algorithm; the highest return has 1.

    Ranks are those of mean final returns on the environments on which all algorithms have runs: a
    rank among fewer would be lower. Ties share the mean of their ranks.

    :param runs: Curves of the runs
    :param design: What is compared
    :return: Table with one row per algorithm; empty if they have no environment in common
    """
    names = [name for name in design.algorithms if name in runs]
    common = [e for e in design.environments if all(e in runs[name] for name in names)]
    drawn = []
    for environment in common:
        i = list(design.environments).index(environment)
        finals = [at_the_end(runs[name][environment]) for name in names]
        means = [
            np.concatenate([[final.mean()], *_drawn_means(final, seed=1000 * i + j)])
            for j, final in enumerate(finals)
        ]
        drawn.append(rankdata(-metrics.rounded(np.array(means)), axis=0))
    single = any(len(runs[name][environment]) == 1 for name in names for environment in common)
    rows = (
        [
            (name, mean[0], *((np.nan, np.nan) if single else bounds(mean[1:])))
            for name, mean in zip(names, np.mean(drawn, axis=0), strict=True)
        ]
        if drawn
        else []
    )
    return pd.DataFrame(rows, columns=["algorithm", *ESTIMATE])


def _drawn_means(final: Array, seed: int) -> list[Array]:
    drawn = resamples([final[:, np.newaxis, np.newaxis]], REPS, seed)
    return [runs.mean((0, 1, 3)) for (runs,) in drawn]


def comparisons(design: Design, runs: Runs, arranged: Cubes) -> pd.DataFrame:
    """Estimate the answers to the questions, over all environments and on each one.

    :param design: What is compared
    :param runs: Curves of the runs
    :param arranged: Scores of the seeds that finished on every environment with a scale
    :return: Table with one row per question, measure and environment
    """
    rows = []
    for question, (x, y) in design.questions.items():
        names = shared(runs, x, y, design.environments)
        groups = {ALL: names, **{name: [name] for name in names}} if names else {}
        for measure, of in PROBABILITIES.items():
            for where, group in groups.items():
                a, b = ([of(runs[z][name]) for name in group] for z in (x, y))
                (result,) = improvements([(a, b)])
                n_runs = fewest(runs, x, group), fewest(runs, y, group)
                rows.append((question, x, y, measure, where, *map(float, result), *n_runs))
        for measure, where, result, n_x, n_y in _differences(arranged, x, y):
            rows.append((question, x, y, measure, where, *map(float, result), n_x, n_y))
    columns = ["question", *PAIR, "measure", "environment", *ESTIMATE, "n_runs_x", "n_runs_y"]
    return pd.DataFrame(rows, columns=columns)


def _differences(arranged: Cubes, x: str, y: str) -> list[tuple[str, str, Estimate, int, int]]:
    if not {x, y} <= set(arranged.scores):
        return []
    cubes = arranged.scores[x], arranged.scores[y]
    selections = {ALL: slice(None)} | {
        name: slice(i, i + 1) for i, name in enumerate(arranged.environments)
    }
    return [
        (
            measure,
            where,
            estimate(metrics.difference, *(of(cube[:, selection]) for cube in cubes)),
            len(cubes[0]),
            len(cubes[1]),
        )
        for measure, of in DIFFERENCES.items()
        for where, selection in selections.items()
    ]
