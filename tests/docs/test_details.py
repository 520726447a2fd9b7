"""The page of implementation details, and what it reads from the stored grid of ablations."""

import re
from pathlib import Path

import details
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "algorithms" / "details.md").read_text()
HEADER = "algorithm,environment,seed,step,return_mean\n"
RUNS = {("NPG", "A-v1"): [10, 12, 14], ("NPG, raw", "A-v1"): [1, 2, 3], ("NPG", "B-v1"): [5, 6, 7]}


@pytest.fixture
def folder(tmp_path):
    rows = [
        f'"{name}",{environment},{seed},{step},{value if step else -99}\n'
        for (name, environment), values in RUNS.items()
        for seed, value in enumerate(values)
        for step in (0, 100)
    ]
    (tmp_path / "returns.csv").write_text(HEADER + "".join(rows))
    return tmp_path


def test_every_detail_of_the_grid_is_on_the_page():
    grid = yaml.safe_load((ROOT / details.GRID).read_text())
    named = {
        name.strip() for line in re.findall(r"```\{effect\} (.+)", PAGE) for name in line.split("/")
    }
    assert {f"{details.BASELINE}, {name}" for name in named} | {details.BASELINE} == set(
        grid["algorithms"]
    )
    assert len(named) > 5


def test_details_are_numbered():
    numbers = [int(n) for n in re.findall(r"^### (\d+)\. ", PAGE, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 20


def test_the_effect_is_that_of_the_last_evaluation_with_an_interval(folder):
    """Means 12 and 2, deviations 2 and 1: Welch's interval of -10 is 3.8 to either side."""
    lines = details.effect("raw", folder).splitlines()
    assert lines[0] == "| instead | A-v1 | B-v1 |"
    name, a, b = (cell.strip() for cell in lines[2].strip("|").split("|"))
    assert (name, a, b) == ("raw", "**-10 [-14, -6]**", "—")


def test_all_effects_begin_with_the_baseline(folder):
    lines = details.all_effects("all", folder).splitlines()
    assert lines[2] == "| NPG itself | 12 (3 seeds) | 6 (3 seeds) |"
    assert lines[3].startswith("| raw |") and len(lines) == 4


def test_an_interval_that_holds_0_is_not_in_bold():
    assert details.difference([1, 5, 9], [2, 5, 9]).startswith("+0 [")
    assert details.difference([1], [2, 5]) == "-2"


@pytest.mark.parametrize("make", [details.effect, details.all_effects])
def test_what_is_not_stored_is_not_yet_measured(make, tmp_path):
    assert make("raw", tmp_path) == details.NOT_YET


def test_a_detail_that_is_not_stored_yet_is_not_yet_measured(folder):
    assert details.effect("gone", folder) == details.NOT_YET
