"""The answer to each question of a grid: is it settled, and how many seeds would settle it?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sb3_course.benchmark.statistics import pairs
from sb3_course.benchmark.statistics.bootstrap import improvements
from sb3_course.benchmark.statistics.design import Design
from sb3_course.benchmark.statistics.environments import ESTIMATE, Runs
from sb3_course.benchmark.statistics.hypothesis_tests.permutation_test import LEVEL, holm, p_value
from sb3_course.benchmark.statistics.hypothesis_tests.power import Power, power_of
from sb3_course.benchmark.statistics.hypothesis_tests.sequential_test import settled_at
from sb3_course.benchmark.statistics.metrics import Array

POWER = ["power", "power_low", "power_high", "seeds_needed", "seeds_low", "seeds_high"]
UNKNOWN = Power(*[float("nan")] * 6)


def answers(design: Design, runs: Runs, whole: pd.DataFrame) -> pd.DataFrame:
    """Answer each question by comparing the last returns of two algorithms.

    With a fixed number of seeds a question is settled if the permutation test says so after Holm's
    correction over the questions; with seeds that were added in rounds, if the sequential test of
    their looks says so, at an equal share of the level for each question that was planned; a
    question that was asked later is not settled by them. The power is that of one such share.

    :param design: What is compared
    :param runs: Curves of the runs
    :param whole: Complete runs on the declared grid
    :return: Table with one row per question: ``question, x, y``, an estimate of P(X > Y), ``p``,
        ``p_holm``, ``settled``, ``winner`` (empty if it is not), :data:`POWER` with the numbers of
        seeds for a power of 0.8, ``n_runs_x, n_runs_y`` (the fewest on an environment),
        ``environments``, ``rounds`` (number of looks; 0 for a fixed number of seeds) and ``why``
        there is no answer
    """
    planned = design.questions if design.rounds is None else design.rounds.questions
    level = LEVEL / max(1, len(planned))
    rows = [
        _answer(design, runs, whole, question, x, y, level)
        for question, (x, y) in design.questions.items()
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["p_holm"] = np.array(holm(table["p"].tolist()), dtype=float)
    if design.rounds is None:
        table["settled"] = table["p_holm"] <= LEVEL
        ahead = np.where(table["point"] > 0.5, table["x"], table["y"])
        table["winner"] = np.where(table["settled"].astype(bool), ahead, "")
    return table


def settled_pairs(design: Design, table: pd.DataFrame, answered: pd.DataFrame) -> pd.DataFrame:
    """Take the verdicts on the pairs from the answers to the questions, where there are rounds.

    A fixed number of seeds is what the test of all pairs supposes; on seeds that are added until a
    question is settled, it finds a difference too often. So where no question is asked, as among
    logs, no pair is told apart.

    :param design: What is compared
    :param table: Pairs, see :func:`.pairs.probability_of_improvement`
    :param answered: Answers to the questions, see :func:`answers`
    :return: Pairs, of which ``apart`` is the answer where there is one
    """
    if design.rounds is None:
        return table
    if not design.questions:
        return table.assign(apart=False)
    found: dict[frozenset[str], bool] = {}
    for *pair, settled in answered[[*pairs.PAIR, "settled"]].itertuples(index=False):
        key = frozenset(pair)
        found[key] = found.get(key, False) or bool(settled)
    apart = [
        found.get(frozenset((x, y)), bool(apart))
        for x, y, apart in table[[*pairs.PAIR, "apart"]].itertuples(index=False)
    ]
    return table.assign(apart=np.array(apart, dtype=bool))


COLUMNS = [
    *["question", *pairs.PAIR, *ESTIMATE, "p", "p_holm", "settled", "winner", *POWER],
    *["n_runs_x", "n_runs_y", "environments", "rounds", "why"],
]


def _answer(
    design: Design, runs: Runs, whole: pd.DataFrame, question: str, x: str, y: str, level: float
) -> tuple[object, ...]:
    names = pairs.shared(runs, x, y, design.environments)
    nothing = float("nan")
    if not names:
        estimates = [nothing] * 5
        why = _why_not(runs, x, y)
        return (question, x, y, *estimates, False, "", *UNKNOWN, 0, 0, names, 0, why)
    a, b = pairs.values(runs, x, names), pairs.values(runs, y, names)
    n_runs = pairs.fewest(runs, x, names), pairs.fewest(runs, y, names)
    (result,) = improvements([(a, b)])
    power = power_of(a, b, level) if min(n_runs) > 1 else UNKNOWN
    looks, winner = _looks(design, whole, question, names, level)
    tested = (*map(float, result), p_value(a, b), nothing, winner != "", winner)
    return (question, x, y, *tested, *power, *n_runs, names, looks, "")


def _why_not(runs: Runs, x: str, y: str) -> str:
    """Return why two algorithms cannot be compared."""
    lacking = [name for name in (x, y) if name not in runs]
    if lacking:
        return f"no run of {' or '.join(lacking)} has finished"
    return f"{x} and {y} have finished runs on no environment in common"


def _looks(
    design: Design, whole: pd.DataFrame, question: str, names: Sequence[str], level: float
) -> tuple[int, str]:
    """Return how often a question was looked at, and who was ahead at the look that settled it."""
    looked = 0
    if design.rounds is not None:
        looked = design.rounds.looks_at(question, design.questions[question])
    if design.rounds is None or not looked:
        return 0, ""
    rounds = [
        [_finals(whole, name, names, seeds) for name in design.questions[question]]
        for seeds in design.rounds.seeds[:looked]
    ]
    # A round is compared where each of the looks is: a failure at one settles nothing later on.
    whole_on = [i for i in range(len(names)) if all(len(one[i]) for both in rounds for one in both)]
    if not whole_on:
        return looked, ""
    rounds = [[[one[i] for i in whole_on] for one in both] for both in rounds]
    x, y = zip(*rounds, strict=True)
    at = settled_at(x, y, len(design.rounds.seeds), level)
    if at is None:
        return looked, ""
    a, b = ([np.concatenate(runs) for runs in zip(*z[:at], strict=True)] for z in (x, y))
    (seen,) = improvements([(a, b)])
    return looked, design.questions[question][0 if seen.point > 0.5 else 1]


def _finals(
    whole: pd.DataFrame, algorithm: str, environments: Sequence[str], seeds: Sequence[int]
) -> list[Array]:
    """Return the last returns of one round, for each environment."""
    mine = whole[(whole["algorithm"] == algorithm) & whole["seed"].isin(list(seeds))]
    last = mine.sort_values("step").groupby(["environment", "seed"])["return_mean"].last()
    return [
        last.loc[name].to_numpy() if name in last.index.get_level_values(0) else np.zeros(0)
        for name in environments
    ]
