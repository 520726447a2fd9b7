"""What each hyper-parameter does to the return: one is varied, the others stay as chosen.

Each value is run on the fresh seeds, since the chosen one was lucky on those of its trial, and its
mean has an interval, so that a flat curve is told from a noisy one. A setting that is best by a
hair, on a steep curve, will not be best on another machine or task.

Source: Patterson et al. 2024, *Empirical Design in Reinforcement Learning* (sensitivity curves).
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.statistics import metrics
from sb3_course.benchmark.statistics.bootstrap import CURVE_REPS, estimate
from sb3_course.benchmark.storage.store import Store
from sb3_course.benchmark.tuning.space import (
    DECAYS,
    applies,
    position_of,
    settings_of,
    values_along,
)
from sb3_course.benchmark.tuning.subject import Subject


@dataclass(frozen=True)
class Point:
    """What a value of one hyper-parameter returns.

    :param position: Its value in a range, or its place in a list of choices
    :param value: Mean over seeds; of one setting for several environments the interquartile mean
        of all scores, by which it is chosen
    :param low: Lower bound of its 95% bootstrap interval
    :param high: Upper bound
    """

    position: float
    value: float
    low: float
    high: float


Settings: TypeAlias = dict[str, Any]
"""Hyper-parameters by name."""


def variants(subject: Subject, chosen: Settings) -> dict[str, list[tuple[float, Settings]]]:
    """Return the settings in which one hyper-parameter is varied, the chosen one among them.

    :param subject: What is tuned
    :param chosen: Chosen settings by name; none for those of the grid
    :return: Positions and settings by the name of the parameter, ascending; without parameters
        that the chosen choices leave out
    """
    search = subject.search
    found: dict[str, list[tuple[float, Settings]]] = {}
    around = settings_around(subject, chosen)
    for name, searched in subject.ranges.items():
        if not (search.sensitivity and applies(searched, around)):
            continue
        way = {}
        if name in around:
            way[name + DECAYS] = str(around[name]).startswith("lin_")
        here = position_of(searched, around.get(name))
        points = found[name] = []
        for position in sorted({*values_along(searched, search.sensitivity), here} - {None}):
            settings = chosen | settings_of(way | {name: position}, {name: searched})
            settings = chosen if position == here else _that_apply(subject, around, settings)
            if all(settings != known for _, known in points):  # a bound, rounded as the chosen one
                points.append((float(position), settings))
    return found


def _that_apply(subject: Subject, around: Settings, settings: Settings) -> Settings:
    """Return settings without those that are not tried with a choice among them."""
    whole = around | settings
    for name, searched in subject.ranges.items():  # conditions are on choices above
        if name in whole and not applies(searched, whole):
            del whole[name]
    return {name: value for name, value in settings.items() if name in whole}


def settings_around(subject: Subject, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the values of all hyper-parameters that the curves go through.

    :param subject: What is tuned
    :param chosen: Chosen settings by name; none for those of the grid
    :return: Values by name; none where the grid's are chosen, and its environments differ in them
    """
    return chosen or subject.own_settings


def runs_of(subject: Subject, chosen: dict[str, Any]) -> list[RunSpec]:
    """Return the runs of all variants of a chosen setting.

    :param subject: What is tuned
    :param chosen: Chosen settings by name
    :return: Whole runs on the fresh seeds, without those of the chosen setting itself
    """
    several = [v for each in variants(subject, chosen).values() for _, v in each if v != chosen]
    runs = [spec for settings in several for spec in subject.fresh_runs(settings)]
    return list({spec.id: spec for spec in runs}.values())


def curves(
    subject: Subject, chosen: dict[str, Any], store: Store
) -> tuple[dict[str, list[Point]], list[str]]:
    """Return the sensitivity of the return to each hyper-parameter.

    :param subject: What is tuned
    :param chosen: Chosen settings by name
    :param store: Store of the results
    :return: Points along the values of each, without values of which a run failed or is missing;
        and the values that failed, with the reason
    """
    found: dict[str, list[Point]] = {}
    failed: list[str] = []
    around = settings_around(subject, chosen)
    for name, several in variants(subject, chosen).items():
        points = found.setdefault(name, [])
        for position, settings in several:
            specs = subject.fresh_runs(settings)
            results = store.read(specs)
            reasons = [result.reason for result in results if result.failure is not None]
            if reasons:
                failed.append(f"{name} {(around | settings)[name]}: {reasons[0]}")
            elif len(results) == len(specs):
                points.append(_point(subject, position, [subject.run_value(r) for r in results]))
    return found, failed


def _point(subject: Subject, position: float, values: list[float]) -> Point:
    by_seed = np.array(values).reshape(len(subject.environments), -1).T
    statistic = metrics.iqm if subject.search.shared else metrics.mean
    interval = estimate(statistic, by_seed, reps=CURVE_REPS)
    return Point(position, *map(float, interval))
