import numpy as np

from sb3_course.benchmark.reporting.content import interval, quantity


def test_an_estimate_is_written_with_its_interval():
    assert interval(0.834, 0.751, 0.9) == "0.83 [0.75, 0.90]"
    assert interval(1234.56, 1200.0, 1300.04, digits=1) == "1234.6 [1200.0, 1300.0]"
    assert interval(0.5, np.nan, np.nan) == "0.50 [one run]"


def test_a_noun_is_in_the_plural_unless_its_number_is_one():
    assert [quantity(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
