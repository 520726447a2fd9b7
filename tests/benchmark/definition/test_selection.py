"""What `--only` selects."""

import pytest

from sb3_course.benchmark.definition.selection import select
from sb3_course.common.errors import UserError

# Algorithm B has another seed than A.
PAIRS = [("A", "0"), ("A", "1"), ("A", "2"), ("B", "7")]


def selected(*conditions):
    return select(PAIRS, conditions, lambda pair: {"algorithm": [pair[0]], "seed": [pair[1]]})


def test_one_of_those_with_a_key_has_to_match_for_every_key():
    assert selected("algorithm=A", "seed=0", "seed=2") == [("A", "0"), ("A", "2")]
    assert selected() == PAIRS


def test_an_item_of_several_names_matches_by_any():
    items = [("CartPole-v1", "Acrobot-v1"), ("Pendulum-v1",)]
    assert select(items, ["environment=Acrobot-v1"], lambda names: {"environment": names}) == [
        items[0]
    ]


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (["sed=0"], "unknown key of --only 'sed'.*did you mean 'seed'"),
        (["algorithm=C"], "unknown algorithm 'C'.*allowed: A, B"),
        (["algorithm"], "unknown algorithm ''"),
        (["algorithm=B", "seed=0"], "nothing matches algorithm=B and seed=0 together"),
    ],
)
def test_conditions_that_match_nothing_are_refused(conditions, message):
    with pytest.raises(UserError, match=message):
        selected(*conditions)
