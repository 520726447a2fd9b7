"""What a release is made from: the changelog, the container file, the list of what is published."""

import re
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
CONTAINER = (ROOT / "Containerfile").read_text()
FORCED = re.findall(r'"([^"]+)" = "sb3_course/shipped', PYPROJECT)
"""What the wheel holds beside the package."""
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
VERSION = re.search(r'(?m)^version = "(\d+\.\d+\.\d+)"$', PYPROJECT)[1]


def test_the_changelog_has_the_form_of_keep_a_changelog():
    first, *released = re.findall(r"(?m)^## (.*)$", CHANGELOG)
    assert first == "[Unreleased]"
    found = [
        re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)", line) for line in released
    ]
    assert None not in found, released
    days = [date.fromisoformat(match[4]) for match in found]
    numbers = [tuple(map(int, match.groups()[:3])) for match in found]
    assert days == sorted(days, reverse=True)
    assert numbers == sorted(set(numbers), reverse=True)
    for version in CHANGELOG.split("\n## ")[1:]:
        kinds = re.findall(r"(?m)^### (.*)$", version)
        assert set(kinds) <= KINDS
        assert len(kinds) == len(set(kinds)), version[:20]


def test_the_newest_entry_and_the_citation_are_of_the_packages_version():
    newest = re.search(r"(?m)^## \[(\d.*)\] - (.*)$", CHANGELOG)
    citation = (ROOT / "CITATION.cff").read_text()
    assert newest[1] == VERSION
    assert re.search(r"(?m)^date-released: (.*)$", citation)[1] == newest[2]


def test_the_container_has_all_that_the_wheel_is_built_from():
    copied = {
        word
        for words in re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", CONTAINER)
        for word in words.split()
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
    named = re.search(r'(?m)^readme = "(.*)"\nlicense = .*\nlicense-files = \["(.*)"\]', PYPROJECT)
    needed = {*named.groups(), *FORCED}
    assert copied == needed | {"pyproject.toml", "sb3_course"}


def test_the_container_runs_our_command_as_an_ordinary_user():
    last = CONTAINER[CONTAINER.rindex("\nFROM ") :]
    assert re.findall(r"(?m)^USER (.*)$", last) == ["1000"]
    (name,) = re.findall(r'(?m)^ENTRYPOINT \["(.*)"\]$', last)
    assert f'\n{name} = "sb3_course.cli.app:main"\n' in PYPROJECT


def test_the_sdist_holds_what_the_wheel_is_built_from():
    only = re.search(r"(?ms)^only-include = \[(.*?)\]", PYPROJECT)[1]
    needed = {*FORCED, "sb3_course"}
    assert needed | {"CHANGELOG.md", "CITATION.cff"} == set(re.findall(r'"([^"]+)"', only))
