"""How numbers such as returns are written: as many digits as their size needs."""

import math
from collections.abc import Iterable

LARGE = 1e12
"""Size from which on a number, as of a run that has diverged, is written with an exponent."""

MOST_DIGITS = 9
"""Most digits after the decimal point; what they do not show is no difference of returns."""


def digits(values: Iterable[float]) -> int:
    """Choose the number of digits after the decimal point for numbers that stand together.

    :param values: Numbers
    :return: 0 if one of them reaches 100, 1 if one reaches 10, else 2, or as many as three digits
        of the largest take where that is below 0.1
    """
    most = max((abs(float(value)) for value in values if math.isfinite(value)), default=0.0)
    if 0 < most < 0.1:
        return min(2 - math.floor(math.log10(most)), MOST_DIGITS)
    return 0 if most >= 100 else 1 if most >= 10 else 2


def number(value: float, n_digits: int = 2) -> str:
    """Return a number as text.

    :param value: Number
    :param n_digits: Number of digits after the decimal point
    :return: Text such as ``1,234.5``, without the sign of what is written as 0
    """
    if math.isfinite(value) and abs(value) >= LARGE:
        return f"{value:.2e}"
    text = f"{value:,.{n_digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def readable(*values: float, least: int = 0) -> list[str]:
    """Return numbers that stand together as texts, all with the digits that the largest needs.

    :param values: Numbers, such as a mean and its deviation
    :param least: Least number of digits after the decimal point
    :return: Text of each, such as ``0.0123`` and ``0.0020``
    """
    n_digits = max(least, digits(values))
    return [number(value, n_digits) for value in values]
