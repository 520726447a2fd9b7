"""The table of extras on the page of the installation, against pyproject.toml."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "start" / "index.md").read_text()
PROJECT = (ROOT / "pyproject.toml").read_text()
ALONE = "pip install --no-deps imitation=="  # the one that an extra cannot install as it should be


def declared():
    """The extras and what each names, in the order of pyproject.toml."""
    section = PROJECT.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    parts = re.split(r"(?m)^([\w-]+) = ", section)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def named():
    """The extras of the page: what each is for, and how it is installed."""
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) \| `(pip install .+)` \|$", PAGE, re.MULTILINE)
    return {extra: (use, line) for extra, use, line in rows}


def test_every_extra_is_on_the_page_with_its_use_and_its_line():
    assert set(named()) == set(declared()) and len(named()) > 15
    for extra, (use, line) in named().items():
        assert len(use) > 10
        inside = re.findall(r"\[(.+)\]", line)
        asked = inside[0].split(",") if inside else []
        assert extra in asked or (extra == "imitation" and line.startswith(ALONE))
        assert set(asked) <= set(declared())


def test_all_is_what_stands_above_it():
    (together,) = re.findall(r"sb3-course\[(.+?)\]", declared()["all"])
    extras = list(named())
    assert set(extras[: extras.index("all")]) == set(together.split(","))
    assert named()["all"][0] == "everything above"


def test_versions_are_those_that_are_declared():
    for name, package in (("Stable-Baselines3", "stable-baselines3"), ("Gymnasium", "gymnasium")):
        (floor,) = set(re.findall(rf'"{package}>=([\d.]+)"', PROJECT.partition("[tool.uv]")[0]))
        assert f"{name} {floor} or newer" in PAGE
    assert re.search(r'requires-python = ">=3\.10"', PROJECT) and "Python 3.10 to" in PAGE
