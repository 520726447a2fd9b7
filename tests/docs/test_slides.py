"""The page that puts each line of a slide beside ours."""

import ast
import inspect
import re
import textwrap
from pathlib import Path

import pytest

import sb3_course

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "design" / "slides.md").read_text()
CLASSES = [getattr(sb3_course, name) for name in (*sb3_course.ALGORITHMS, *sb3_course.IMITATION)]


def parts():
    """Each class's name, and the quoted lines of its part of the page."""
    for part in TEXT.split("\n## ")[1:]:
        rows = [row for row in part.splitlines() if row.startswith("| ")][1:]
        quotes = [re.findall(r"`([^`]+)`", row.rpartition(" | ")[2])[0] for row in rows]
        yield part.partition(" ")[0], quotes


def code_lines(function):
    """Number of lines of a function's body without docstring, comments and blank lines."""
    source = textwrap.dedent(inspect.getsource(function))
    body = ast.parse(source).body[0].body
    lines = source.splitlines()[body[1].lineno - 1 :]  # body[0] is the docstring
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)


@pytest.mark.parametrize(("name", "quotes"), list(parts()))
def test_every_quoted_line_stands_in_the_class(name, quotes):
    source = " ".join(inspect.getsource(inspect.getmodule(getattr(sb3_course, name))).split())
    for quote in quotes:
        assert quote.replace("(...)", "(") in source


def test_every_class_has_its_part():
    assert [name for name, _ in parts()] == [*sb3_course.ALGORITHMS[:5], "BC", "DAgger"]


@pytest.mark.parametrize("cls", CLASSES)
def test_train_is_as_long_as_a_slide(cls):
    at_least = 5 if cls.__name__ == "DAgger" else 10  # DAgger's is a loop over BC's
    assert at_least <= code_lines(cls.train) <= 25
