"""Check what a grid names against what is installed, before hours are spent on it."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stable_baselines3.common.vec_env import VecNormalize

from sb3_course.benchmark.definition.grid import Grid, parse
from sb3_course.benchmark.definition.yaml_source import GridSource, Mistake, Source
from sb3_course.common.errors import Key, UserError, unknown
from sb3_course.registry import check_environment, constructor_arguments, find_algorithm


def checked_grid(grid: GridSource) -> Grid:
    """Read a grid, and check its form and every name in it.

    :param grid: A YAML file, or the same as a mapping
    :raises GridError: naming each mistake
    """
    source = Source(grid)
    parsed = parse(source.data)
    mistakes = [*(parsed if isinstance(parsed, list) else ()), *wrong_names(source)]
    if isinstance(parsed, list) or mistakes:
        raise source.error(mistakes)
    return parsed


def wrong_names(source: Source) -> Iterator[Mistake]:
    """Look up every environment, algorithm and hyper-parameter.

    :param source: a grid of any form; what is no mapping where one should be is passed over
    :return: what does not exist
    """
    environments = _mapping(source.data, "environments")
    for name, settings in environments.items():
        key: Key = ("environments", name)
        yield from _told(key, check_environment, name)
        yield from _told((*key, "normalize"), _check_normalize, _mapping(settings, "normalize"))
    for name, algorithm in _mapping(source.data, "algorithms").items():
        key = ("algorithms", name)
        yield from _wrong_algorithm(key, algorithm)
        for environment in _mapping(algorithm, "environments"):
            place = (*key, "environments", environment)
            if environment in environments:
                continue
            if source.own(place):
                yield Mistake(place, unknown("environment", environment, map(str, environments)))
            else:  # several grids share the file; this one need not have all its environments
                yield from _told(place, check_environment, environment)


def _wrong_algorithm(key: Key, algorithm: Any) -> Iterator[Mistake]:
    class_ = _mapping({"": algorithm}, "").get("class")
    if not isinstance(class_, str):
        return  # a mistake of form
    unknown_class = list(_told((*key, "class"), find_algorithm, class_))
    yield from unknown_class
    overrides = _mapping(algorithm, "environments")
    sections = {key: algorithm}
    sections |= {(*key, "environments", name): override for name, override in overrides.items()}
    for place, section in sections.items():
        for inner, params in () if unknown_class else _one_by_one(_mapping(section, "params")):
            yield from _told((*place, "params", *inner), constructor_arguments, class_, params)
        yield from _told((*place, "normalize"), _check_normalize, _mapping(section, "normalize"))


def _one_by_one(params: Mapping[Any, Any]) -> Iterator[tuple[Key, dict[Any, Any]]]:
    """Take hyper-parameters apart, so that each mistake in them is told."""
    for name, value in params.items():
        if name == "policy_kwargs" and isinstance(value, Mapping):
            yield from (((name, key), {name: {key: part}}) for key, part in value.items())
        else:
            yield (name,), {name: value}


def _told(key: Key, check: Callable[..., object], *arguments: Any) -> Iterator[Mistake]:
    try:
        check(*arguments)
    except UserError as error:
        yield Mistake(key, str(error))


def _mapping(data: Any, key: str) -> Mapping[Any, Any]:
    value = data.get(key) if isinstance(data, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _check_normalize(settings: Mapping[str, Any]) -> None:
    allowed = set(inspect.signature(VecNormalize).parameters) - {"venv"}
    for key in settings:
        if key not in allowed:
            raise UserError(unknown("setting of VecNormalize", key, allowed))
