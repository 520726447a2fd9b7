import pytest

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.reporting.styles import COLORS, DASHES, KNOWN, styles
from tests.benchmark.helpers import GRIDS


def test_a_known_algorithm_has_one_style_in_every_grid():
    alone = styles(["TRPO"])["TRPO"]
    assert styles(["A", "TRPO", "B"])["TRPO"] == alone
    assert styles([*KNOWN, *(f"New {i}" for i in range(20))])["TRPO"] == alone


def test_known_styles_are_all_different():
    assert len(set(KNOWN.values())) == len(KNOWN)


def test_another_name_has_its_own_favorite_color_in_any_order():
    alone = styles(["Mine"])["Mine"]
    others = [name for name, style in styles(KNOWN).items() if style.color != alone.color]
    assert len(others) > 10
    assert styles([*others, "Mine"])["Mine"] == alone
    many = [f"Algorithm {i}" for i in range(12)]  # some have the same favorite
    assert styles(many) == styles(many[::-1])
    assert list(styles(["NPG", "Mine"])) == ["NPG", "Mine"]


@pytest.mark.parametrize("n", [1, 10, 11, 12, 40])
def test_up_to_forty_can_be_distinguished(n):
    given = styles([f"Algorithm {i}" for i in range(n)])
    assert len(set(given.values())) == n
    assert len({style.color for style in given.values()}) == min(n, len(COLORS))


def test_new_names_get_colors_of_no_known_name():
    given = styles(["NPG", "TRPO", "A2C", *"abcdefg"])
    assert len({style.color for style in given.values()}) == 10


def test_more_than_forty_still_get_a_style():
    assert len(styles([f"Algorithm {i}" for i in range(45)])) == 45
    assert len(COLORS) * len(DASHES) == 40


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_our_own_grids_have_a_color_for_each_algorithm(path):
    names = list(load_grid(path).algorithms)
    assert len({style.color for style in styles(names).values()}) == min(len(names), 10)
