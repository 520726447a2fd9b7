"""Does the code still learn what it learned? New runs beside stored ones, with a verdict each.

Where versions and processor are those of the stored runs, every return has to be the same.
Elsewhere the last bits of floating-point numbers differ, and with them, after some updates, whole
runs; there the mean of the new runs has to fall into a band that the stored ones give.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import sqrt
from typing import TypeAlias

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text
from scipy import stats

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError

Task: TypeAlias = tuple[str, str]
"""An algorithm and an environment, by their names in the grid."""
FALSE_ALARM = 1e-4
"""How often a round of comparisons may fail though nothing has changed, were returns normal."""
MIN_SEEDS = 10
"""Fewer stored runs give no band worth the name."""
UNDER_TEST = frozenset({"git_commit", "sb3-course"})
"""What may differ: a regression test is of the code."""


class Verdict(str, Enum):
    """What came of a comparison."""

    EXACT = "exactly as stored"
    INSIDE = "inside the band"
    CHANGED = "inside the band, not as stored"
    """Though made with the same versions on the same processor."""
    BELOW = "below the band"
    ABOVE = "above the band"
    FAILED = "failed"

    @property
    def good(self) -> bool:
        """Whether the code has passed."""
        return self in (Verdict.EXACT, Verdict.INSIDE)


@dataclass(frozen=True)
class Band:
    """Where the mean of new runs is expected.

    :param mean: of the stored runs
    :param low: its lower end
    :param high: its upper end
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """New runs of an algorithm on an environment beside the stored ones.

    :param algorithm: its name in the grid
    :param environment: its name
    :param band: where the mean was expected
    :param mean: of the new runs' :func:`summary`; None if one failed or is :func:`incomparable`
    :param verdict: what came of it
    :param difference: the first return that is another one, in words; empty if there is none
    """

    algorithm: str
    environment: str
    band: Band
    mean: float | None
    verdict: Verdict
    difference: str = ""

    def __str__(self) -> str:
        mean = "no result" if self.mean is None else f"mean return {self.mean:,.1f}"
        where = f"band {self.band.low:,.1f} to {self.band.high:,.1f}"
        parts = [f"{self.algorithm} on {self.environment}: {self.verdict.value}", mean, where]
        return "; ".join([*parts, self.difference] if self.difference else parts)


def summary(result: RunResult) -> float:
    r"""Mean return over all evaluations but the first: how much was learned, and how soon.

    The first evaluation is of the untrained policy, which no algorithm has touched. The last one
    alone says nothing about speed, has the noise of a few episodes, and is at the ceiling where a
    task is solved; the mean over the curve is closer to a normal variable, which a band assumes.

    :param result: a finished run with at least two evaluations
    :return: undiscounted raw return
    """
    return float(np.mean([np.mean(m.returns) for m in result.measurements[1:]]))


def band(
    stored: Sequence[float], k: int, comparisons: int = 1, false_alarm: float = FALSE_ALARM
) -> Band:
    r"""Predict the mean of k new runs from n stored ones.

    Let stored and new runs be independent draws of one normal law, of unknown mean and variance.
    The difference of their means has the variance σ² (1/n + 1/k), and the stored runs' variance s²
    is independent of both means, so that

    .. math:: \frac{\bar y_k - \bar x_n}{s \sqrt{1/n + 1/k}} \sim t_{n-1}

    and the new mean falls out of

    .. math:: \bar x_n \pm t_{n-1,\,1-\alpha/2m} \; s \sqrt{\frac 1 n + \frac 1 k}

    with probability α/m. By Bonferroni's inequality, whatever their dependence, one or more of m
    such comparisons fail with probability α at most: α = ``false_alarm`` is that of the round.
    New runs with seeds that are among the stored ones can only be closer to these.

    =====  ================  =================================
    n      ``len(stored)``   x̄, s: their mean and deviation
    k      ``k``             ȳ: the mean of as many new runs
    m      ``comparisons``   in the round
    α      ``false_alarm``   of the round
    =====  ================  =================================

    The returns of runs are not normal: a few seeds learn much faster than the others. How much that
    matters is measured where it is used (``tests/benchmark/test_regression.py``), by drawing from
    the stored runs themselves. α leaves a factor of ten for it under the 1 in 1,000 that the
    project promises.

    :param stored: :func:`summary` of each stored run, of shape (n,), n >= 2
    :param k: number of new runs
    :param comparisons: number of comparisons in the round
    :param false_alarm: probability that one or more of them fail though nothing has changed
    :raises UserError: if the stored runs are all the same, which leaves the band without a width
    """
    n, mean, s = len(stored), float(np.mean(stored)), float(np.std(stored, ddof=1))
    if min(stored) == max(stored):  # rounding may leave s a little above 0
        raise UserError(
            f"all {n} stored runs have the mean return {mean:g}: a band has no width then; choose "
            "a budget in which the task is neither hopeless nor solved at once"
        )
    half = s * relative_width(n, k, comparisons, false_alarm)
    return Band(mean, mean - half, mean + half)


def relative_width(n: int, k: int, comparisons: int, false_alarm: float) -> float:
    """Return half the width of a :func:`band` in standard deviations of the stored runs.

    :param n: number of stored runs
    :param k: as of the band, and so the others
    :param comparisons: as of the band
    :param false_alarm: as of the band
    """
    return float(stats.t.isf(false_alarm / comparisons / 2, n - 1)) * sqrt(1 / n + 1 / k)


