"""How a report writes numbers: intervals, probabilities, and a dash for what there is not."""

import pandas as pd

from sb3_course.benchmark.reporting.content import NOTHING
from sb3_course.common import numbers


def number(value: float, n_digits: int = 2) -> str:
    """Return a number as text.

    :param value: Number
    :param n_digits: Number of digits after the decimal point
    :return: Text such as ``1,234.5``, a dash if there is no number
    """
    return NOTHING if pd.isna(value) else numbers.number(value, n_digits)


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


def span(values: pd.Series, noun: str) -> str:
    """Return the range of numbers with their noun, such as ``3 to 5 runs``.

    :param values: Numbers
    :param noun: Noun in the singular
    :return: Least and most, or one number if they are equal
    """
    least, most = int(values.min()), int(values.max())
    return f"{least} to {quantity(most, noun)}" if least < most else quantity(most, noun)
