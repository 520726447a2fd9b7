"""All sections of a report in their order."""

from sb3_course.benchmark.reporting.answers import summary
from sb3_course.benchmark.reporting.content import Record, Section
from sb3_course.benchmark.reporting.sections import detail, making, overview
from sb3_course.benchmark.statistics.analysis import Analysis


def sections(analysis: Analysis, record: Record) -> list[Section]:
    """Return all sections of a report that the results have content for.

    :param analysis: Every number of the report
    :param record: How the runs were made
    :return: Sections in the order of the report
    """
    parts = [summary(analysis, record)]
    if len(analysis.final):
        parts.append(overview.learning_curves(analysis))
        scored = bool(len(analysis.aggregates))
        parts.append(overview.scores(analysis) if scored else detail.returns(analysis, record))
    if analysis.design.questions:
        parts.append(overview.questions(analysis))
        if analysis.answers["point"].notna().any():
            parts.append(detail.questions(analysis))
    if len(analysis.aggregates):
        parts.append(detail.returns(analysis, record))
    if len(analysis.probability_of_improvement):
        parts.append(detail.probability_of_improvement(analysis))
    if len(analysis.aggregates):
        parts += [detail.performance_profiles(analysis), detail.sample_efficiency(analysis)]
    if len(analysis.metrics):
        parts.append(detail.metrics(analysis))
    if len(analysis.stability):
        parts.append(detail.stability(analysis))
    if analysis.curves["seconds"].notna().any():
        parts.append(detail.training_time(analysis, record))
    parts.append(making.absent(analysis, record))
    return [*parts, making.reproduction(analysis, record) if record.logs is None else record.logs]
