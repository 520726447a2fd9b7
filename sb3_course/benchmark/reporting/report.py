"""Tables, figures, one self-contained page and a README from the results of a grid."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.logs.reading import Logs
from sb3_course.benchmark.reporting import figures
from sb3_course.benchmark.reporting.content import Picture, Record, Section
from sb3_course.benchmark.reporting.sections import sections
from sb3_course.benchmark.reporting.sources import sources
from sb3_course.benchmark.statistics.analysis import analyze, analyze_returns
from sb3_course.benchmark.statistics.design import design_of_returns
from sb3_course.benchmark.statistics.scores import References, load_references, references_of
from sb3_course.benchmark.statistics.undeclared import common_seeds
from sb3_course.benchmark.storage.derived import replace_files
from sb3_course.benchmark.storage.manifest import NAME, configuration, read_manifest
from sb3_course.benchmark.storage.references import read_references
from sb3_course.benchmark.storage.returns_table import csv_of, tidy
from sb3_course.benchmark.storage.rl_zoo import write_zoo
from sb3_course.benchmark.storage.rounds import read_rounds
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from sb3_course.common.files import write_whole


def publish(grid: Grid, store: Store) -> Path:
    """Write tables, figures, ``report.html``, ``README.md`` and ``zoo`` from results in a store.

    :param grid: Grid
    :param store: Store of the grid's results
    :return: Path of the page
    """
    results = store.read(grid.runs())
    write_whole(store.folder / "returns.csv", csv_of(tidy(results)))
    analysis = analyze(grid, results, read_references(store.folder), read_rounds(store.folder))
    text = yaml.safe_dump(configuration(grid), sort_keys=False, allow_unicode=True)
    manifest = read_manifest(store.folder) or {}
    content = sections(analysis, Record(results, len(grid.runs()), manifest, text))
    page = _write(grid.name, content, store.folder)
    write_zoo(results, store.folder / "zoo")
    return page


def publish_logs(logs: Logs, folder: Path) -> Path:
    """Write ``returns.csv``, figures, ``report.html`` and ``README.md`` from logs.

    :param logs: Logs
    :param folder: Folder to write to, after which the report is named
    :return: Path of the page
    :raises UserError: The folder is one of a grid's results
    """
    if (folder / NAME).exists():
        raise UserError(f"{folder} holds the results of a grid; choose another folder (--out)")
    write_whole(folder / "returns.csv", csv_of(logs.table))
    name = folder.resolve().name
    table, numbered = common_seeds(logs.table)
    design = design_of_returns(name, table, references_among(logs))
    record = Record(logs=sources(logs, design, numbered))
    content = sections(analyze_returns(design, table, logs.absent), record)
    return _write(name, content, folder)


def references_among(logs: Logs) -> References:
    """Return the reference returns of logs: those of the grids among them, else shipped ones.

    :param logs: Logs
    :return: References by environment; of several grids, the first that has one counts
    """
    known = load_references()
    for grid, folder in reversed(logs.grids):
        found = references_of(grid, read_references(folder)).environments
        known = known.model_copy(update={"environments": {**known.environments, **found}})
    return known


def _write(name: str, content: Sequence[Section], folder: Path) -> Path:
    """Write the figures, the page and the README of a report."""
    draw(content, folder / "figures")
    for template, file in (("report.html.j2", "report.html"), ("report.md.j2", "README.md")):
        write_whole(folder / file, render(template, name, content, folder / "figures"))
    return folder / "report.html"


def draw(content: Sequence[Section], folder: Path) -> None:
    """Write the figures and remove those of an earlier report that this one does not contain.

    :param content: Sections of the report
    :param folder: Folder of the figures
    """
    pictures = [picture for section in content for picture in section.pictures]
    files = [figures.drawn(picture.figure, picture.name) for picture in pictures]
    replace_files(folder, {name: data for by_name in files for name, data in by_name.items()})


def render(template: str, title: str, content: Sequence[Section], folder: Path) -> str:
    """Fill in a template; all inserted texts are escaped.

    :param template: File name of the template
    :param title: Title of the report
    :param content: Sections of the report
    :param folder: Folder of the figures
    :return: Text of the page or README
    """
    environment = Environment(
        loader=PackageLoader("sb3_course.benchmark.reporting", "."),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["markdown"] = markdown
    environment.filters["fenced"] = fenced
    environment.globals["source"] = partial(source, folder=folder)
    return environment.get_template(template).render(title=title, sections=content) + "\n"


def source(picture: Picture, folder: Path) -> str:
    """Return the source of an image that embeds a whole figure.

    :param picture: Figure
    :param folder: Folder of the figures
    :return: Data URI of the figure's SVG file
    """
    return figures.data_uri((folder / f"{picture.name}.svg").read_text("utf-8"))


def markdown(text: str) -> str:
    """Escape what Markdown, as GitHub has it, would interpret as markup, a link or a formula.

    :param text: Plain text
    :return: Escaped text in one line
    """
    text = re.sub(r"([\\`*_|~$])", r"\\\1", " ".join(text.split()))
    text = re.sub(r"(?<=\])([(\[])", r"\\\1", text)  # links, but not the brackets of intervals
    text = re.sub(r"(?i)(?<=[a-z])(:)(?=//)|(?<=www)(\.)|(?<=\S)(@)", r"\\\g<0>", text)
    # Headings, lists, rules, quotations and definitions, but not the minus of a number.
    text = re.sub(
        r"^(?:#{1,6}(?=\s|$)|[+-](?=\s|$)|-{2,}(?=[- ]*$)|[>=]|\[(?=.*\]:))", r"\\\g<0>", text
    )
    text = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", text)
    return text.replace("&", "&amp;").replace("<", "&lt;")


def fenced(code: str) -> str:
    """Return commands as a block of code that none of them ends.

    :param code: Commands, one per line
    :return: Block of Markdown
    """
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{code}\n{fence}"
