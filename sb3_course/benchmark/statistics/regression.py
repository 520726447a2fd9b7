"""Regression tests of learning: compare new runs with stored ones and reach a verdict on each.

If versions and processor are those of the stored runs, every return must be the same. Otherwise
the last bits of floating-point numbers differ, which after some updates changes whole runs; then
the mean of the new runs must fall into a band that is computed from the stored ones.
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
"""Probability that a round fails although nothing has changed, if returns are normal."""
MIN_SEEDS = 10
"""Smallest number of stored runs from which a useful band can be computed."""
UNDER_TEST = frozenset({"git_commit", "sb3-course"})
"""Recorded conditions that may differ, because the code is what a regression test examines."""


class Verdict(str, Enum):
    """Outcome of a comparison."""

    EXACT = "exactly as stored"
    INSIDE = "inside the band"
    CHANGED = "inside the band, not as stored"
    """Although the versions and the processor are the same."""
    BELOW = "below the band"
    ABOVE = "above the band"
    FAILED = "failed"

    @property
    def good(self) -> bool:
        """Whether the code passes."""
        return self in (Verdict.EXACT, Verdict.INSIDE)


@dataclass(frozen=True)
class Band:
    """Interval in which the mean of new runs is expected.

    :param mean: Mean of the stored runs
    :param low: Lower end of the interval
    :param high: Upper end of the interval
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """New runs of an algorithm on an environment, compared with the stored ones.

    :param algorithm: Algorithm's name in the grid
    :param environment: Environment's name
    :param band: Band in which the mean was expected
    :param mean: Mean of the new runs' :func:`summary`; None if a run failed or is
        :func:`incomparable`
    :param verdict: Outcome of the comparison
    :param difference: First return that differs, in words; empty if none does
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
    """Compute the mean return over all evaluations but the first.

    It measures how much was learned, and how fast. The first evaluation is of the untrained policy,
    which no algorithm has influenced. The last one alone contains nothing about speed, has the
    noise of a few episodes, and is at its maximum where a task is solved. The mean over the curve
    is closer to a normal variable, which a band assumes.

    :param result: Finished run with at least two evaluations
    :return: Undiscounted raw return
    """
    return float(np.mean([np.mean(m.returns) for m in result.measurements[1:]]))


def band(
    stored: Sequence[float], k: int, comparisons: int = 1, false_alarm: float = FALSE_ALARM
) -> Band:
    r"""Compute the band in which the mean of k new runs is expected from n stored ones.

    Assume that stored and new runs are independent draws from one normal distribution with unknown
    mean and variance. The difference of their means has the variance σ² (1/n + 1/k), and the stored
    runs' variance s² is independent of both means, so

    .. math:: \frac{\bar y_k - \bar x_n}{s \sqrt{1/n + 1/k}} \sim t_{n-1}

    and the new mean falls outside

    .. math:: \bar x_n \pm t_{n-1,\,1-\alpha/2m} \; s \sqrt{\frac 1 n + \frac 1 k}

    with probability α/m. By Bonferroni's inequality, the probability that one or more of m such
    comparisons fail is at most α = ``false_alarm`` for the whole round, whatever their dependence.
    New runs whose seeds are among the stored ones can only be closer to these.

    =====  ================  ==================================================
    n      ``len(stored)``   number of stored runs, with mean x̄ and deviation s
    k      ``k``             number of new runs, with mean ȳ
    m      ``comparisons``   number of comparisons in the round
    α      ``false_alarm``   false-alarm probability of the round
    =====  ================  ==================================================

    The returns of runs are not normal: a few seeds learn much faster than the others. How much that
    matters is measured in ``tests/benchmark/statistics/test_regression.py``, by drawing from the
    stored runs themselves. For this, α leaves a factor of ten below the 1 in 1,000 that the project
    promises.

    :param stored: :func:`summary` of each stored run, of shape (n,), n >= 2
    :param k: Number of new runs
    :param comparisons: Number of comparisons in the round
    :param false_alarm: Probability that one or more of them fail although nothing has changed
    :return: Mean of the stored runs and the ends of the band
    :raises UserError: If all stored runs are equal, so the band has no width
    """
    n, mean, s = len(stored), float(np.mean(stored)), float(np.std(stored, ddof=1))
    if min(stored) == max(stored):  # rounding may leave s a little above 0
        raise UserError(
            f"all {n} stored runs have the mean return {mean:g}, so the band has no width; choose "
            "a budget in which the task is neither hopeless nor solved immediately"
        )
    half = s * relative_width(n, k, comparisons, false_alarm)
    return Band(mean, mean - half, mean + half)


def relative_width(n: int, k: int, comparisons: int, false_alarm: float) -> float:
    """Compute half the width of a :func:`band` in standard deviations of the stored runs.

    :param n: Number of stored runs
    :param k: Number of new runs
    :param comparisons: Number of comparisons in the round
    :param false_alarm: Probability that one or more of them fail although nothing has changed
    :return: Half of the band's width divided by the standard deviation of the stored runs
    """
    return float(stats.t.isf(false_alarm / comparisons / 2, n - 1)) * sqrt(1 / n + 1 / k)


def by_task(results: Sequence[RunResult]) -> dict[Task, list[RunResult]]:
    """Group results by algorithm and environment, keeping their order.

    :param results: Results to group
    :return: Results of each algorithm on each environment
    """
    tasks: dict[Task, list[RunResult]] = {}
    for result in results:
        tasks.setdefault(result.spec.names, []).append(result)
    return tasks


def stored_tasks(grid: Grid, store: Store, seeds: int = 1) -> dict[Task, list[RunResult]]:
    """Read the stored runs of each algorithm on each environment, in the order of the grid.

    :param grid: Grid
    :param store: Store of the grid's results
    :param seeds: Number of seeds that will be trained again
    :return: Finished runs of each algorithm on each environment
    :raises UserError: If a task has too few stored runs or none that a band can be computed from;
        the message names the first such task
    """
    finished = [result for result in store.read(grid.runs()) if result.failure is None]
    tasks = by_task(finished)
    for algorithm, environment in dict.fromkeys(spec.names for spec in grid.runs()):
        count = len(tasks.get((algorithm, environment), []))
        found = f"{algorithm} on {environment} has {count} stored runs in {store.folder}"
        if count < MIN_SEEDS:
            raise UserError(
                f"{found}; a band needs at least {MIN_SEEDS}: run the grid with `sb3-course run` "
                "and at least this many seeds"
            )
        if seeds > count:
            raise UserError(f"--seeds: given {seeds}, but {found}; allowed: 1 to {count}")
        try:  # fail before anything is trained
            band([summary(result) for result in tasks[algorithm, environment]], seeds)
        except UserError as error:
            raise UserError(f"{algorithm} on {environment}: {error}") from error
    return tasks


def compare(
    stored: Sequence[RunResult], new: Sequence[RunResult], comparisons: int = 1
) -> Comparison:
    """Compare new runs with stored ones, both return by return and with the band.

    :param stored: Finished runs of one algorithm on one environment
    :param new: New runs of the same algorithm and environment, with seeds that are stored
    :param comparisons: Number of comparisons in the round
    :return: Band, mean of the new runs and verdict
    """
    names = stored[0].spec.names
    expected = band([summary(result) for result in stored], len(new), comparisons)
    before = {result.spec.seed: result for result in stored}
    for result in new:
        if reason := incomparable(before[result.spec.seed], result):
            return Comparison(*names, expected, None, Verdict.FAILED, reason)
    mean = float(np.mean([summary(result) for result in new]))
    differences = [
        (difference, same_conditions(before[result.spec.seed], result))
        for result in new
        if (difference := first_difference(before[result.spec.seed], result))
    ]
    if not differences:
        return Comparison(*names, expected, mean, Verdict.EXACT)
    verdict = Verdict.CHANGED if any(alike for _, alike in differences) else Verdict.INSIDE
    if not expected.low <= mean <= expected.high:
        verdict = Verdict.BELOW if mean < expected.low else Verdict.ABOVE
    return Comparison(*names, expected, mean, verdict, differences[0][0])


def same_conditions(stored: RunResult, new: RunResult) -> bool:
    """Return whether two runs were made with the same versions, system and processor.

    Conditions that a run did not record count as different from all others.

    :param stored: Stored run
    :param new: New run
    :return: True if all recorded conditions but those under test are the same
    """
    before, now = ({**(result.made_with or {})} for result in (stored, new))
    for name in UNDER_TEST:
        before.pop(name, None)
        now.pop(name, None)
    return bool(now) and before == now


def incomparable(stored: RunResult, new: RunResult) -> str:
    """Return why a new run cannot be compared with the stored one.

    :param stored: Stored run
    :param new: Same run, trained again
    :return: Seed and reason: the run failed, or has a different number of evaluations or episodes;
        empty if it can be compared
    """
    if new.failure is not None:
        return f"seed {new.spec.seed}: {new.reason}"
    before, now = ([len(m.returns) for m in result.measurements] for result in (stored, new))
    if before == now:
        return ""
    counts = [f"{len(n)} evaluations of {sum(n)} episodes" for n in (before, now)]
    return f"seed {new.spec.seed}: {counts[0]} stored, {counts[1]} new"


def first_difference(stored: RunResult, new: RunResult) -> str:
    """Find the first episode whose return differs.

    :param stored: Stored run
    :param new: Same run, trained again, with the same number of evaluations and episodes
    :return: Seed, step, episode and both returns in words; empty if all returns are equal
    """
    for before, now in zip(stored.measurements, new.measurements, strict=True):
        for episode, pair in enumerate(zip(before.returns, now.returns, strict=True)):
            if pair[0] != pair[1]:
                where = f"seed {stored.spec.seed}, step {before.step:,}, episode {episode}"
                return f"{where}: {pair[0]!r} stored, {pair[1]!r} new"
    return ""


def table(comparisons: Sequence[Comparison], terminal: bool) -> Table:
    """Return comparisons as a table.

    :param comparisons: Comparisons, one per row
    :param terminal: Whether the table is for a terminal, with colors and lines
    :return: Table with one row per comparison
    """
    rows = Table("algorithm", "environment", box=box.SIMPLE_HEAD if terminal else None)
    for name in ("stored", "band", "new"):
        rows.add_column(name, justify="right")
    rows.add_column("verdict")
    for c in comparisons:
        mean = "-" if c.mean is None else f"{c.mean:,.1f}"
        limits = f"{c.band.low:,.1f} to {c.band.high:,.1f}"
        verdict = Text(c.verdict.value, "green" if c.verdict.good else "red")
        names = Text(c.algorithm), Text(c.environment)
        rows.add_row(*names, f"{c.band.mean:,.1f}", limits, mean, verdict)
    return rows
