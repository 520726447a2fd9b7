import json

import pytest

from sb3_course.benchmark.storage.rounds import (
    NAME,
    Rounds,
    read_rounds,
    with_rounds,
    write_rounds,
)
from sb3_course.common.errors import UserError
from tests.benchmark import made_up

ROUNDS = Rounds(
    seeds=[[0, 1], [2, 3], [4, 5]],
    questions={"Is it?": ("NPG", "BatchActorCritic")},
    started={"NPG": 2},
    looked={"Is it?": 1},
)


def test_each_algorithm_has_the_seeds_of_the_rounds_it_takes_part_in():
    grid = made_up.grid(n_algorithms=2, n_environments=1, seeds=2)
    more = with_rounds(grid, ROUNDS)
    assert more.seeds_of("NPG") == [0, 1, 2, 3]
    assert more.seeds_of("BatchActorCritic") == [0, 1]
    assert {spec.id for spec in grid.runs()} < {spec.id for spec in more.runs()}
    assert len(more.runs()) == 6
    assert with_rounds(grid, None) is grid


def test_what_is_written_is_read(tmp_path):
    assert read_rounds(tmp_path) is None
    write_rounds(tmp_path, ROUNDS)
    assert read_rounds(tmp_path) == ROUNDS


@pytest.mark.parametrize("content", ["", "[]", "{", '{"seeds": [["a"]]}', '{"more": 1}'])
def test_a_damaged_file_is_told_with_its_remedy(tmp_path, content):
    (tmp_path / NAME).write_text(content)
    with pytest.raises(UserError, match="rounds.json is damaged .* delete it"):
        read_rounds(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": []},
        {"seeds": [[0, 1], []]},
        {"seeds": [[0, 1], [1, 2]]},
        {"seeds": [[0, 1], [2, -3]]},
        {"started": {"NPG": 4}},
        {"started": {"NPG": -1}},
        {"looked": {"Is it?": 4}},
        {"looked": {"Was it?": 1}},
        {"questions": {"Is it?": ["NPG", "NPG"]}},
        {"questions": {}},
    ],
)
def test_rounds_that_no_plan_has_are_damaged(tmp_path, changes):
    (tmp_path / NAME).write_text(json.dumps({**ROUNDS.model_dump(), **changes}))
    with pytest.raises(UserError, match=r"rounds.json is damaged \(1 mistakes\); delete it"):
        read_rounds(tmp_path)


def test_seeds_that_have_changed_since_are_told():
    for seeds in (3, [1, 0], [7]):
        grid = made_up.grid(n_algorithms=2, n_environments=1, seeds=seeds)
        with pytest.raises(UserError, match="the seeds of made-up have changed .* with 0, 1, on"):
            with_rounds(grid, ROUNDS)
    own = {"NPG": {"class": "A2C", "seeds": 3}}
    with pytest.raises(UserError, match="without `seeds` of an algorithm"):
        with_rounds(made_up.grid(n_environments=1, seeds=2, algorithms=own), ROUNDS)


def test_a_grid_that_has_the_seeds_of_its_rounds_is_read_again():
    grid = with_rounds(made_up.grid(n_algorithms=2, n_environments=1, seeds=2), ROUNDS)
    assert with_rounds(grid, ROUNDS) == grid  # as a manifest holds it


def test_looks_are_those_of_the_planned_question():
    assert ROUNDS.looks_at("Is it?", ("NPG", "BatchActorCritic")) == 1
    assert ROUNDS.looks_at("Is it?", ("BatchActorCritic", "NPG")) == 0
    assert ROUNDS.looks_at("Was it?", ("NPG", "BatchActorCritic")) == 0
