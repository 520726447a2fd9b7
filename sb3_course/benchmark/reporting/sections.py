"""The sections of a report; the templates of its page and README only lay them out."""

import pandas as pd

from sb3_course.benchmark.reporting import figures, tables
from sb3_course.benchmark.reporting.answers import questions, summary
from sb3_course.benchmark.reporting.content import BAND, BAR, Picture, Record, Section, quantity
from sb3_course.benchmark.reporting.styles import Style, styles
from sb3_course.benchmark.statistics.analysis import Analysis
from sb3_course.benchmark.statistics.metrics import STATISTICS

DETERMINISTIC = (
    "Undiscounted return of the policy's deterministic actions in Gymnasium's own environment."
)
LOGGED = (
    "Undiscounted return, of the evaluations or training episodes that each log holds; the last "
    "section says which."
)
INTERPOLATED = (
    "Runs are compared at the same environment steps; a run that was measured at other steps is "
    "interpolated linearly and never extrapolated."
)


def sections(analysis: Analysis, record: Record) -> list[Section]:
    """Return all sections of a report that the results have content for.

    :param analysis: Every number of the report
    :param record: How the runs were made
    :return: Sections in the order of the report
    """
    parts = [summary(analysis, record)]
    if analysis.design.questions:
        parts.append(questions(analysis))
    if len(analysis.final):
        parts.append(returns(analysis, record))
    if len(analysis.by_environment):
        parts.append(scores(analysis))
    if len(analysis.probability_of_improvement):
        parts.append(probability_of_improvement(analysis))
    if len(analysis.aggregates):
        parts += [performance_profiles(analysis), sample_efficiency(analysis)]
    if analysis.curves["seconds"].notna().any():
        parts.append(training_time(analysis))
    parts.append(absent(analysis, record))
    return [*parts, reproduction(analysis, record) if record.logs is None else record.logs]


def returns(analysis: Analysis, record: Record) -> Section:
    """Return the section on unnormalized returns, with learning curves.

    :param analysis: Every number of the report
    :param record: How the runs were made
    :return: Section "Returns"
    """
    return Section(
        "Returns",
        [DETERMINISTIC if record.logs is None else LOGGED, INTERPOLATED],
        pictures=[
            Picture(
                "learning_curves",
                "Learning curves of every algorithm, one panel per environment; the table of "
                "final returns contains their last values.",
                f"Learning curves: mean over runs ({_runs(analysis)}) and {BAND}.",
                figures.learning_curves(
                    analysis.curves, _present(analysis), _styles(analysis, analysis.curves)
                ),
            )
        ],
        tables=[tables.returns(analysis), tables.best_of_runs(analysis)],
    )


def scores(analysis: Analysis) -> Section:
    """Return the section on normalized scores, on each environment and over all.

    :param analysis: Every number of the report
    :return: Section "Scores"
    """
    unscored = [e for e in _present(analysis) if e not in analysis.design.references.environments]
    text = [
        "A score is (return - random) / (expert - random) at the end of the budget, with fixed "
        "reference returns that are not taken from this table. IQM is the mean of the middle half "
        "of the scores; with fewer than four scores it is the mean of all of them. The optimality "
        "gap is the mean amount by which scores fall short of 1; lower is better.",
        f"Intervals: {BAR}, with runs drawn with replacement within each environment (rliable).",
    ]
    if unscored:
        text.append(f"No score for lack of reference returns: {', '.join(unscored)}.")
    pictures, shown = [], []
    if len(analysis.aggregates):
        pictures.append(_aggregates_picture(analysis))
        shown.append(tables.aggregates(analysis))
    if len(_present(analysis)) > 1:
        pictures.append(_environments_picture(analysis))
        shown.append(tables.by_environment(analysis))
    return Section("Scores", text, pictures=pictures, tables=[*shown, tables.references(analysis)])


def _aggregates_picture(analysis: Analysis) -> Picture:
    return Picture(
        "aggregates",
        "Interquartile mean, median, mean and optimality gap of every algorithm with intervals; "
        "the table of normalized final scores contains the numbers.",
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
        "interquartile means contains the numbers.",
        "Interquartile mean of final returns on each environment (line) and interval (bar).",
        figures.panels_of_intervals(
            analysis.by_environment,
            "environment",
            _present(analysis),
            _styles(analysis, analysis.by_environment),
        ),
    )


def probability_of_improvement(analysis: Analysis) -> Section:
    """Return the section on which algorithm is likely to score higher than which.

    :param analysis: Every number of the report
    :return: Section "Probability of improvement"
    """
    present = list(_styles(analysis, analysis.ranks))
    return Section(
        "Probability of improvement",
        [
            "P(X > Y) is the probability that a run of X scores higher than a run of Y on the same "
            f"environment, averaged over environments. Intervals: {BAR}."
        ],
        pictures=[
            Picture(
                "probability_of_improvement",
                "P(X > Y) of every pair of algorithms as a heat map; the table of pairs contains "
                "the numbers.",
                "P(X > Y), with X in rows and Y in columns; bold if the interval excludes 0.5.",
                figures.probability_of_improvement(analysis.probability_of_improvement, present),
            )
        ],
        tables=[tables.probability_of_improvement(analysis)],
    )


