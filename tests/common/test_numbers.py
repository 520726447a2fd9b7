import numpy as np
import pytest

from sb3_course.common import numbers


@pytest.mark.parametrize(
    ("values", "n"),
    [
        ([0.5, -9.9], 2),
        ([10.0, 1], 1),
        ([np.nan, -100], 0),
        ([], 2),
        ([np.inf], 2),
        ([0.0], 2),
        ([0.1], 2),
        ([0.099, 0.0], 4),
        ([-0.0031, 0.001], 5),
        ([1e-300], 9),
    ],
)
def test_large_numbers_have_fewer_digits_and_small_ones_more(values, n):
    assert numbers.digits(values) == n


@pytest.mark.parametrize(
    ("value", "n", "text"),
    [
        (1234.5, 1, "1,234.5"),
        (-1234.5678, 0, "-1,235"),
        (-0.001, 2, "0.00"),
        (np.nan, 2, "nan"),
        (np.inf, 2, "inf"),
        (-1.5e200, 0, "-1.50e+200"),
    ],
)
def test_numbers_have_their_thousands_separated_and_no_negative_zero(value, n, text):
    assert numbers.number(value, n) == text


@pytest.mark.parametrize(
    ("values", "least", "texts"),
    [
        ([0.0123, 0.002], 0, ["0.0123", "0.0020"]),
        ([1234.5, 0.002], 0, ["1,234", "0"]),
        ([207.31, -0.04], 2, ["207.31", "-0.04"]),
        ([-0.00012], 0, ["-0.000120"]),
        ([np.nan, 15.5], 0, ["nan", "15.5"]),
        ([-np.inf, 2e300], 0, ["-inf", "2.00e+300"]),
        ([], 0, []),
    ],
)
def test_numbers_that_stand_together_have_the_digits_of_the_largest(values, least, texts):
    assert numbers.readable(*values, least=least) == texts
