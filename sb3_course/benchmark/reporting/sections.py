"""What a report says, section by section; the templates of page and README only lay it out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from sb3_course.benchmark.reporting import figures, tables
from sb3_course.benchmark.reporting.styles import Style, styles
from sb3_course.benchmark.reporting.tables import Table, interval
from sb3_course.benchmark.statistics.analysis import Analysis
from sb3_course.benchmark.statistics.bootstrap import CURVE_REPS, REPS, STATISTICS

BAND = f"95% percentile bootstrap interval, {CURVE_REPS:,} replications at each point"
BAR = f"95% stratified bootstrap interval, {REPS:,} replications"
FEW = 5
"""Seeds under which bootstrap intervals are known to be too narrow."""
MANY = 6
"""Algorithms above which only the best one's pairs are listed in the summary."""


@dataclass(frozen=True)
class Picture:
    """A figure, the name of its files, its caption, and words for those who do not see it."""

    name: str
    alt: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Section:
    """One section of a report.

    :param title: its heading
    :param paragraphs: plain text
    :param points: sentences of a list
    :param code: commands
    :param pictures: its figures
    :param tables: its tables
    :param details: long texts under their titles, folded up
    """

    title: str
    paragraphs: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    code: str = ""
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    details: list[tuple[str, str]] = field(default_factory=list)


def sections(analysis: Analysis, manifest: dict[str, Any], configuration: str) -> list[Section]:
    """Put a report together.

    :param analysis: every number of the report
    :param manifest: with what the grid was run; empty if unknown
    :param configuration: the whole grid as YAML
    """
    parts = [summary(analysis)]
    if analysis.grid.questions:
        parts.append(questions(analysis))
    if len(analysis.final):
        parts.append(returns(analysis))
    if len(analysis.by_environment):
        parts.append(scores(analysis))
    if len(analysis.probability_of_improvement):
        parts.append(probability_of_improvement(analysis))
    if len(analysis.aggregates):
        parts += [performance_profiles(analysis), sample_efficiency(analysis)]
    if len(analysis.final):
        parts.append(training_time(analysis))
    return [*parts, absent(analysis), reproduction(analysis, manifest, configuration)]


def summary(analysis: Analysis) -> Section:
    """Answers first.

    :param analysis: every number of the report
    """
    grid, total = analysis.grid, len(analysis.grid.runs())
    failed = sum(result.failure is not None for result in analysis.results)
    missing = total - len(analysis.results)
    state = f"{len(analysis.results) - failed} of {total} runs finished"
    state += f", {failed} failed" if failed else ""
    state += f", {missing} not run" if missing else ""
    counts = (
        f"Algorithms: {len(grid.algorithms)}. Environments: {len(grid.environments)}. "
        f"Seeds: {len(grid.seeds)}. {state}."
    )
    return Section("In short", [counts], points=list(answers(analysis)))


def answers(analysis: Analysis) -> Iterator[str]:
    """Say in words what the tables show.

    :param analysis: every number of the report
    """
    names = list(analysis.grid.algorithms)
    iqm = analysis.aggregates[analysis.aggregates["statistic"] == "IQM"]
    if len(iqm) > 1:
        row = tables.best(iqm, names)
        value = interval(row["point"], row["low"], row["high"])
        yield f"Highest interquartile mean of scores: {row['algorithm']}, {value}."
        yield from _pairs_told_apart(analysis, [row["algorithm"]] if len(iqm) > MANY else names)
    means = analysis.final.groupby(["environment", "algorithm"], as_index=False)
    ends = means.agg(value=("return_mean", "mean"), n=("seed", "size"))
    for environment in analysis.grid.environments:
        rows = ends[ends["environment"] == environment]
        if len(rows) > 1:
            row = tables.best(rows, names, "value")
            number = f"{row['value']:,.1f} ({tables.number(row['n'], 'run')})"
            yield f"Highest mean return on {environment}: {row['algorithm']}, {number}."
    if len(ends) and (fewest := ends["n"].min()) < FEW:
        yield (
            f"With {tables.number(fewest, 'seed')}, the fewest in a cell, intervals are too narrow "
            f"to trust: use at least {FEW} for claims."
        )


def _pairs_told_apart(analysis: Analysis, of: Sequence[str]) -> Iterator[str]:
    better = tables.told_apart(analysis)
    n_pairs, n_apart = len(analysis.probability_of_improvement), sum(map(len, better.values()))
    yield (
        f"{n_apart} of {tables.number(n_pairs, 'pair')} told apart: the interval of P(X > Y) "
        "leaves out one half."
    )
    for name in (name for name in of if name in better):
        yield f"{name} is likely to score higher than: {', '.join(better[name])}."


