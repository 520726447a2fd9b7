"""The answer as pictures: learning curves, aggregates with intervals, and the questions."""

from sb3_course.benchmark.reporting.content import BAND, BAR, Picture, Section
from sb3_course.benchmark.reporting.drawing import figures
from sb3_course.benchmark.reporting.drawing.families import Group
from sb3_course.benchmark.reporting.numbers import span
from sb3_course.benchmark.reporting.sections.detail import lacking
from sb3_course.benchmark.reporting.sections.selection import named_groups, shown, with_rows
from sb3_course.benchmark.reporting.tables import pairs
from sb3_course.benchmark.reporting.tables import scores as tables
from sb3_course.benchmark.statistics.analysis import Analysis
from sb3_course.benchmark.statistics.metrics import STATISTICS


def learning_curves(analysis: Analysis) -> Section:
    """Return the section of learning curves.

    :param analysis: Every number of the report
    :return: Section "Learning curves"
    """
    pictures = [
        _curves(analysis, group, name) for name, group in named_groups(analysis, "learning_curves")
    ]
    return Section("Learning curves", pictures=pictures)


def _curves(analysis: Analysis, group: Group, name: str) -> Picture:
    styles = shown(analysis, group.names)
    environments = with_rows(analysis, analysis.curves, group.names)
    known = analysis.design.references.environments
    curves = analysis.curves[analysis.curves["algorithm"].isin(group.names)]
    panels = figures.learning_curves(curves, environments, styles, references=known)
    return Picture(
        name,
        f"Learning curves of {', '.join(group.names)}, one panel per environment; the tables of "
        "returns contain their last values.",
        f"Mean return over runs ({span(curves['n_runs'], 'run')} each) and {BAND}."
        + figures.thin_lines(panels),
        figures.together(panels, styles),
        panels,
        styles,
        ("Single runs", figures.single_runs(analysis.runs, environments, styles)),
        title=group.title,
    )


def scores(analysis: Analysis) -> Section:
    """Return the section of aggregates over environments.

    :param analysis: Every number of the report
    :return: Section "Scores"
    """
    text = [f"Score: (return - random) / (expert - random). Interval: {BAR}.", *lacking(analysis)]
    shown_tables = [tables.iqm(analysis), tables.other_aggregates(analysis)]
    if analysis.ranks_compare:
        shown_tables.append(tables.ranks(analysis))
    return Section(
        "Scores",
        text,
        pictures=[_aggregates(analysis)],
        tables=[*shown_tables, tables.references(analysis)],
        half=bool(analysis.design.questions),
    )


def _aggregates(analysis: Analysis) -> Picture:
    styles = shown(analysis, analysis.aggregates["algorithm"])
    names = list(STATISTICS)
    panels = figures.intervals(analysis.aggregates, "statistic", names, styles, "Score")
    return Picture(
        "aggregates",
        "Interquartile mean, median, mean and optimality gap of every algorithm with intervals; "
        "the tables of final scores contain the numbers.",
        f"Final scores over {', '.join(analysis.aggregated)}: estimate (line) and interval (bar); "
        f"{span(analysis.aggregates['n_runs'], 'seed')} of each algorithm on each environment. "
        "Optimality gap: the mean amount by which scores fall short of 1; lower is better.",
        figures.together(panels, {}),
        printed=True,
    )


def questions(analysis: Analysis) -> Section:
    """Return the section that answers the questions, each by comparing two algorithms.

    :param analysis: Every number of the report
    :return: Section "Questions"
    """
    return Section("Questions", tables=[pairs.questions(analysis)], half=_beside(analysis))


def _beside(analysis: Analysis) -> bool:
    """Return whether there is half a page of results beside the questions."""
    return (
        bool(len(analysis.aggregates))
        or len(with_rows(analysis, analysis.final, analysis.design.algorithms)) == 1
    )
