"""From the ranges of a search to what Optuna suggests, and from there to hyper-parameters.

Optuna holds a number for each: the value of a range, or the position in a list of choices. Choices
that are ascending numbers are suggested by their order, so that neighbors count as similar.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna import Trial

from sb3_course.benchmark.definition.search import Ranges, Searched, same_choice
from sb3_course.registry import constructor_parameters, find_algorithm

DIGITS = 4
"""Significant digits of a setting, as many as anybody would publish, where they suffice."""
DISTINCT = 100
"""Number of different values that a range has at least, however narrow it is."""
DECAYS = " decays"
"""Ends the name under which Optuna holds whether a value falls to 0."""


def suggest(trial: Trial, ranges: Ranges) -> None:
    """Ask Optuna for a value for each hyper-parameter whose condition holds.

    A trial that has been suggested a value keeps it.

    :param trial: Trial in progress
    :param ranges: Values that are tried, by name
    """
    for name, searched in ranges.items():
        if not applies(searched, settings_of(trial.params, ranges)):
            continue
        if searched.values is not None:
            last = len(searched.values) - 1
            if _ordered(searched.values):
                trial.suggest_int(name, 0, last)
            else:
                trial.suggest_categorical(name, list(range(last + 1)))
        elif searched.whole:
            trial.suggest_int(name, int(_low(searched)), int(_high(searched)), log=searched.log)
        else:
            trial.suggest_float(name, _low(searched), _high(searched), log=searched.log)
        if len(searched.decays) > 1:
            trial.suggest_categorical(name + DECAYS, list(searched.decays))


def settings_of(params: Mapping[str, Any], ranges: Ranges) -> dict[str, Any]:
    """Return the hyper-parameters of a trial.

    :param params: What Optuna holds of the trial
    :param ranges: Values that are tried, by name
    :return: Values by name, those of ``policy_kwargs`` by ``policy_kwargs.KEY``
    """
    found = {}
    for name, searched in ranges.items():
        if name not in params:
            continue
        given = params[name]
        if searched.values is not None:
            found[name] = searched.values[given]
        elif searched.whole:
            found[name] = given
        else:
            digits = _digits(searched)
            rounded = float(f"{given:.{digits}g}")
            value = min(max(rounded, _low(searched)), _high(searched))
            falls = params.get(name + DECAYS, searched.decays[0])
            found[name] = f"lin_{value:.{max(6, digits)}g}" if falls else value
    return found


def params_of(settings: Mapping[str, Any], ranges: Ranges) -> dict[str, Any] | None:
    """Return what Optuna holds of settings, such as a grid's own, to try them first.

    :param settings: Values by name, as of :func:`settings_of_grid`
    :param ranges: Values that are tried, by name
    :return: Numbers by name; None if one of them is not among the values that are tried
    """
    found: dict[str, Any] = {}
    for name, searched in ranges.items():
        if not applies(searched, settings_of(found, ranges)):
            continue
        held = held_of(name, searched, settings[name])
        if held is None:
            return None
        found |= held
    return found


def settings_of_grid(
    algorithm_class: str, params: Mapping[str, Any], ranges: Ranges
) -> dict[str, Any]:
    """Return the values that a grid has of the hyper-parameters that are searched.

    :param algorithm_class: Name of the algorithm's class
    :param params: Hyper-parameters in the grid; others have the constructor's default
    :param ranges: Values that are tried, by name
    :return: Values by name, also those that are not tried, or have no effect
    """
    defaults = constructor_parameters(find_algorithm(algorithm_class))
    found: dict[str, Any] = {}
    for name in ranges:
        head, _, key = name.partition(".")
        value = params.get(head, defaults[head].default if head in defaults else None)
        if key:
            value = value.get(key) if isinstance(value, Mapping) else None
        found[name] = list(value) if isinstance(value, tuple) else value  # as in YAML
    return found


def held_of(name: str, searched: Searched, value: Any) -> dict[str, Any] | None:
    """Return what Optuna holds of a value of one hyper-parameter.

    :param name: Name of the hyper-parameter
    :param searched: Values that are tried
    :param value: Value as in a grid
    :return: Numbers by name; None if the value is not among those that are tried
    """
    number = position_of(searched, value)
    if number is None or searched.values is not None:
        return None if number is None else {name: int(number)}
    falls = str(value).startswith("lin_")
    if falls not in searched.decays or not _low(searched) <= number <= _high(searched):
        return None
    if searched.whole and not number.is_integer():
        return None
    held: dict[str, Any] = {name: int(number) if searched.whole else number}
    return held | ({name + DECAYS: falls} if len(searched.decays) > 1 else {})


def position_of(searched: Searched, value: Any) -> float | None:
    """Return where a value of one hyper-parameter is on an axis, also outside its range.

    :param searched: Values that are tried
    :param value: Value as in a grid
    :return: Number of a range, whether it falls or not, or the place of a choice; None if it has
        none, such as 0 on a logarithmic axis
    """
    if searched.values is not None:
        return next((i for i, v in enumerate(searched.values) if same_choice(v, value)), None)
    try:
        number = float(str(value).removeprefix("lin_"))
    except ValueError:
        return None
    return number if math.isfinite(number) and (number > 0 or not searched.log) else None


def applies(searched: Searched, settings: Mapping[str, Any]) -> bool:
    """Return whether a hyper-parameter is tried together with settings.

    :param searched: Values that are tried, with their condition
    :param settings: Hyper-parameters by name
    :return: Whether the condition holds
    """
    return all(
        other in settings and any(same_choice(settings[other], value) for value in values)
        for other, values in searched.when.items()
    )


def values_along(searched: Searched, n: int) -> list[Any]:
    """Return values that cover those that are tried, as Optuna holds them.

    :param searched: Values that are tried
    :param n: Number of values of a range, both bounds included if it is larger than 1
    :return: Ascending values of a range, or the place of every choice
    """
    if searched.values is not None:
        return list(range(len(searched.values)))
    space = np.geomspace if searched.log else np.linspace
    values = [float(value) for value in space(_low(searched), _high(searched), n)]
    return list(dict.fromkeys(map(round, values))) if searched.whole else values


def _digits(searched: Searched) -> int:
    """Return the significant digits of a range's values: more of a range that is narrow."""
    low, high = _low(searched), _high(searched)
    if not low < high:
        return DIGITS
    before = math.floor(math.log10(max(abs(low), abs(high)))) + 1  # the decimal point
    return max(DIGITS, before + math.ceil(math.log10(DISTINCT / (high - low))))


def _ordered(values: list[Any]) -> bool:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return numbers and len(values) > 2 and values == sorted(values)


def _low(searched: Searched) -> float:
    assert searched.low is not None, "a range has bounds"
    return searched.low


def _high(searched: Searched) -> float:
    assert searched.high is not None, "a range has bounds"
    return searched.high
