"""Which values of a search a constructor refuses on their own, whatever else a trial sets.

A listed choice, and each bound of a range, is built with the other settings of the grid. If that is
refused, it is built once more without those that are searched as well, since what is refused only
together with a value that trials change is a matter of the trial.
"""

from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from sb3_course.benchmark.definition.grid import RunConfig
from sb3_course.benchmark.definition.search import Ranges, Searched, with_settings
from sb3_course.benchmark.definition.yaml_source import shown
from sb3_course.building import refusal

MOST_CONDITIONS = 16
"""Maximum number of ways to meet a parameter's condition in which its values are built."""

Settings = dict[str, Any]


def refused_values(config: RunConfig, ranges: Ranges, env: VecEnv) -> Iterator[tuple[str, str]]:
    """Build an algorithm once with each value, and again if that is refused.

    :param config: Settings of the grid, which the constructor accepts
    :param ranges: Values that are tried, by name
    :param env: Environment to build with; no step is taken
    :yield: Name of a hyper-parameter, and a value with the reason why it is refused
    """
    without = {name: value for name, value in config.params.items() if name not in ranges}

    def refused(params: Mapping[str, Any], settings: Settings) -> str | None:
        return refusal(config.algorithm_class, with_settings(params, settings), env)

    for name, searched in ranges.items():
        ways = list(islice(conditions(name, ranges), MOST_CONDITIONS))
        usual = [way for way in ways if not way or refused(config.params, way) is None]
        told = set()
        for label, value in outermost(searched):
            reasons = [
                refused(params, {**way, name: value})
                for way in usual
                for params in (config.params, without)
            ]
            if reasons and None not in reasons and label not in told:
                told.add(label)
                yield name, f"{label}: {reasons[0]}"


def conditions(name: str, ranges: Ranges) -> Iterator[Settings]:
    """Return the ways to meet the condition under which a hyper-parameter is tried.

    :param name: Name of the hyper-parameter
    :param ranges: Values that are tried, by name
    :yield: Settings of others; a single empty one without a condition
    """
    parts = (
        islice(
            (
                {**above, other: value}
                for value in values
                for above in (conditions(other, ranges) if other in ranges else ({},))
            ),
            MOST_CONDITIONS,
        )
        for other, values in ranges[name].when.items()
    )
    for chosen in product(*parts):
        yield {key: value for settings in chosen for key, value in settings.items()}


def outermost(searched: Searched) -> Iterator[tuple[str, Any]]:
    """Return each listed choice, or the bounds of a range, as they are and falling to 0.

    :param searched: Values that are tried
    :yield: How a message names the value, and the value as in a grid
    """
    if searched.values is not None:
        yield from ((f"given {shown(value)}", value) for value in searched.values)
        return
    for label, bound in (("low", searched.low), ("high", searched.high)):
        yield f"{label} {bound}", bound  # also if it falls: few constructors look into a schedule
        if True in searched.decays:
            yield f"{label} {bound}", f"lin_{bound:g}"