def by_task(results: Sequence[RunResult]) -> dict[Task, list[RunResult]]:
    """Group results by algorithm and environment, in their order.

    :param results: results
    """
    tasks: dict[Task, list[RunResult]] = {}
    for result in results:
        tasks.setdefault(result.spec.names, []).append(result)
    return tasks


def stored_tasks(grid: Grid, store: Store, seeds: int = 1) -> dict[Task, list[RunResult]]:
    """Read the stored runs of each algorithm on each environment, in the order of the grid.

    :param grid: the grid
    :param store: its results
    :param seeds: how many of each are to be trained anew
    :raises UserError: naming the first that has too few, or that no band can be made from
    """
    finished = [result for result in store.read(grid.runs()) if result.failure is None]
    tasks = by_task(finished)
    for algorithm, environment in dict.fromkeys(spec.names for spec in grid.runs()):
        count = len(tasks.get((algorithm, environment), []))
        has = f"{algorithm} on {environment} has {count} stored runs in {store.folder}"
        if count < MIN_SEEDS:
            raise UserError(
                f"{has}; a band needs at least {MIN_SEEDS}: `sb3-course run` of the grid, with so "
                "many seeds, makes them"
            )
        if seeds > count:
            raise UserError(f"--seeds: given {seeds}, but {has}; allowed: 1 to {count}")
        try:  # before anything is trained
            band([summary(result) for result in tasks[algorithm, environment]], seeds)
        except UserError as error:
            raise UserError(f"{algorithm} on {environment}: {error}") from error
    return tasks


def compare(
    stored: Sequence[RunResult], new: Sequence[RunResult], comparisons: int = 1
) -> Comparison:
    """Compare new runs with stored ones, by the band and return by return.

    :param stored: finished runs of one algorithm on one environment
    :param new: runs of the same, with seeds that are stored
    :param comparisons: number of comparisons in the round
    """
    names = stored[0].spec.names
    expected = band([summary(result) for result in stored], len(new), comparisons)
    before = {result.spec.seed: result for result in stored}
    for result in new:
        if reason := incomparable(before[result.spec.seed], result):
            return Comparison(*names, expected, None, Verdict.FAILED, reason)
    mean = float(np.mean([summary(result) for result in new]))
    changed = [
        (difference, same_conditions(before[result.spec.seed], result))
        for result in new
        if (difference := first_difference(before[result.spec.seed], result))
    ]
    if not changed:
        return Comparison(*names, expected, mean, Verdict.EXACT)
    verdict = Verdict.CHANGED if any(alike for _, alike in changed) else Verdict.INSIDE
    if not expected.low <= mean <= expected.high:
        verdict = Verdict.BELOW if mean < expected.low else Verdict.ABOVE
    return Comparison(*names, expected, mean, verdict, changed[0][0])


def same_conditions(stored: RunResult, new: RunResult) -> bool:
    """Say whether two runs were made with the same versions, system and processor.

    A run that did not record one of these is of unknown conditions, which are the same as no other.

    :param stored: a run
    :param new: another one
    """
    before, now = ({**(result.made_with or {})} for result in (stored, new))
    for name in UNDER_TEST:
        before.pop(name, None)
        now.pop(name, None)
    return bool(now) and before == now


def incomparable(stored: RunResult, new: RunResult) -> str:
    """Say why a run has no returns to compare with the stored ones.

    :param stored: a run
    :param new: the same run, made anew
    :return: seed and reason: it failed, or was measured more or less often; empty if there is none
    """
    if new.failure is not None:
        return f"seed {new.spec.seed}: {new.reason}"
    before, now = ([len(m.returns) for m in result.measurements] for result in (stored, new))
    if before == now:
        return ""
    told = [f"{len(n)} evaluations of {sum(n)} episodes" for n in (before, now)]
    return f"seed {new.spec.seed}: {told[0]} stored, {told[1]} new"


def first_difference(stored: RunResult, new: RunResult) -> str:
    """Find the first episode whose return is another one.

    :param stored: a run
    :param new: the same run, made anew, with as many evaluations and episodes
    :return: seed, step, episode and both returns in words; empty if every return is the same
    """
    for before, now in zip(stored.measurements, new.measurements, strict=True):
        for episode, pair in enumerate(zip(before.returns, now.returns, strict=True)):
            if pair[0] != pair[1]:
                where = f"seed {stored.spec.seed}, step {before.step:,}, episode {episode}"
                return f"{where}: {pair[0]!r} stored, {pair[1]!r} new"
    return ""


def table(comparisons: Sequence[Comparison], terminal: bool) -> Table:
    """Put comparisons into a table.

    :param comparisons: what came out
    :param terminal: whether it is for a terminal, with colors and lines
    """
    shown = Table("algorithm", "environment", box=box.SIMPLE_HEAD if terminal else None)
    for name in ("stored", "band", "new"):
        shown.add_column(name, justify="right")
    shown.add_column("verdict")
    for c in comparisons:
        mean = "-" if c.mean is None else f"{c.mean:,.1f}"
        limits = f"{c.band.low:,.1f} to {c.band.high:,.1f}"
        verdict = Text(c.verdict.value, "green" if c.verdict.good else "red")
        names = Text(c.algorithm), Text(c.environment)
        shown.add_row(*names, f"{c.band.mean:,.1f}", limits, mean, verdict)
    return shown
