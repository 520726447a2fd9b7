"""What the page of the second homework says about how long its experiments take."""

import csv
import json
from statistics import median

import durations
import pytest

from sb3_course.homework.experiments import EXPERIMENTS


def cells_of(line):
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_durations_are_those_of_the_stored_runs():
    lines = durations.durations("hw2").splitlines()
    rows = {cells_of(line)[0]: cells_of(line) for line in lines if line.startswith("| `")}
    assert {name.partition(":")[0].strip("`") for name in rows} == set(EXPERIMENTS)
    runs = (durations.RESULTS / "homework_cartpole" / "runs.jsonl").read_text().splitlines()
    large = [json.loads(line) for line in runs if '"CartPole, -b 4000"' in line]
    seconds = [run["seconds"] for run in large]
    with (durations.RESULTS / "homework_cartpole" / "returns.csv").open() as file:
        steps = max(
            int(r["step"]) for r in csv.DictReader(file) if r["environment"].endswith("4000")
        )
    _, number, of_each, each, together = rows["`cartpole`: CartPole, -b 4000"]
    assert (number, of_each) == (f"{len(large)}", f"{steps:,}")
    assert each == f"{min(seconds):.0f} s to {max(seconds) / 60:.0f} min, {len(large)} stored"
    assert together == f"{len(large) * median(seconds) / 60:.0f} min"


def test_what_was_not_run_says_so_and_the_machine_is_named(monkeypatch, tmp_path):
    assert "1 at a time on 2 cores" in durations.durations("hw2")
    monkeypatch.setattr(durations, "RESULTS", tmp_path)
    lines = durations.durations("hw2").splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert rows and all("not run here" in row for row in rows)


@pytest.mark.parametrize(
    ("seconds", "words"), [(119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h")]
)
def test_a_duration_has_the_largest_unit_of_which_it_has_two(seconds, words):
    assert durations.in_words(seconds) == words


def test_durations_of_dagger_are_those_of_the_study():
    runs = (durations.RESULTS / "imitation" / "runs.jsonl").read_text().splitlines()
    mine = [json.loads(line) for line in runs if '"environment": "Ant-v4"' in line]
    seconds = [run["seconds"] for run in mine if run["run"]["method"] == "DAgger"]
    low, high = min(seconds), max(seconds)
    (line,) = [line for line in durations.durations("hw1").splitlines() if "Ant-v4" in line]
    words = f"{durations.in_words(low)} to {durations.in_words(high)}"
    assert cells_of(line) == ["Ant-v4", "6", f"{len(seconds)}", words]


def test_a_homework_that_is_none_is_refused():
    with pytest.raises(KeyError, match="hw3"):
        durations.durations("hw3")
