"""Fill in the templates of pages; all inserted texts are escaped."""

import re
from pathlib import Path
from typing import Any

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    select_autoescape,
)
from markupsafe import Markup

from sb3_course.benchmark.reporting.drawing import figures, plots
from sb3_course.benchmark.reporting.drawing.files import for_page

HERE = "sb3_course.benchmark.reporting"


def render(template: str, folder: Path | None = None, **content: Any) -> str:
    """Fill in a template.

    :param template: File name of the template
    :param folder: Folder of the template, which may extend ``base.html.j2``; None for those here
    :param **content: What the template inserts
    :return: Text of the page or README
    """
    loaders: list[BaseLoader] = [PackageLoader(HERE, "page")]
    if folder is not None:
        loaders.insert(0, FileSystemLoader(folder))
    environment = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["markdown"] = markdown
    environment.filters["fenced"] = fenced
    environment.filters["breakable"] = breakable
    environment.globals |= {
        "drawing": lambda panel: for_page(figures.alone(panel), 1.0),
        "whole": lambda figure: for_page(figure, outlines=True),
        "reference_dashes": plots.REFERENCE_DASHES,
    }
    return environment.get_template(template).render(**content).rstrip() + "\n"


def breakable(name: str) -> Markup:
    """Allow a long name to break before the capitals and hyphens in it.

    :param name: Plain text
    :return: Markup
    """
    parts = re.split(r"(?<=[a-z0-9:_])(?=[A-Z-])", name) if len(name) > 14 else [name]
    return Markup("<wbr>").join(parts)


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
