"""Roles and directives that put stored results on pages; `facts` reads and formats them."""

from collections.abc import Callable
from pathlib import Path

import defaults
import details
import durations
import factors
import facts
import tried
from docutils import nodes
from docutils.parsers.rst.states import Inliner
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)
GENERATED = "_generated"


def stored(
    name: str, rawtext: str, text: str, lineno: int, inliner: Inliner, *_: object
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Return a stored number, as ``{stored}`FIGURE / KEY / FORMAT```."""
    try:
        return [nodes.Text(facts.number(text))], []
    except (KeyError, ValueError) as error:
        logger.warning("%s: %s", text, error)
        return [nodes.Text("?")], []


def directive(make: Callable[[str], str]) -> type[SphinxDirective]:
    """Make a directive that shows the Markdown of its one argument."""

    class Stored(SphinxDirective):
        required_arguments = 1
        final_argument_whitespace = True

        def run(self) -> list[nodes.Node]:
            try:
                text = make(self.arguments[0])
            except KeyError as error:
                logger.warning("%s: %s", self.arguments[0], error, location=self.get_location())
                return []
            return self.parse_text_to_nodes(text)

    return Stored


def draw(app: Sphinx) -> None:
    """Write the stored drawings where pages find them."""
    folder = Path(app.srcdir) / GENERATED
    folder.mkdir(exist_ok=True)
    for name, svg in {**facts.drawings(), "imitation_factors": factors.drawing()}.items():
        path = folder / f"{name}.svg"
        if not path.exists() or path.read_text() != svg:
            path.write_text(svg)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_role("stored", stored)
    for name, make in {
        "claim": facts.claim,
        "numbers": facts.numbers,
        "slide": facts.slide,
        "measured": facts.measured,
        "answer": facts.answer,
        "command": facts.command,
        "coverage": facts.coverage,
        "expected": facts.expected,
        "analysis": facts.analysis,
        "exercises": facts.exercises,
        "returns": facts.returns,
        "rounds": facts.rounds,
        "effect": details.effect,
        "factors": factors.part,
        "effects": details.all_effects,
        "durations": durations.durations,
        "defaults": defaults.defaults,
        "finals": defaults.finals,
        "tried": tried.tried,
    }.items():
        app.add_directive(name, directive(make))
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
