"""How a report writes numbers: thousands separated, as many digits as their size needs."""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from sb3_course.benchmark.reporting.content import NOTHING

LARGE = 1e12
"""Size from which on a number, as of a run that has diverged, is written with an exponent."""

MOST_DIGITS = 9
"""Most digits after the decimal point; what they do not show is no difference of returns."""


def digits(values: Iterable[float]) -> int:
    """Choose the number of digits after the decimal point for numbers of one column.

    :param values: Numbers of the column
    :return: 0 if one of them reaches 100, 1 if one reaches 10, else 2, or as many as three digits
        of the largest take where that is below 0.1
    """
    array = np.abs(np.asarray(list(values), dtype=float))
    most = array[np.isfinite(array)].max(initial=0.0)
    if 0 < most < 0.1:
        return min(2 - math.floor(math.log10(most)), MOST_DIGITS)
    return 0 if most >= 100 else 1 if most >= 10 else 2


def number(value: float, n_digits: int = 2) -> str:
    """Return a number as text.

    :param value: Number
    :param n_digits: Number of digits after the decimal point
    :return: Text such as ``1,234.5``, a dash if there is no number
    """
    if pd.isna(value):
        return NOTHING
    if np.isinf(value):
        return "-inf" if value < 0 else "inf"
    if abs(value) >= LARGE:
        return f"{value:.2e}"
    text = f"{value:,.{n_digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def bounds(low: float, high: float, n_digits: int = 2) -> str:
    """Return an interval as text.

    :param low: Lower bound, NaN if there is none
    :param high: Upper bound
    :param n_digits: Number of digits after the decimal point
    :return: Bounds such as ``[0.75, 0.90]``; empty for a single run, which has none
    """
    return "" if pd.isna(low) else f"[{number(low, n_digits)}, {number(high, n_digits)}]"


def interval(point: float, low: float, high: float, n_digits: int = 2) -> str:
    """Return an estimate with its interval as text.

    :param point: Estimate
    :param low: Lower bound, NaN if there is none
    :param high: Upper bound
    :param n_digits: Number of digits after the decimal point
    :return: Estimate and bounds, such as ``0.83 [0.75, 0.90]``
    """
    return f"{number(point, n_digits)} {bounds(low, high, n_digits)}".strip()


def p_value(p: float) -> str:
    """Return a p-value as text.

    :param p: Probability
    :return: Three digits, or that it is smaller than those can show
    """
    return NOTHING if pd.isna(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def quantity(n: int, noun: str) -> str:
    """Return a number with its noun, such as ``3 runs``.

    :param n: Number
    :param noun: Noun in the singular
    :return: Number and noun, in the plural unless the number is 1
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def span(numbers: pd.Series, noun: str) -> str:
    """Return the range of numbers with their noun, such as ``3 to 5 runs``.

    :param numbers: Numbers
    :param noun: Noun in the singular
    :return: Least and most, or one number if they are equal
    """
    least, most = int(numbers.min()), int(numbers.max())
    return f"{least} to {quantity(most, noun)}" if least < most else quantity(most, noun)
