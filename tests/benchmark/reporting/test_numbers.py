import numpy as np
import pandas as pd

from sb3_course.benchmark.reporting import numbers


def test_what_there_is_not_is_a_dash():
    assert numbers.number(np.nan) == "—"
    assert numbers.number(1234.5, 1) == "1,234.5"


def test_an_estimate_is_written_with_its_interval():
    assert numbers.interval(0.834, 0.751, 0.9) == "0.83 [0.75, 0.90]"
    assert numbers.interval(1234.56, 1200.0, 1300.04, 1) == "1,234.6 [1,200.0, 1,300.0]"
    assert numbers.interval(0.5, np.nan, np.nan) == "0.50"  # a single run


def test_small_probabilities_are_not_written_as_zero():
    assert [numbers.p_value(p) for p in (0.0004, 0.0314, 1.0, np.nan)] == [
        "<0.001",
        "0.031",
        "1.000",
        "—",
    ]


def test_a_noun_is_in_the_plural_unless_its_number_is_one():
    assert [numbers.quantity(n, "run") for n in (0, 1, 1000)] == ["0 runs", "1 run", "1,000 runs"]
    assert numbers.span(pd.Series([5, 3]), "run") == "3 to 5 runs"
    assert numbers.span(pd.Series([1, 1]), "run") == "1 run"