def questions(analysis: Analysis) -> Section:
    """What the grid asks, answered by comparing two algorithms each time.

    :param analysis: every number of the report
    """
    table = tables.comparisons(analysis)
    by_environment = tables.comparisons_by_environment(analysis)
    return Section(
        "Questions",
        [f"Scores are defined below. Intervals: {BAR}. One that holds 0.5, or 0, settles nothing."],
        points=[
            *(_answer(*cells) for cells in table.rows),
            *_unanswered(analysis, [question for question, *_ in table.rows]),
        ],
        tables=[table, by_environment] if table.rows else [],
    )


def _answer(
    question: str, x: str, y: str, probability: str, end: str, whole: str, seeds: str
) -> str:
    return (
        f"{question} A run of {x} scores higher than one of {y} with probability {probability}; "
        f"its interquartile mean differs by {end} at the end and by {whole} over the run "
        f"({seeds} seeds)."
    )


def _unanswered(analysis: Analysis, answered: Sequence[str]) -> Iterator[str]:
    whole = set(analysis.aggregates["algorithm"])
    for question, pair in analysis.grid.questions.items():
        if question not in answered:
            lacking = " or ".join(name for name in pair if name not in whole)
            yield f"{question} Not answered: no seed of {lacking} finished on every environment."


def returns(analysis: Analysis) -> Section:
    """Returns as they are, and learning curves.

    :param analysis: every number of the report
    """
    return Section(
        "Returns",
        [
            "Undiscounted return of the policy's deterministic actions in Gymnasium's own "
            "environment. Runs are compared at the declared environment steps; where a run was "
            "measured at others it is interpolated linearly, and never beyond what was measured."
        ],
        pictures=[
            Picture(
                "learning_curves",
                "Learning curves of every algorithm, a panel for each environment; the table of "
                "final returns holds their ends.",
                f"Learning curves: mean over runs ({_runs(analysis)}) and {BAND}.",
                figures.learning_curves(
                    analysis.curves, _present(analysis), _styles(analysis, analysis.curves)
                ),
            )
        ],
        tables=[tables.returns(analysis), tables.best_of_runs(analysis)],
    )


def scores(analysis: Analysis) -> Section:
    """Scores, on each environment and over all.

    :param analysis: every number of the report
    """
    unscored = [e for e in _present(analysis) if e not in analysis.references.environments]
    text = [
        "A score is (return - random) / (expert - random), at the end of the budget, with fixed "
        "references that are not taken from this table. IQM is the mean of the middle half of "
        "the scores; with fewer than four scores nothing is cut off and it is their mean. The "
        "optimality gap is how far scores fall short of 1 on average: less is better.",
        f"Intervals: {BAR}, runs drawn with replacement within each environment (rliable).",
    ]
    if unscored:
        text.append(f"No reference, so no score: {', '.join(unscored)}.")
    pictures, shown = [], []
    if len(analysis.aggregates):
        pictures.append(_aggregates_picture(analysis))
        shown.append(tables.aggregates(analysis))
    if len(analysis.aggregated) > 1:
        pictures.append(_environments_picture(analysis))
        shown.append(tables.by_environment(analysis))
    return Section("Scores", text, pictures=pictures, tables=[*shown, tables.references(analysis)])


def _aggregates_picture(analysis: Analysis) -> Picture:
    return Picture(
        "aggregates",
        "Interquartile mean, median, mean and optimality gap of every algorithm with intervals; "
        "the table of normalized final scores holds the numbers.",
        f"Final scores over {', '.join(analysis.aggregated)}: estimate (line) and interval (bar); "
        f"{_seeds(analysis)}.",
        figures.panels_of_intervals(
            analysis.aggregates,
            "statistic",
            list(STATISTICS),
            _styles(analysis, analysis.aggregates),
        ),
    )


def _environments_picture(analysis: Analysis) -> Picture:
    return Picture(
        "iqm_by_environment",
        "Interquartile mean of every algorithm on each environment with intervals; the table of "
        "interquartile means holds the numbers.",
        "Interquartile mean of final scores on each environment (line) and interval (bar).",
        figures.panels_of_intervals(
            analysis.by_environment,
            "environment",
            analysis.aggregated,
            _styles(analysis, analysis.by_environment),
        ),
    )


def probability_of_improvement(analysis: Analysis) -> Section:
    """Who is likely to outdo whom.

    :param analysis: every number of the report
    """
    present = list(_styles(analysis, analysis.aggregates))
    return Section(
        "Probability of improvement",
        [
            "P(X > Y) is the probability that a run of X scores higher than a run of Y on the same "
            f"environment, averaged over environments. Intervals: {BAR}."
        ],
        pictures=[
            Picture(
                "probability_of_improvement",
                "P(X > Y) of every pair of algorithms as a heat map; the table of pairs holds the "
                "numbers.",
                "P(X > Y), X to the left and Y below; bold where the interval leaves out 0.5; "
                f"{_seeds(analysis)}.",
                figures.probability_of_improvement(analysis.probability_of_improvement, present),
            )
        ],
        tables=[tables.probability_of_improvement(analysis)],
    )


