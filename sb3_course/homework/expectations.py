"""What was expected of an experiment, and what its runs have reached."""

from dataclasses import dataclass

import pandas as pd

from sb3_course.homework.experiments import Check, Reaches

TABLE = ("expected", "reached", "by", "as expected")
"""Columns of the table."""


@dataclass(frozen=True)
class Outcome:
    """What came of an expectation.

    :param says: Expectation in words
    :param reached: What was reached, in words
    :param by: Algorithm that reached it
    :param holds: Whether it is as expected; None if runs are missing
    """

    says: str
    reached: str
    by: str
    holds: bool | None

    @property
    def row(self) -> tuple[str, str, str, str]:
        """Cells of the table :data:`TABLE`."""
        verdict = {True: "yes", False: "no", None: "not run"}[self.holds]
        return self.says, self.reached, self.by, verdict


def outcome(check: Check, curves: pd.DataFrame) -> Outcome:
    """Compare an expectation with the returns.

    :param check: Expectation
    :param curves: Table with ``environment, algorithm, step, point, high``, one row per algorithm
        and step, where ``point`` is the mean over the seeds and ``high`` that of the best one
    :return: What came of it
    """
    here = curves[curves["environment"] == check.environment]
    if isinstance(check, Reaches):
        mine = here[here["algorithm"].isin(check.algorithms)] if check.algorithms else here
        if mine.empty:
            return Outcome(check.says, "—", "—", None)
        column = "high" if check.one_run else "point"
        highest = mine.sort_values(column, ascending=False, kind="stable")  # the earliest of equals
        best = highest.to_dict("records")[0]
        words = f"{_number(best[column])} at {best['step']:,} steps"
        return Outcome(check.says, words, best["algorithm"], best[column] >= check.least)
    if not {check.first, check.second} <= set(here["algorithm"]):
        return Outcome(check.says, "—", "—", None)
    first, second = (_arrival(here, name, check.level) for name in (check.first, check.second))
    words = f"{_steps(first)} against {_steps(second)}"
    sooner = first is not None and (second is None or first < second)
    return Outcome(check.says, words, check.first, sooner)


def _arrival(curves: pd.DataFrame, algorithm: str, level: float) -> int | None:
    """Return the first step at which a mean return is at a level."""
    there = curves[(curves["algorithm"] == algorithm) & (curves["point"] >= level)]
    return None if there.empty else int(there["step"].min())


def _steps(steps: int | None) -> str:
    return "never" if steps is None else f"{steps:,} steps"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:,.1f}"
