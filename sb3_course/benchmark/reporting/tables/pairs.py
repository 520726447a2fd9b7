"""Tables of pairs of algorithms and of the questions about them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sb3_course.benchmark.reporting.content import NOTHING, Cell, Row, Table
from sb3_course.benchmark.reporting.numbers import bounds, interval, number, p_value
from sb3_course.benchmark.reporting.tables.layout import drawn, look, records
from sb3_course.benchmark.statistics.analysis import Analysis
from sb3_course.benchmark.statistics.hypothesis_tests.power import MOST_RUNS
from sb3_course.benchmark.statistics.pairs import ALL
from sb3_course.benchmark.statistics.pairs import PROBABILITIES as MARKED

OPEN = "#8a8a8a"
"""Color of the drawn interval of a pair that is not told apart."""
PROBABILITY = (0.0, 1.0)
HALF = 0.5
LOOKED = ". Seeds were added after looking, of which p takes no account"
"""What is to be said of a fixed test's p where seeds were added in rounds."""
MANY = 10
"""Number of rows above which a page folds a table of pairs."""


def questions(analysis: Analysis) -> Table:
    """Return the table of the questions with their answers.

    :param analysis: Every number of the report
    :return: One row per question
    """
    of, rows = look(analysis), []
    by = (
        "by a permutation test at the 5% level, corrected over the questions"
        if analysis.design.rounds is None
        else "by the sequential test of the looks at all rounds, at the 5% level of all planned "
        "questions together"
    )
    for row in records(analysis.answers):
        color = of[row.winner].hex if row.settled else OPEN
        rows.append(
            [
                Cell(row.question, f"{row.x} against {row.y}"),
                _probability(row, color),
                _verdict(row),
            ]
        )
    return Table(
        "Probability that a run of the first ends higher than one of the second [95% interval], "
        f"beside one half. Settled (name in bold): told apart {by}",
        ["Question", "P(X > Y)", "Answer"],
        rows,
    )


def _probability(row: Any, color: str) -> Cell:
    if not np.isfinite(row.point):
        return Cell(NOTHING)
    bar = drawn(row, PROBABILITY, color, HALF)
    return Cell(number(row.point), bounds(row.low, row.high), bar=bar)


def _verdict(row: Any) -> Cell:
    if not np.isfinite(row.point):
        return Cell("not answered", row.why, state="no")
    if row.settled:
        return Cell(row.winner, bold=True, state="yes")
    return Cell("open", state="no")


def power(analysis: Analysis) -> Table:
    """Return the table of how sure the answers are, and of how many seeds would make them so.

    :param analysis: Every number of the report
    :return: One row per question that is answered
    """
    answers = analysis.answers[analysis.answers["point"].notna()]
    in_rounds = bool((answers["rounds"] > 0).any())
    rows: list[Row] = [
        [
            f"{row.x} against {row.y}",
            p_value(row.p),
            p_value(row.p_holm),
            _seeds(row.n_runs_x, row.n_runs_y),
            Cell(_percent(row.power), _range(row.power_low, row.power_high, _percent)),
            Cell(_whole(row.seeds_needed), _range(row.seeds_low, row.seeds_high, _whole)),
            *([str(row.rounds)] if in_rounds else []),
        ]
        for row in records(answers)
    ]
    return Table(
        "Are there enough seeds? p: permutation test within each environment, then corrected over "
        "the questions (Holm); power at the seeds that there are (at the fewer of two numbers) and "
        "seeds for a power of 80%, estimated by resampling [95% interval]"
        + ("; rounds: looks of the sequential test so far, which decides" if in_rounds else "")
        + LOOKED * (analysis.design.rounds is not None),
        ["Question", "p", "p (Holm)", "Seeds", "Power", "Seeds for 80%"]
        + (["Rounds"] if in_rounds else []),
        rows,
        folded=True,
    )


def _percent(value: float) -> str:
    return NOTHING if pd.isna(value) else f"{100 * value:.0f}%"


def _whole(value: float) -> str:
    if pd.isna(value):
        return NOTHING
    return f"{value:,.0f}" if value <= MOST_RUNS else f">{MOST_RUNS:,}"


def _range(low: float, high: float, text: Any) -> str:
    return "" if pd.isna(low) else f"[{text(low)}, {text(high)}]"


