"""What is missing from a report, and how its runs were made."""

from sb3_course.benchmark.reporting.content import Record, Section
from sb3_course.benchmark.reporting.tables import runs
from sb3_course.benchmark.statistics.analysis import Analysis


def absent(analysis: Analysis, record: Record) -> Section:
    """Return the section that lists every run missing from a statistic.

    :param analysis: Every number of the report
    :param record: How the runs were made
    :return: Section "Failed and missing runs"
    """
    table = runs.absent(analysis)
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
    made_with = runs.made_with(record)
    return Section(
        "How to reproduce",
        [text],
        code="\n".join([*checkout, *commands]),
        tables=[made_with] if made_with.rows else [],
        details=[("Configuration of the complete grid", record.configuration)],
    )
