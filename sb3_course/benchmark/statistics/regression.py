"""Regression tests of learning: compare new runs with stored ones and reach a verdict on each.

If versions and processor are those of the stored runs, every return must be the same. Otherwise
the last bits of floating-point numbers differ, which after some updates changes whole runs; then an
exact rank test compares the new runs with the stored runs of other seeds. Its probability of a
false alarm is known whatever the distribution of the returns; its power against a policy that
learns nothing, and one that gains half as much, is computed from the stored runs beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.definition.user_code import PACKAGE, REGISTRATION_OF, SOURCE_OF
from sb3_course.benchmark.statistics.hypothesis_tests.rank_test import (
    alarm,
    alarm_probability,
    has_alarm,
)
from sb3_course.benchmark.statistics.metrics import Array
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from sb3_course.common.numbers import readable

Task: TypeAlias = tuple[str, str]
"""An algorithm and an environment, by their names in the grid."""
FALSE_ALARM = 1e-3
"""Largest probability that a round fails although nothing has changed."""
MIN_POWER = 0.99
"""Smallest probability with which a policy that learns nothing must be noticed."""
UNDER_TEST = frozenset({"git_commit", "sb3-course"})
"""Recorded conditions that may differ, because the code is what a regression test examines; so may
the sources and registrations of the user's modules."""


class Verdict(str, Enum):
    """Outcome of a comparison."""

    EXACT = "exactly as stored"
    ALIKE = "like the stored runs"
    CHANGED = "like the stored runs, not the same"
    """Although the versions and the processor are the same."""
    WORSE = "worse than the stored runs"
    BETTER = "better than the stored runs"
    FAILED = "failed"

    @property
    def good(self) -> bool:
        """Whether the code passes."""
        return self in (Verdict.EXACT, Verdict.ALIKE)


@dataclass(frozen=True)
class Comparison:
    """New runs of an algorithm on an environment, compared with the stored ones.

    :param algorithm: Algorithm's name in the grid
    :param environment: Environment's name
    :param stored: :func:`summary` of each stored run of another seed
    :param new: :func:`summary` of each new run; None if a run failed or is :func:`incomparable`
    :param verdict: Outcome of the comparison
    :param power: Probability that a policy that learns nothing is noticed
    :param half_power: Probability that a loss of half of the gain is noticed
    :param difference: First return that differs, in words; empty if none does
    """

    algorithm: str
    environment: str
    stored: Array
    new: Array | None
    verdict: Verdict
    power: float
    half_power: float
    difference: str = ""

    def __str__(self) -> str:
        median = "no result" if self.new is None else f"median return {_median(self.new)}"
        where = f"stored {_median(self.stored)} ({interval(self.stored)})"
        parts = [f"{self.algorithm} on {self.environment}: {self.verdict.value}", median, where]
        return "; ".join([*parts, self.difference] if self.difference else parts)


def interval(values: Array) -> str:
    """Return the smallest and the largest value in words.

    :param values: Values
    :return: Both ends, with the digits that they need
    """
    return " to ".join(readable(values.min(), values.max()))


def _median(values: Array) -> str:
    return readable(float(np.median(values)))[0]


def summary(result: RunResult) -> float:
    """Compute the mean return over all evaluations but the first: the area under the curve.

    It measures how much was learned, and how fast. The first evaluation is of the untrained policy,
    which no algorithm has influenced. The last one alone contains nothing about speed, has the
    noise of a few episodes, and is at its maximum where a task is solved.

    :param result: Finished run with at least two evaluations
    :return: Undiscounted raw return
    """
    return float(np.mean([np.mean(m.returns) for m in result.measurements[1:]]))


def powers(stored: Sequence[RunResult], k: int, false_alarm: float) -> tuple[float, float]:
    """Compute the power against learning nothing, and against losing half of the gain.

    A policy that learns nothing has the return x_0 of its first evaluation throughout; one that
    loses half of its gain has x_0 + (x - x_0) / 2, where x is the :func:`summary`. Both are taken
    from the stored runs themselves.

    :param stored: Finished runs of one algorithm on one environment; the first k are trained again
    :param k: Number of new runs
    :param false_alarm: Largest probability of a false alarm
    :return: Probabilities that ``train()`` without effect and a gain of one half are noticed
    """
    results = np.array([summary(result) for result in stored])
    first = np.array([np.mean(result.measurements[0].returns) for result in stored])
    others = results[k:]
    return (
        alarm_probability(others, first, k, false_alarm),
        alarm_probability(others, (first + results) / 2, k, false_alarm),
    )


def by_task(results: Sequence[RunResult]) -> dict[Task, list[RunResult]]:
    """Group results by algorithm and environment, keeping their order.

    :param results: Results to group
    :return: Results of each algorithm on each environment
    """
    tasks: dict[Task, list[RunResult]] = {}
    for result in results:
        tasks.setdefault(result.spec.names, []).append(result)
    return tasks


