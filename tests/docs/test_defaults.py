"""The tables of what the constructors' defaults reach, and their grid."""

from pathlib import Path

import defaults
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GRID = yaml.safe_load((ROOT / defaults.GRID).read_text())
PAGE = (ROOT / "docs" / "algorithms" / "defaults.md").read_text()
HEADER = "algorithm,environment,seed,step,return_mean\n"


def test_cells_are_the_mean_of_the_final_returns_by_number_of_environments(tmp_path):
    rows = ["NPG,A-v1 from 8,0,0,-9", "NPG,A-v1 from 8,0,50,10", "NPG,A-v1 from 8,1,50,20"]
    rows += ["NPG,A-v1 from 32,0,50,5", "A2C,A-v1 from 8,0,50,1234", "A2C,B-v1 from 8,0,50,7"]
    (tmp_path / "returns.csv").write_text(HEADER + "\n".join(rows) + "\n")
    assert defaults.defaults("A-v1", tmp_path).splitlines() == [
        "| environments | 8 | 32 |",
        "| --- | --- | --- |",
        "| A2C | 1,234 (1,234; 1) | — |",
        "| NPG | 15 (10; 2) | 5 (5; 1) |",
    ]


def test_without_results_the_page_says_how_to_get_them(tmp_path):
    assert defaults.GRID in defaults.defaults("A-v1", tmp_path)


def test_final_returns_of_a_grid_have_a_row_for_each_algorithm(tmp_path):
    (tmp_path / "grid").mkdir()
    rows = ["NPG,CartPole-v1,0,50,10", "NPG,CartPole-v1,1,0,-9", "NPG,CartPole-v1,1,50,20"]
    rows += ["A2C,Pendulum-v1,0,50,7"]  # it has no threshold
    (tmp_path / "grid" / "returns.csv").write_text(HEADER + "\n".join(rows) + "\n")
    assert defaults.finals("grid", tmp_path).splitlines() == [
        "| final return | CartPole-v1 | Pendulum-v1 | solved, and fell |",
        "| --- | --- | --- | --- |",
        "| A2C | — | 7 (7; 1) | 0 of 0 |",
        "| NPG | 15 (10; 2) | — | 0 of 0 |",
    ]
    with pytest.raises(FileNotFoundError, match="no returns.csv of 'other'"):
        defaults.finals("other", tmp_path)


def test_what_falls_after_it_was_solved_is_counted(tmp_path):
    """CartPole is solved at 475: one of the two evaluations after 480 is below it."""
    returns = {0: [8, 9, 480, 474, 500], 1: [1, 2, 3, 4, 475]}
    rows = [
        f"NPG,CartPole-v1 from 8,{seed},{step},{value}"
        for seed, values in returns.items()
        for step, value in enumerate(values)
    ]
    (tmp_path / "returns.csv").write_text(HEADER + "\n".join(reversed(rows)) + "\n")
    assert defaults.relapses(tmp_path) == {"NPG": "1 of 2"}


@pytest.mark.parametrize("name", GRID["environments"])
def test_every_environment_of_the_grid_is_on_the_page(name):
    found = defaults.NAME.fullmatch(name)
    environment = GRID["environments"][name]
    assert found["task"] == environment["id"] and int(found["n_envs"]) == environment["n_envs"]
    assert f"```{{defaults}} {found['task']}\n" in PAGE


def test_the_grid_takes_defaults_alone():
    assert all(set(section) <= {"class", "seeds"} for section in GRID["algorithms"].values())
