from itertools import combinations

import numpy as np
import pytest

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.reporting.drawing.styles import COLORS, DASHES, KNOWN, luminance, styles
from tests.benchmark.helpers import GRIDS

REINFORCE = [f"REINFORCE ({name})" for name in ("total", "to go", "mean", "optimal", "value")]


def test_a_known_algorithm_has_one_style_in_every_grid():
    alone = styles(["TRPO"])["TRPO"]
    assert styles(["A", "TRPO", "B"])["TRPO"] == alone
    assert styles([*KNOWN, *(f"New_{i}" for i in "abcdefghijk")])["TRPO"] == alone


def test_known_styles_are_all_different():
    assert len(set(KNOWN.values())) == len(KNOWN)


def test_another_name_has_its_own_favorite_color_in_any_order():
    alone = styles(["Mine"])["Mine"]
    others = [name for name, style in styles(KNOWN).items() if style.color != alone.color]
    assert len(others) > 10
    assert styles([*others, "Mine"])["Mine"] == alone
    many = [f"Algorithm_{letter}" for letter in "abcdefghijkl"]  # some have the same favorite
    assert styles(many) == styles(many[::-1])
    assert list(styles(["NPG", "Mine"])) == ["NPG", "Mine"]


@pytest.mark.parametrize("n", [1, 9, 10, 26])
def test_many_can_be_distinguished(n):
    given = styles([f"Algorithm_{chr(97 + i)}" for i in range(n)])
    assert len(set(given.values())) == n
    assert len({style.color for style in given.values()}) == min(n, len(COLORS))


def test_new_names_get_colors_of_no_known_name():
    given = styles(["NPG", "TRPO", "A2C", *"abcdef"])
    assert len({style.color for style in given.values()}) == 9


def test_more_than_can_be_distinguished_still_get_a_style():
    many = [f"{a}{b}" for a in "abcdefg" for b in "uvwxyz"]
    assert len(styles(many)) == len(many) > len(COLORS) * len(DASHES)


def test_every_color_survives_print_and_a_dark_page():
    shades = [style.color for style in styles(REINFORCE).values()]
    for color in [*COLORS, *shades]:
        assert 1.05 / (luminance(color) + 0.05) >= 3  # on white
    dark = luminance([0x14 / 255, 0x17 / 255, 0x1C / 255])
    for color in COLORS:
        assert (luminance(color) + 0.05) / (dark + 0.05) >= 3


def test_those_that_were_three_oranges_are_told_apart():
    names = ["TRPO", "BatchActorCritic", "OnlineActorCritic", "NPG", "A2C", "PPO", "ISPG"]
    for one, other in combinations(styles(names).values(), 2):
        apart = np.abs(np.subtract(one.color, other.color)).max()
        assert apart > 0.25 or (apart > 0.1 and one.dash != other.dash)


def test_the_luminance_is_that_of_the_standard():
    assert luminance((1, 1, 1)) == pytest.approx(1)
    assert luminance((0, 0, 0)) == 0
    assert luminance((0.5, 0.5, 0.5)) == pytest.approx(0.214, abs=1e-3)
    assert luminance((1, 0, 0)) == pytest.approx(0.2126)


def test_a_sweep_has_a_sequential_palette():
    names = [f"NPG {value}" for value in (0.1, 0.01, 0.05)]
    given = styles([*names, "TRPO"])
    brightness = [luminance(given[f"NPG {value}"].color) for value in (0.01, 0.05, 0.1)]
    assert brightness == sorted(brightness) and 2 * brightness[0] < brightness[-1]
    assert len(set(given.values())) == 4


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_our_own_grids_have_a_style_for_each_algorithm(path):
    names = list(load_grid(path).algorithms)
    assert len(set(styles(names).values())) == len(names)