def differences(analysis: Analysis) -> Table:
    """Return the table of all measures of the questions over all environments.

    :param analysis: Every number of the report
    :return: One row per question
    """
    table = analysis.comparisons[analysis.comparisons["environment"] == ALL]
    return _by_question(
        table,
        "measure",
        list(dict.fromkeys(table["measure"])),
        "The first against the second over all environments [95% interval]: probability to score "
        "higher at the end, and by the mean over the run; differences of interquartile means of "
        "scores, where there are reference returns",
    )


def by_environment(analysis: Analysis) -> Iterator[Table]:
    """Return the tables of the questions on each environment.

    :param analysis: Every number of the report
    :yield: One table per measure that is a probability
    """
    table = analysis.comparisons[analysis.comparisons["environment"] != ALL]
    environments = [e for e in analysis.design.environments if e in set(table["environment"])]
    for measure, rows in table.groupby("measure", sort=False):
        caption = f"On each environment: {measure} [95% interval]"
        yield _by_question(rows, "environment", environments, caption)


def _by_question(table: pd.DataFrame, column: str, names: Sequence[str], caption: str) -> Table:
    cells = {
        (row.question, getattr(row, column)): Cell(
            number(row.point),
            bounds(row.low, row.high),
            bar=drawn(row, PROBABILITY, "currentColor", HALF) if row.measure in MARKED else None,
        )
        for row in records(table)
    }
    pairs = records(table[["question", "x", "y"]].drop_duplicates())
    rows = [
        [f"{x} against {y}", *(cells.get((question, name), NOTHING) for name in names)]
        for question, x, y in pairs
    ]
    return Table(caption, ["Question", *names], rows, folded=True)


def probability_of_improvement(analysis: Analysis) -> Table:
    """Return the table of P(X > Y) of every pair, with the probably better algorithm first.

    :param analysis: Every number of the report
    :return: One row per pair
    """
    of = look(analysis)
    rows: list[Row] = []
    table = analysis.probability_of_improvement
    everywhere = len({tuple(names) for names in table["environments"]}) < 2
    for row in records(table):
        if row.point < HALF:
            row = _turned(row)
        bar = drawn(row, PROBABILITY, of[row.x].hex if row.apart else OPEN, HALF)
        told = Cell(f"{row.x}", bold=True, state="yes") if row.apart else Cell("open", state="no")
        cells: list[Cell | str] = [
            f"{row.x} over {row.y}",
            Cell(number(row.point), bounds(row.low, row.high), bar=bar),
            p_value(row.p),
            p_value(row.p_holm),
            told,
            _seeds(row.n_runs_x, row.n_runs_y),
        ]
        rows.append([*cells, *([] if everywhere else [", ".join(row.environments)])])
    return Table(
        "Probability that a run of the first scores higher [95% interval]; p: permutation test "
        "within each environment; told apart at the 5% level after Holm's correction over all "
        "pairs" + _of_rounds(analysis),
        ["Pair", "P(X > Y)", "p", "p (Holm)", "Told apart", "Seeds"]
        + ([] if everywhere else ["Environments"]),
        rows,
        folded=len(rows) > MANY,
    )


def _of_rounds(analysis: Analysis) -> str:
    """Return what a caption says of pairs if seeds were added in rounds."""
    if analysis.design.rounds is None:
        return ""
    if analysis.design.questions:
        return ", a question's pair by its answer" + LOOKED
    return LOOKED + ": none is told apart here; the report of each grid answers its questions"


def _turned(row: Any) -> Any:
    """Return a pair the other way round."""
    new = {"x": row.y, "y": row.x, "n_runs_x": row.n_runs_y, "n_runs_y": row.n_runs_x}
    numbers = {"point": 1 - row.point, "low": 1 - row.high, "high": 1 - row.low}
    return row._replace(**new, **numbers)


def _seeds(n_x: int, n_y: int) -> str:
    return f"{n_x}" if n_x == n_y else f"{n_x} and {n_y}"


def told_apart(analysis: Analysis) -> dict[str, list[str]]:
    """List for each algorithm those that it is told apart from and improves on.

    :param analysis: Every number of the report
    :return: Names of the other algorithms, each with its probability
    """
    better: dict[str, list[str]] = {}
    for row in records(analysis.probability_of_improvement):
        row = _turned(row) if row.point < HALF else row
        if row.apart:
            text = f"{row.y} ({interval(row.point, row.low, row.high)})"
            better.setdefault(row.x, []).append(text)
    return better
