"""Tables, figures, one self-contained page and a README from the results of a grid."""

from collections.abc import Sequence
from pathlib import Path

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.definition.yaml_source import dump
from sb3_course.benchmark.logs.reading import Logs
from sb3_course.benchmark.reporting.content import Record, Section
from sb3_course.benchmark.reporting.drawing import files
from sb3_course.benchmark.reporting.page.templates import render
from sb3_course.benchmark.reporting.sections.contents import sections
from sb3_course.benchmark.reporting.sources import sources
from sb3_course.benchmark.statistics.analysis import analyze, analyze_returns
from sb3_course.benchmark.statistics.curves import common_seeds
from sb3_course.benchmark.statistics.design import design_of_returns
from sb3_course.benchmark.statistics.scores import References, load_references, references_of
from sb3_course.benchmark.storage.derived import replace_files
from sb3_course.benchmark.storage.manifest import NAME, configuration, read_manifest
from sb3_course.benchmark.storage.references import read_references
from sb3_course.benchmark.storage.returns_table import csv_of, tidy
from sb3_course.benchmark.storage.rl_zoo import write_zoo
from sb3_course.benchmark.storage.rounds import Rounds, read_rounds
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from sb3_course.common.files import check_not_read, write_whole

PAGE, README = "report.html", "README.md"


@files.glyphs_checked()
def publish(grid: Grid, store: Store, folder: Path | None = None) -> Path:
    """Write tables, figures, ``report.html``, ``README.md`` and ``zoo`` from results in a store.

    :param grid: Grid
    :param store: Store of the grid's results
    :param folder: Folder to write to; None for that of the store
    :return: Path of the page
    :raises UserError: The folder is a file, is one of another grid's results, or has a README of
        something else
    """
    folder = store.folder if folder is None else _checked(folder)
    results = store.read(grid.runs())
    table = tidy(results)
    write_whole(folder / "returns.csv", csv_of(table))
    measured, rounds = read_references(store.folder), read_rounds(store.folder)
    analysis = analyze(grid, results, measured, rounds, table)
    text = dump(configuration(grid))
    record = Record(results, len(grid.runs()), read_manifest(store.folder) or {}, text)
    page = write_page(grid.name, sections(analysis, record), folder)
    write_zoo(results, folder / "zoo")
    return page


@files.glyphs_checked()
def publish_logs(logs: Logs, folder: Path) -> Path:
    """Write ``returns.csv``, figures, ``report.html`` and ``README.md`` from logs.

    :param logs: Logs
    :param folder: Folder to write to, after which the report is named
    :return: Path of the page
    :raises UserError: The folder is a file, is one of a grid's results, or has a table that
        was read or a README of something else
    """
    check_not_read("--out", _checked(folder) / "returns.csv", (run.path for run in logs.runs))
    write_whole(folder / "returns.csv", csv_of(logs.table))
    name = folder.resolve().name
    table, numbered = common_seeds(logs.table)
    rounds = _rounds_among(logs)
    asked = {} if rounds else logs.questions  # which the report of each grid answers
    design = design_of_returns(name, table, references_among(logs), rounds, asked)
    record = Record(logs=sources(logs, design, numbered))
    content = sections(analyze_returns(design, table, logs.absent), record)
    return write_page(name, content, folder)


def _checked(folder: Path) -> Path:
    """Return a folder that a report may be written to."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out: given {str(folder)!r}, which is a file; allowed: a folder")
    if (folder / NAME).exists():
        raise UserError(f"{folder} holds the results of a grid; choose another folder (--out)")
    if (folder / README).exists() and not (folder / PAGE).exists():
        raise UserError(f"{folder / README} is of no report; choose another folder (--out)")
    return folder


def _rounds_among(logs: Logs) -> Rounds | None:
    """Return how seeds of a grid among logs were added after looking, if they were."""
    found = (read_rounds(folder) for _, folder in logs.grids)
    return next((rounds for rounds in found if rounds is not None), None)


def references_among(logs: Logs) -> References:
    """Return the reference returns of logs: those of the grids among them, else shipped ones.

    An environment that RL Zoo made with arguments is another task than the shipped one.

    :param logs: Logs
    :return: References by environment; of several grids, the first that has one counts
    """
    known = load_references()
    changed = {run.environment for run in logs.runs if run.task}  # so nobody knows its references
    environments = {n: known.environments[n] for n in known.environments if n not in changed}
    for grid, folder in reversed(logs.grids):
        for name in grid.environments:  # which settings may have made another task
            environments.pop(name, None)
        environments |= references_of(grid, read_references(folder)).environments
    return known.model_copy(update={"environments": environments})


def write_page(name: str, content: Sequence[Section], folder: Path) -> Path:
    """Write the figures, the page and the README of a report.

    :param name: Title of the page
    :param content: Sections, the first of which is the head
    :param folder: Folder to write to
    :return: Path of the page
    """
    draw(content, folder / "figures")
    for template, file in (("report.html.j2", PAGE), ("report.md.j2", README)):
        write_whole(folder / file, render(template, title=name, sections=content))
    return folder / PAGE


def draw(content: Sequence[Section], folder: Path) -> None:
    """Write the figures and remove those of an earlier report that this one does not contain.

    :param content: Sections of the report
    :param folder: Folder of the figures
    """
    pictures = [picture for section in content for picture in section.pictures]
    drawn = [files.drawn(picture.figure, picture.name) for picture in pictures]
    replace_files(folder, {name: data for by_name in drawn for name, data in by_name.items()})