def performance_profiles(analysis: Analysis) -> Section:
    """How scores are distributed.

    :param analysis: every number of the report
    """
    return Section(
        "Performance profiles",
        ["Where one curve is above another, more of that algorithm's runs score higher than that."],
        pictures=[
            Picture(
                "performance_profiles",
                "Performance profiles: for every algorithm the fraction of runs above each score.",
                f"Fraction of runs above each score, {_seeds(analysis)}, and {BAND}.",
                figures.performance_profiles(
                    analysis.performance_profiles, _styles(analysis, analysis.performance_profiles)
                ),
            )
        ],
    )


def sample_efficiency(analysis: Analysis) -> Section:
    """How fast scores rise with experience.

    :param analysis: every number of the report
    """
    environments = analysis.grid.environments
    budgets = {environments[name].total_timesteps for name in analysis.aggregated}
    budget = budgets.pop() if len(budgets) == 1 else None
    axis = "environment steps" if budget else "fractions of each environment's budget"
    return Section(
        "Sample efficiency",
        pictures=[
            Picture(
                "sample_efficiency",
                "Interquartile mean of scores along training for every algorithm; the table below "
                "holds four points of each curve.",
                f"Interquartile mean of scores over {axis}, {_seeds(analysis)}, and {BAND}.",
                figures.sample_efficiency(
                    analysis.sample_efficiency,
                    _styles(analysis, analysis.sample_efficiency),
                    budget,
                ),
            )
        ],
        tables=[tables.sample_efficiency(analysis)],
    )


def training_time(analysis: Analysis) -> Section:
    """What the returns cost in time.

    :param analysis: every number of the report
    """
    return Section(
        "Wall-clock efficiency",
        [
            "Time of training without evaluation, one thread a run. Runs that share a machine slow "
            "each other down, so compare times of one grid on one machine alone."
        ],
        pictures=[
            Picture(
                "wall_clock",
                "Mean return against seconds of training for every algorithm, a panel for each "
                "environment; the table below holds the times.",
                f"Mean return over runs ({_runs(analysis)}) at each evaluation, placed at the "
                f"median time that training took to get there, and {BAND}.",
                figures.learning_curves(
                    analysis.curves,
                    _present(analysis),
                    _styles(analysis, analysis.curves),
                    "seconds",
                ),
            )
        ],
        tables=[tables.training_time(analysis)],
    )


def absent(analysis: Analysis) -> Section:
    """Every run that a statistic is without.

    :param analysis: every number of the report
    """
    table = tables.absent(analysis)
    if not table.rows:
        return Section("Failed and missing runs", ["None: every run is in every statistic."])
    failures = [result for result in analysis.results if result.failure is not None]
    text = ["Aggregates over environments take the seeds that finished on every one of them."]
    if failures:
        text.append(
            "Failed runs are in no statistic, so that an algorithm that fails where it is at its "
            "worst looks better than it is."
        )
    details = [(result.spec.label, result.failure or "") for result in failures]
    return Section("Failed and missing runs", text, tables=[table], details=details)


def reproduction(analysis: Analysis, manifest: dict[str, Any], configuration: str) -> Section:
    """Commands, versions and configuration.

    :param analysis: every number of the report
    :param manifest: with what the grid was run; empty if unknown
    :param configuration: the whole grid as YAML
    """
    commit = str(manifest.get("git_commit") or "")
    checkout = [f"git checkout {commit}"] if commit and not commit.endswith("-dirty") else []
    commands = manifest.get("commands") or [f"sb3-course run {analysis.grid.name}.yaml"]
    text = (
        "The same seed gives the same returns with the same versions on the same kind of "
        "processor. Tables and figures are made from the stored runs alone and are the same at "
        f"each drawing. The configuration below, saved as {analysis.grid.name}.yaml, is the grid."
    )
    made_with = tables.made_with(analysis.results, manifest)
    return Section(
        "How to reproduce",
        [text],
        code="\n".join([*checkout, *commands]),
        tables=[made_with] if made_with.rows else [],
        details=[("Configuration: the whole grid", configuration)],
    )


def _present(analysis: Analysis) -> list[str]:
    present = set(analysis.final["environment"])
    return [name for name in analysis.grid.environments if name in present]


def _styles(analysis: Analysis, table: pd.DataFrame) -> dict[str, Style]:
    """Choose the styles of the algorithms in a table, which all of the grid's have a say in."""
    every, present = styles(analysis.grid.algorithms), set(table["algorithm"])
    return {name: style for name, style in every.items() if name in present}


def _runs(analysis: Analysis) -> str:
    return f"{_count(analysis.curves['n_runs'], 'run')} each"


def _seeds(analysis: Analysis) -> str:
    return f"{_count(analysis.aggregates['n_runs'], 'seed')} of each algorithm on each environment"


def _count(numbers: pd.Series, what: str) -> str:
    least, most = numbers.min(), numbers.max()
    return f"{least} to {tables.number(most, what)}" if least < most else tables.number(most, what)
