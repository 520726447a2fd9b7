from importlib import import_module

import pytest

from sb3_course.lectures import FIGURES
from sb3_course.lectures.toolkit import check_finite


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_the_claim_holds_in_the_quick_setting(name):
    """
    Seeds are fixed, so that numbers repeat but for ``parallel_actors``, whose seconds are of the
    machine. For fresh seeds, see the false-alarm rates in the other tests; that the best of several
    numbers of actors does not beat a single one at equal time has not been seen.
    """
    figure = import_module(f"sb3_course.lectures.{name}")
    conclusion = figure.conclude(check_finite(figure.measure(figure.QUICK), name))
    assert conclusion.holds, conclusion.sentence
