"""Every Python block, notebook, command line and grid of the site works."""

import re
import shlex
import sys
from pathlib import Path

import gymnasium
import matplotlib.pyplot
import pytest
import typer.main

from sb3_course.benchmark.definition.checks import checked_grid
from sb3_course.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if not {"_build", "_generated", "design"} & set(path.parts)
]
FENCE = r"^```{}\n(.*?)^```"


def blocks(path, language):
    """The code blocks of a page in one language."""
    return re.findall(FENCE.format(language), path.read_text(), re.MULTILINE | re.DOTALL)


def commands(text):
    """The arguments of each call of sb3-course in a shell block."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.partition(" > ")[0], comments=True)
        if "sb3-course" in words:
            yield words[words.index("sb3-course") + 1 :]


def name(value):
    """Name a parameter of a test: a page, or a command's words."""
    if isinstance(value, Path):
        return str(value.relative_to(ROOT))
    return " ".join(value)[:60] if isinstance(value, list) else "grid"


@pytest.fixture(autouse=True)
def registry_as_before():
    """Forget the environments that a page registers."""
    before = dict(gymnasium.registry)
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


CELL = r"\{code-cell\} python"
SLOW = {"own_environment"}  # runs a grid
WITH_CODE = [path for path in PAGES if blocks(path, "python")]
NOTEBOOKS = [
    pytest.param(path, marks=pytest.mark.slow if path.stem in SLOW else ())
    for path in PAGES
    if blocks(path, CELL)
]
LINES = [
    (path, words)
    for path in [*PAGES, ROOT / "README.md"]
    for block in blocks(path, "sh")
    for words in commands(block)
]
GRIDS = [(path, block) for path in PAGES for block in blocks(path, "yaml")]


@pytest.mark.parametrize("path", WITH_CODE, ids=name)
def test_the_code_of_a_page_runs(path, tmp_path, monkeypatch):
    """The blocks of a page run one after the other, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(matplotlib.rcParams, "backend", "Agg", raising=False)
    namespace = {"__name__": "page"}
    for block in blocks(path, "python"):
        exec(compile(block, name(path), "exec"), namespace)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    """Its cells run here without a kernel; `make docs` executes them once more, for the outputs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(matplotlib.rcParams, "backend", "Agg", raising=False)
    namespace = {"__name__": "notebook"}
    try:
        for cell in blocks(path, CELL):
            exec(compile(cell, name(path), "exec"), namespace)
    finally:
        matplotlib.pyplot.close("all")


@pytest.mark.parametrize(("path", "words"), LINES, ids=name)
def test_a_command_line_is_one(path, words):
    """The parser takes it; nothing is run."""
    command, rest, context, called = typer.main.get_command(app), list(words), None, "sb3-course"
    while hasattr(command, "commands"):
        context = command.make_context(called, list(rest), parent=context, resilient_parsing=True)
        called, command, rest = command.resolve_command(context, list(rest))
    command.make_context(called, rest, parent=context)


def test_a_wrong_option_is_seen():
    with pytest.raises(Exception, match="No such option"):
        test_a_command_line_is_one(None, ["train", "NPG", "CartPole-v1", "--step", "5"])


def test_a_wrong_option_in_a_group_is_seen():
    with pytest.raises(Exception, match="No such option"):
        test_a_command_line_is_one(None, ["homework", "hw2", "cartpole", "--seed", "5"])


@pytest.mark.parametrize(("path", "text"), GRIDS, ids=name)
def test_a_grid_is_one(path, text, tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text(text)
    assert checked_grid(file).runs()


def test_there_is_something_to_check():
    assert len(NOTEBOOKS) == 5
    assert len(WITH_CODE) > 15 and len(LINES) > 40 and len(GRIDS) > 2