def performance_profiles(analysis: Analysis) -> Section:
    """Return the section on the distribution of scores.

    :param analysis: Every number of the report
    :return: Section "Performance profiles"
    """
    return Section(
        "Performance profiles",
        [
            "A curve shows the fraction of an algorithm's runs that score higher than each value; "
            "higher is better."
        ],
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
    """Return the section on how fast scores rise with experience.

    :param analysis: Every number of the report
    :return: Section "Sample efficiency"
    """
    steps = analysis.design.environments
    budgets = {steps[name][-1] for name in analysis.aggregated}
    budget = budgets.pop() if len(budgets) == 1 else None
    axis = "environment steps" if budget else "the fraction of each environment's budget"
    return Section(
        "Sample efficiency",
        pictures=[
            Picture(
                "sample_efficiency",
                "Interquartile mean of scores along training for every algorithm; the table below "
                "contains four points of each curve.",
                f"Interquartile mean of scores against {axis}, {_seeds(analysis)}, and {BAND}.",
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
    """Return the section on the training time that the returns took.

    :param analysis: Every number of the report
    :return: Section "Wall-clock efficiency"
    """
    timed = analysis.curves[analysis.curves["seconds"].notna()]
    environments = [name for name in _present(analysis) if name in set(timed["environment"])]
    return Section(
        "Wall-clock efficiency",
        [
            "Training time excludes evaluation, with one thread per run. Runs on the same machine "
            "slow each other down, so only times of one grid on one machine are comparable."
        ],
        pictures=[
            Picture(
                "wall_clock",
                "Mean return against seconds of training for every algorithm, one panel per "
                "environment; the table below contains the times.",
                f"Mean return over runs ({_runs(analysis)}) at each evaluation against the median "
                f"training time until then, and {BAND}.",
                figures.learning_curves(timed, environments, _styles(analysis, timed), "seconds"),
            )
        ],
        tables=[tables.training_time(analysis)],
    )


def absent(analysis: Analysis, record: Record) -> Section:
    """Return the section that lists every run missing from a statistic.

    :param analysis: Every number of the report
    :param record: How the runs were made
    :return: Section "Failed and missing runs"
    """
    table = tables.absent(analysis)
    if not table.rows:
        return Section("Failed and missing runs", ["None: every run is in every statistic."])
    text = ["Aggregates over environments use the seeds that finished on every environment."]
    if record.failures:
        text.append(
            "Failed runs are in no statistic, so an algorithm that fails where it performs worst "
            "looks better than it is."
        )
    details = [(result.spec.label, result.failure or "") for result in record.failures]
    return Section("Failed and missing runs", text, tables=[table], details=details)


def reproduction(analysis: Analysis, record: Record) -> Section:
    """Return the section with commands, versions and configuration.

    :param analysis: Every number of the report
    :param record: How the runs were made
    :return: Section "How to reproduce"
    """
    manifest = record.manifest
    commit = str(manifest.get("git_commit") or "")
    checkout = [f"git checkout {commit}"] if commit and not commit.endswith("-dirty") else []
    commands = manifest.get("commands") or [f"sb3-course run {analysis.design.name}.yaml"]
    text = (
        "The same seed produces the same returns with the same versions on the same kind of "
        "processor. Tables and figures depend on the stored runs alone and are identical each "
        "time they are made. To use the configuration below as a grid, save it as "
        f"{analysis.design.name}.yaml."
    )
    made_with = tables.made_with(record)
    return Section(
        "How to reproduce",
        [text],
        code="\n".join([*checkout, *commands]),
        tables=[made_with] if made_with.rows else [],
        details=[("Configuration of the complete grid", record.configuration)],
    )


def _present(analysis: Analysis) -> list[str]:
    present = set(analysis.final["environment"])
    return [name for name in analysis.design.environments if name in present]


def _styles(analysis: Analysis, table: pd.DataFrame) -> dict[str, Style]:
    """Return the styles of the algorithms in a table, chosen among all of the grid's algorithms."""
    every, present = styles(analysis.design.algorithms), set(table["algorithm"])
    return {name: style for name, style in every.items() if name in present}


def _runs(analysis: Analysis) -> str:
    return f"{_range(analysis.curves['n_runs'], 'run')} each"


def _seeds(analysis: Analysis) -> str:
    return f"{_range(analysis.aggregates['n_runs'], 'seed')} of each algorithm on each environment"


def _range(numbers: pd.Series, noun: str) -> str:
    least, most = numbers.min(), numbers.max()
    return f"{least} to {quantity(most, noun)}" if least < most else quantity(most, noun)