def stored_tasks(grid: Grid, store: Store, seeds: int) -> dict[Task, list[RunResult]]:
    """Read the stored runs of each algorithm on each environment, in the order of the grid.

    :param grid: Grid
    :param store: Store of the grid's results
    :param seeds: Number of seeds that will be trained again
    :return: Finished runs of each algorithm on each environment
    :raises UserError: If a task has too few stored runs for an alarm, or would not notice a policy
        that learns nothing; the message names the first such task
    """
    finished = [result for result in store.read(grid.runs()) if result.failure is None]
    tasks = by_task(finished)
    names = list(dict.fromkeys(spec.names for spec in grid.runs()))
    false_alarm = FALSE_ALARM / len(names)
    needed = fewest_stored(seeds, false_alarm)
    for task in names:
        runs = tasks.get(task, [])
        found = f"{' on '.join(task)} has {len(runs)} stored runs in {store.folder}"
        if len(runs) < needed:
            able = [k for k in range(1, len(runs)) if has_alarm(len(runs) - k, k, false_alarm / 2)]
            other = f", or take --seeds {able[0]}, for which there are enough" if able else ""
            raise UserError(
                f"{found}; with --seeds {seeds} a test needs at least {needed}, so that its false "
                f"alarms are below 1 in {1 / FALSE_ALARM:,.0f}: run the grid with `sb3-course run` "
                f"and at least this many seeds{other}"
            )
        power, _ = powers(runs, seeds, false_alarm)  # fail before anything is trained
        if power < MIN_POWER:
            able = [k for k in range(1, len(runs)) if has_alarm(len(runs) - k, k, false_alarm / 2)]
            strong = (k for k in able if powers(runs, k, false_alarm)[0] >= MIN_POWER)
            k = next(strong, None)
            other = "" if k is None else f"--seeds {k}, "
            raise UserError(
                f"{found}; with --seeds {seeds}, a policy that learns nothing would be noticed "
                f"with probability {power:.2f} only, and {MIN_POWER} is needed: choose {other}"
                "a longer budget, an easier task or more evaluations"
            )
    return tasks


def fewest_stored(k: int, false_alarm: float) -> int:
    """Compute how many stored runs a task needs, those that are trained again included.

    :param k: Number of new runs
    :param false_alarm: Largest probability of a false alarm
    :return: Smallest number with which an alarm is possible
    """
    n = 1
    while not has_alarm(n, k, false_alarm / 2):
        n += 1
    return n + k


def compare(
    stored: Sequence[RunResult], new: Sequence[RunResult], comparisons: int = 1
) -> Comparison:
    """Compare new runs with stored ones, return by return and with the rank test.

    The rank test takes the stored runs of other seeds, which are independent of the new ones. The
    m comparisons of a round share :data:`FALSE_ALARM` (Bonferroni).

    :param stored: Finished runs of one algorithm on one environment
    :param new: New runs of the same algorithm and environment, with seeds that are stored
    :param comparisons: Number of comparisons in the round, m
    :return: Verdict, with the power of the test
    """
    names = stored[0].spec.names
    before = {result.spec.seed: result for result in stored}
    again = [before.pop(result.spec.seed) for result in new]
    others = np.array([summary(result) for result in before.values()])
    false_alarm = FALSE_ALARM / comparisons
    power = powers([*again, *before.values()], len(new), false_alarm)
    pairs = list(zip(again, new, strict=True))
    for old, result in pairs:
        if reason := incomparable(old, result):
            return Comparison(*names, others, None, Verdict.FAILED, *power, reason)
    results = np.array([summary(result) for result in new])
    differences = [
        (difference, same_conditions(old, result))
        for old, result in pairs
        if (difference := first_difference(old, result))
    ]
    if not differences:
        return Comparison(*names, others, results, Verdict.EXACT, *power)
    verdict = Verdict.CHANGED if any(alike for _, alike in differences) else Verdict.ALIKE
    if found := alarm(others, results, false_alarm):
        verdict = Verdict.WORSE if found < 0 else Verdict.BETTER
    return Comparison(*names, others, results, verdict, *power, differences[0][0])


def same_conditions(stored: RunResult, new: RunResult) -> bool:
    """Return whether two runs were made with the same versions, system and processor.

    Conditions that a run did not record count as different from all others.

    :param stored: Stored run
    :param new: New run
    :return: True if all recorded conditions but those under test are the same
    """
    before, now = (
        {
            name: value
            for name, value in (result.made_with or {}).items()
            if name.startswith(PACKAGE)
            or not (name in UNDER_TEST or name.startswith((SOURCE_OF, REGISTRATION_OF)))
        }
        for result in (stored, new)
    )
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
    :return: Table with one row per comparison; the two columns of power are the probabilities that
        a policy that learns nothing, and one that gains half as much, are caught
    """
    rows = Table("algorithm", "environment", box=box.SIMPLE_HEAD if terminal else None)
    for name in ("stored", "range", "new", "caught: nothing", "half"):
        rows.add_column(name, justify="right")
    rows.add_column("verdict")
    for c in comparisons:
        numbers = (
            _median(c.stored),
            interval(c.stored),
            "-" if c.new is None else _median(c.new),
            f"{c.power:.3f}",
            f"{c.half_power:.3f}",
        )
        verdict = Text(c.verdict.value, "green" if c.verdict.good else "red")
        rows.add_row(Text(c.algorithm), Text(c.environment), *numbers, verdict)
    return rows
