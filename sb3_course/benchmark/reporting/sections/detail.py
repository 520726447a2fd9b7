"""Everything that the answer rests on: returns, pairs, distributions, speed and stability."""

import re
from collections.abc import Sequence

import pandas as pd

from sb3_course.benchmark.reporting.content import BAND, BAR, Picture, Record, Section
from sb3_course.benchmark.reporting.drawing import figures
from sb3_course.benchmark.reporting.numbers import span
from sb3_course.benchmark.reporting.sections.selection import named_groups, shown, with_rows
from sb3_course.benchmark.reporting.tables import pairs, runs, scores
from sb3_course.benchmark.reporting.tables import returns as tables
from sb3_course.benchmark.statistics.analysis import Analysis
from sb3_course.common.files import told_apart

DETERMINISTIC = (
    "Undiscounted return of the policy's deterministic actions in Gymnasium's own environment."
)
LOGGED = (
    "Undiscounted return, of the evaluations or training episodes that each log holds; the last "
    "section says which."
)
TIMED = (
    "Training time excludes evaluation, with one thread per run. Runs on the same machine slow "
    "each other down, so only times of one grid on one machine are comparable."
)
LOGGED_TIMES = (
    "Wall time as each log holds it, with the machine and the threads of that run, which the log "
    "does not name; only times that were measured alike are comparable."
)
INTERPOLATED = (
    "Runs are compared at the same environment steps; a run that was measured at other steps is "
    "interpolated linearly and never extrapolated."
)


def returns(analysis: Analysis, record: Record) -> Section:
    """Return the section on unnormalized returns.

    :param analysis: Every number of the report
    :param record: How the runs were made
    :return: Section "Returns"
    """
    environments = tables.present(analysis)
    styles = shown(analysis, analysis.by_environment["algorithm"])
    panels = figures.intervals(
        analysis.by_environment, "environment", environments, styles, "Return"
    )
    picture = Picture(
        "iqm_by_environment",
        "Interquartile mean of every algorithm's final returns on each environment with "
        "intervals; the table of interquartile means contains the numbers.",
        f"Interquartile mean of final returns (line) and interval (bar). {BAR}.",
        figures.together(panels, {}),
        printed=True,
    )
    shown_tables = [tables.at_the_end(analysis)]
    text = [f"{DETERMINISTIC if record.logs is None else LOGGED} {INTERPOLATED}"]
    scored = bool(len(analysis.aggregates))
    if not scored:
        text = [f"Interval: {BAR}.", *lacking(analysis, record.logs is not None), *text]
        if len(environments) > 1 and analysis.ranks_compare:
            shown_tables.append(scores.ranks(analysis))
    shown_tables += [
        tables.over_the_run(analysis),
        tables.means(analysis),
        tables.best_of_runs(analysis),
    ]
    half = not scored and len(environments) == 1 and bool(analysis.design.questions)
    return Section("Returns", text, pictures=[picture], tables=shown_tables, half=half)


def questions(analysis: Analysis) -> Section:
    """Return the section on how sure the answers to the questions are, and on what they rest.

    :param analysis: Every number of the report
    :return: Section "Questions in detail"
    """
    shown_tables = [pairs.power(analysis), pairs.differences(analysis)]
    return Section("Questions in detail", tables=[*shown_tables, *pairs.by_environment(analysis)])


def lacking(analysis: Analysis, of_logs: bool = False) -> list[str]:
    """Return which environments have no scores, and how to give them some.

    :param analysis: Every number of the report
    :param of_logs: Whether the report is of logs, which no grid declares
    :return: One sentence, or none if no environment is without scores
    """
    known = analysis.design.references.environments
    without = [name for name in tables.present(analysis) if name not in known]
    if not without:
        return []
    first = f"Without reference returns, and so in no score: {', '.join(without)}."
    if of_logs:
        how = "A grid with results among the paths that has these environments may declare them."
        return [f"{first} {how}"]
    return [
        f"{first} To give them, write "
        f"references: {{{without[0]}: {{random: 0, expert: 100}}}} with your numbers into the "
        "grid, the expert's above random's; sb3-course references GRID measures random where it is "
        "left out, and says what is missing."
    ]


def probability_of_improvement(analysis: Analysis) -> Section:
    """Return the section on which algorithm is likely to score higher than which.

    :param analysis: Every number of the report
    :return: Section "Probability of improvement"
    """
    table = analysis.probability_of_improvement
    present = list(shown(analysis, [*table["x"], *table["y"]]))
    return Section(
        "Probability of improvement",
        [
            "P(X > Y) is the probability that a run of X returns more than a run of Y at the end "
            "on the same environment, averaged over the environments on which both have runs. "
            f"Intervals: {BAR}."
        ],
        pictures=[
            Picture(
                "probability_of_improvement",
                "P(X > Y) of every pair of algorithms as a heat map; the table of pairs contains "
                "the numbers.",
                "P(X > Y), with X in rows and Y in columns; bold if the two are told apart.",
                figures.probability_of_improvement(table, present),
            )
        ],
        tables=[pairs.probability_of_improvement(analysis)],
    )


