"""Every Python block, command line and grid of the site works."""

import re
import shlex
from pathlib import Path

import matplotlib
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


WITH_CODE = [path for path in PAGES if blocks(path, "python")]
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


@pytest.mark.parametrize(("path", "words"), LINES, ids=name)
def test_a_command_line_is_one(path, words):
    """The parser takes it; nothing is run."""
    group = typer.main.get_command(app)
    context = group.make_context("sb3-course", list(words), resilient_parsing=True)
    called, command, rest = group.resolve_command(context, list(words))
    command.make_context(called, rest, parent=context)


def test_a_wrong_option_is_seen():
    with pytest.raises(Exception, match="No such option"):
        test_a_command_line_is_one(None, ["train", "NPG", "CartPole-v1", "--step", "5"])


@pytest.mark.parametrize(("path", "text"), GRIDS, ids=name)
def test_a_grid_is_one(path, text, tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text(text)
    assert checked_grid(file).runs()


def test_there_is_something_to_check():
    assert len(WITH_CODE) > 15 and len(LINES) > 40 and len(GRIDS) > 2
