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

ROUNDS = Rounds(seeds=[[0, 1], [2, 3], [4, 5]], started={"NPG": 2}, looked={"Is it?": 1})


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