def performance_profiles(analysis: Analysis) -> Section:
    """Return the section on the distribution of scores.

    :param analysis: Every number of the report
    :return: Section "Performance profiles"
    """
    table = analysis.performance_profiles
    pictures = _along(
        analysis,
        "performance_profiles",
        table.assign(position=table["score"]),
        ("Normalized score", "Fraction of runs above"),
        ("Performance profiles of", ": the fraction of runs above each score."),
        "Fraction of runs above each score",
    )
    text = "The fraction of an algorithm's runs that score higher than each value."
    return Section("Performance profiles", [text], pictures=pictures)


def _along(
    analysis: Analysis,
    file: str,
    table: pd.DataFrame,
    labels: tuple[str, str],
    around: tuple[str, str],
    what: str,
) -> list[Picture]:
    """Return a picture for each group of algorithms, with the words around their names in it."""
    pictures = []
    for name, group in named_groups(analysis, file):
        names = [n for n in group.names if n in set(table["algorithm"])]
        if names:
            styles = shown(analysis, names)
            panel = figures.along(table, styles, labels)
            alt = f"{around[0]} {', '.join(names)}{around[1]}"
            caption = f"{what} and {BAND}; {_seeds(analysis, names)}."
            drawn = figures.together([panel], styles)
            pictures.append(Picture(name, alt, caption, drawn, [panel], styles, title=group.title))
    return pictures


def sample_efficiency(analysis: Analysis) -> Section:
    """Return the section on how fast scores rise with experience.

    :param analysis: Every number of the report
    :return: Section "Sample efficiency"
    """
    steps = analysis.design.environments
    budgets = {steps[name][-1] for name in analysis.aggregated}
    budget = budgets.pop() if len(budgets) == 1 else None
    axis = "environment steps" if budget else "the fraction of each environment's budget"
    table = analysis.sample_efficiency
    pictures = _along(
        analysis,
        "sample_efficiency",
        table.assign(position=table["fraction"] * (budget or 1.0)),
        ("Environment steps" if budget else "Fraction of the budget", "IQM of scores"),
        (
            "Interquartile mean of scores of",
            " along training; the table below contains four points of each curve.",
        ),
        f"Interquartile mean of scores against {axis}",
    )
    quarters = scores.sample_efficiency(analysis)
    return Section("Sample efficiency", pictures=pictures, tables=[quarters])


def metrics(analysis: Analysis) -> Section:
    """Return the section on other measured quantities, such as success rates.

    :param analysis: Every number of the report
    :return: Section "Other measures"
    """
    pictures = []
    stems = told_apart(map(str, analysis.metrics["metric"].unique()), _in_file_name)
    for metric, table in analysis.metrics.groupby("metric", sort=False):
        stem = f"metric_{stems[str(metric)]}"
        for name, group in named_groups(analysis, stem):
            styles = shown(analysis, [n for n in group.names if n in set(table["algorithm"])])
            environments = with_rows(analysis, table, group.names)
            if not environments:
                continue
            mine = table[table["algorithm"].isin(group.names)]
            panels = figures.learning_curves(mine, environments, styles, y=str(metric))
            pictures.append(
                Picture(
                    name,
                    f"{metric} of {', '.join(styles)} along training, one panel per environment; "
                    "the table below contains the last values.",
                    f"Mean over runs ({span(mine['n_runs'], 'run')} each) and {BAND}.",
                    figures.together(panels, styles),
                    panels,
                    styles,
                    title=": ".join(filter(None, (str(metric), group.title))),
                )
            )
    return Section("Other measures", pictures=pictures, tables=list(tables.metrics(analysis)))


def stability(analysis: Analysis) -> Section:
    """Return the section on how much runs differ, and how much a run falls.

    :param analysis: Every number of the report
    :return: Section "Stability"
    """
    text = (
        "Raw returns. An algorithm that swings has a high best evaluation and a low last one: "
        "compare how far its runs end below their best."
    )
    return Section("Stability", [text], tables=list(tables.stability(analysis)))


def training_time(analysis: Analysis, record: Record) -> Section:
    """Return the section on the training time that the returns took.

    :param analysis: Every number of the report
    :param record: How the runs were made
    :return: Section "Wall-clock efficiency"
    """
    timed, pictures = analysis.curves[analysis.curves["seconds"].notna()], []
    for name, group in named_groups(analysis, "wall_clock"):
        curves = timed[timed["algorithm"].isin(group.names)]
        environments = with_rows(analysis, curves, group.names)
        styles = shown(analysis, set(group.names) & set(curves["algorithm"]))
        if not environments:
            continue
        panels = figures.learning_curves(curves, environments, styles, "seconds")
        pictures.append(
            Picture(
                name,
                f"Mean return of {', '.join(styles)} against seconds of training, one panel per "
                "environment; the table below contains the times.",
                f"Mean return over runs ({span(curves['n_runs'], 'run')} each) at each evaluation "
                f"against the median training time until then, and {BAND}.",
                figures.together(panels, styles),
                panels,
                styles,
                title=group.title,
            )
        )
    return Section(
        "Wall-clock efficiency",
        [TIMED if record.logs is None else LOGGED_TIMES],
        pictures=pictures,
        tables=[runs.training_time(analysis)],
    )


def _seeds(analysis: Analysis, names: Sequence[str]) -> str:
    mine = analysis.aggregates[analysis.aggregates["algorithm"].isin(names)]
    return f"{span(mine['n_runs'], 'seed')} of each algorithm on each environment"


def _in_file_name(metric: str) -> str:
    return re.sub(r"\W+", "_", metric)
