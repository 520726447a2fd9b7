from dataclasses import replace
from importlib import import_module

import pytest

from sb3_course.lectures import FIGURES
from sb3_course.lectures.toolkit import check_finite


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_the_claim_holds_in_the_quick_setting(name):
    """
    Seeds are fixed, so numbers are reproducible except for ``parallel_actors``, whose seconds
    depend on the machine. For new seeds, see the false-alarm rates in the other tests; a single
    actor has never been as good as the best number of actors at equal time.
    """
    figure = import_module(f"sb3_course.lectures.{name}")
    conclusion = figure.conclude(check_finite(figure.measure(figure.QUICK), name))
    assert conclusion.holds, conclusion.sentence


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("compounding_error", {"horizons": (50,)}, "horizons must be at least two"),
        ("critic_bias", {"steps": (2, 5)}, "steps must be numbers with 1 among them"),
        ("kl_expansion", {"lengths": (4.0, 8.0)}, "lengths must be numbers with two of at most 3"),
        ("likelihood", {"environments": ()}, "environments must be at least one"),
    ],
)
def test_settings_of_which_nothing_can_be_said_are_refused_at_once(name, settings, message):
    figure = import_module(f"sb3_course.lectures.{name}")
    with pytest.raises(ValueError, match=message):
        figure.measure(replace(figure.QUICK, **settings))
