"""Sections of the page on the studies of a grid, and writing it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optuna.trial import FrozenTrial

from sb3_course.benchmark.reporting.content import NOTHING, Picture, Section, Table
from sb3_course.benchmark.reporting.drawing.figures import together
from sb3_course.benchmark.reporting.drawing.files import glyphs_checked
from sb3_course.benchmark.reporting.report import write_page
from sb3_course.benchmark.tuning.finals import Final, chosen_of
from sb3_course.benchmark.tuning.page import figures
from sb3_course.benchmark.tuning.page.importance import FEWEST, all_equal, importances
from sb3_course.benchmark.tuning.progress import after, error_in_words, in_words
from sb3_course.benchmark.tuning.sensitivity import Point, settings_around
from sb3_course.benchmark.tuning.space import position_of, settings_of
from sb3_course.benchmark.tuning.subject import Subject
from sb3_course.benchmark.tuning.trials import (
    AGAIN,
    FAILED,
    REFUSED,
    has_value,
    n_counted,
    reason_of,
    runs_of_trials,
    settings_key,
    values_of,
)
from sb3_course.benchmark.tuning.tuned_grid import provenance

MEASURES = {
    "final": "Return at the end",
    "mean": "Return, mean of the run",
    "best": "Return, best of the run",
}


@dataclass(frozen=True)
class StudyRecord:
    """What is known of a study.

    :param subject: What is tuned
    :param trials: Trials so far
    :param finals: What its best settings have reached on fresh seeds, the best first
    :param curves: Sensitivity to each hyper-parameter; none if it was not asked for
    :param failed: Which of its values failed, and why
    """

    subject: Subject
    trials: Sequence[FrozenTrial]
    finals: Sequence[Final] = ()
    curves: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    failed: Sequence[str] = ()

    @property
    def measure(self) -> str:
        """What values are, as the label of an axis."""
        search = self.subject.search
        return "Score (IQM)" if search.shared else MEASURES[search.objective]

    @property
    def valued(self) -> list[FrozenTrial]:
        """Trials that have ended with a value."""
        return [trial for trial in self.trials if has_value(trial)]

    @property
    def provenance(self) -> list[str]:
        """What the choice rests upon, in lines."""
        return provenance(self.subject, self.finals, self.trials)


@glyphs_checked()
def write_tuning_page(name: str, records: Sequence[StudyRecord], folder: Path) -> Path:
    """Write the page and the README on studies.

    :param name: Name of the grid
    :param records: Studies
    :param folder: Folder of tuning
    :return: Path of the page
    """
    return write_page(f"{name}, tuned", sections(records), folder)


def sections(records: Sequence[StudyRecord]) -> list[Section]:
    """Return the sections of the page.

    :param records: Studies
    :return: Sections, the first of which is the head
    """
    found = [head(records)]
    for record in records:
        found.append(choice(record))
        if record.valued:
            found += [search(record), parameters(record)]
        if any(record.curves.values()) or record.failed:
            found.append(sensitive(record))
    return found


def head(records: Sequence[StudyRecord]) -> Section:
    """Return the head of the page: what was chosen, in a sentence for each study.

    :param records: Studies
    :return: Section without tables
    """
    text = (
        "Settings are compared on seeds that no published run has; of those that are behind at a "
        "rung of steps and seeds, if there are several, the trials end there. The best ones, and "
        "those of the grid, are then run again on fresh seeds, by which one is chosen. Of the "
        "value that made a setting the best of its search, some is luck: the last column estimates "
        "how much. The value on fresh seeds is that of the best of a few, too high by up to about "
        "its standard error; `run` measures it on seeds that chose nothing."
    )
    points = [record.provenance[0] for record in records]
    return Section("Tuning", [text], points)


def choice(record: StudyRecord) -> Section:
    """Return the section on the candidates and their returns on fresh seeds.

    :param record: Study
    :return: Section named after the study
    """
    subject = record.subject
    rows = []
    for place, final in enumerate(record.finals):
        candidate = final.candidate
        value, error, luck, before = final.failure or NOTHING, NOTHING, NOTHING, NOTHING
        if not final.failure:
            value, error = f"{final.value:,.4g}", error_in_words(final.standard_error)
        if candidate.searched is not None and candidate.rung is not None:
            before = after(subject, candidate.rung, candidate.searched)
        if final.optimism is not None:
            luck = f"{final.optimism:+,.4g}"
        chosen = "chosen: " if place == 0 and not final.failure else ""
        rows.append([f"{chosen}{candidate.label}", value, error, before, luck])
    header = ["setting", "on fresh seeds", "standard error", "in its trial", "luck"]
    settings = [
        [final.candidate.label, in_words(final.candidate.settings)] for final in record.finals
    ]
    tables = [
        Table(f"{record.measure} on {len(subject.search.fresh_seeds())} fresh seeds", header, rows),
        Table("Settings", ["setting", "hyper-parameters"], settings),
    ]
    text = [] if rows else ["The trials, or the runs on fresh seeds, have not all ended."]
    return Section(subject.label, text, tables=tables if rows else [])


def search(record: StudyRecord) -> Section:
    """Return the section on the trials: history and table.

    :param record: Study
    :return: Section
    """
    subject = record.subject
    panel = figures.history(subject, record.valued, record.measure)
    styles = figures.rung_styles(subject)
    picture = Picture(
        _file(subject, "history"),
        "Value of each trial on the last rung that it reached; the table contains the numbers.",
        "Value of each trial, in the color of the last rung that it reached. Values of different "
        "rungs are measured on other seeds or steps, and compare only within a color.",
        together([panel], styles),
        [panel],
        styles,
        title="History",
    )
    furthest = Counter[str]()
    for trial in record.valued:
        key = settings_key(trial, subject.ranges)
        furthest[key] = max(furthest[key], len(trial.intermediate_values))
    reached = ", ".join(
        f"{sum(n > i for n in furthest.values())} reached {name}"
        for i, name in enumerate(subject.rung_names)
    )
    text = (
        f"{n_counted(record.trials)} trials, about {_steps(record):,} environment steps. Of their "
        f"{len(furthest)} different settings with a value {reached}."
    )
    return Section(
        f"{subject.label}: the search", [text], pictures=[picture], tables=[_all(record)]
    )


def _all(record: StudyRecord) -> Table:
    subject, rows = record.subject, []
    for trial in record.trials:
        values = values_of(trial)
        state = trial.state.name.lower()
        if AGAIN in trial.user_attrs:
            state += ", second chance"
        if FAILED in trial.user_attrs or REFUSED in trial.user_attrs:
            state = reason_of(trial)[:200]
        cells = [f"{value:,.4g}" for value in values]
        cells += [""] * (len(subject.rungs) - len(cells))
        settings = in_words(settings_of(trial.params, subject.ranges))
        rows.append([str(trial.number), *cells, state, settings])
    header = ["trial", *subject.rung_names, "state", "hyper-parameters"]
    return Table("All trials", header, rows, folded=True)


def parameters(record: StudyRecord) -> Section:
    """Return the section on importances and slices.

    :param record: Study
    :return: Section
    """
    subject = record.subject
    panels = figures.slices(subject, record.valued, record.measure)
    styles = figures.rung_styles(subject)
    picture = Picture(
        _file(subject, "slices"),
        "Value of each trial on the first rung against each hyper-parameter.",
        "Value on the first rung, on which all trials are comparable, in the color of the last "
        "rung that the trial reached.",
        together(panels, styles),
        panels,
        styles,
        title="Slices",
    )
    found = importances(record.trials, subject)
    rows = [[name, f"{value:.2f}"] for name, value in found.items()]
    text = (
        "Importance compares where the best quarter of the trials lies with where all of them do "
        "(PED-ANOVA): 1 in all. It is of this search, which had its eyes on the good settings."
        if found
        else "No importances: all settings have the same value."
        if all_equal(record.valued)
        else f"Importances need {FEWEST} different settings with a value."
    )
    left_out = {name for trial in record.valued for name in trial.params} - found.keys()
    if found and left_out:
        text += f" Left out, since few of the best trials have it: {', '.join(sorted(left_out))}."
    tables = [Table("Importance", ["hyper-parameter", "importance"], rows)] if rows else []
    return Section(f"{subject.label}: parameters", [text], pictures=[picture], tables=tables)


def sensitive(record: StudyRecord) -> Section:
    """Return the section on the sensitivity of the return to each hyper-parameter.

    :param record: Study
    :return: Section
    """
    subject = record.subject
    around = settings_around(subject, chosen_of(record.finals))
    chosen = {name: position_of(subject.ranges[name], value) for name, value in around.items()}
    panels = figures.sensitivity(subject, record.curves, chosen, record.measure)
    statistic = "IQM" if subject.search.shared else "mean"
    picture = Picture(
        _file(subject, "sensitivity"),
        f"{record.measure} along the values of each hyper-parameter, the others as chosen.",
        f"The {statistic} over {len(subject.search.fresh_seeds())} fresh seeds with its 95% "
        "bootstrap interval; a line is at the chosen value.",
        together(panels, {}),
        panels,
        title="Sensitivity",
    )
    rows = []
    for name, points in record.curves.items():
        if points:
            values = [point.value for point in points]
            drop = max(values) - min(values)
            rows.append([name, f"{min(values):,.4g}", f"{max(values):,.4g}", f"{drop:,.4g}"])
    rows.sort(key=lambda row: float(row[3].replace(",", "")), reverse=True)
    header = ["hyper-parameter", "lowest", "highest", "range"]
    table = Table(f"Range of the {statistic}", header, rows)
    text = (
        "One hyper-parameter is varied, the others stay as chosen (sensitivity curves, Patterson "
        "et al. 2024)."
    )
    if record.failed:
        text += " Values that failed are in no figure and no range:"
    return Section(
        f"{subject.label}: sensitivity",
        [text],
        list(record.failed),
        pictures=[picture] if panels else [],
        tables=[table] if rows else [],
    )


def _steps(record: StudyRecord) -> int:
    """Return the environment steps of the runs of all trials, each of which is made once."""
    specs = runs_of_trials(record.trials, record.subject)
    return sum(s.config.stop_at or s.config.total_timesteps for s in specs)


def _file(subject: Subject, kind: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", subject.label.lower()).strip("_")
    return f"{kind}_{words}_{subject.name.rpartition(' ')[2][:6]}"
