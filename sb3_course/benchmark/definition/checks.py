"""Checks of the names in a grid against what is installed, before any run starts."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from sb3_course.benchmark.definition.grid import Grid, parse
from sb3_course.benchmark.definition.yaml_source import (
    MOST_MISTAKES,
    GridSource,
    Mistake,
    Source,
    shown,
)
from sb3_course.building import check_environment
from sb3_course.common.errors import Key, UserError, unknown
from sb3_course.envs.config import EnvConfig, EnvConfigError, find_wrapper
from sb3_course.registry import constructor_arguments, find_algorithm, hyper_parameters, kinds_of

CHANGES_NO_RETURN = ("stats_window_size",)
"""Hyper-parameters that a search would try in vain."""
LIKE_AN_ID = re.compile(r"-v\d+$")
"""How an environment's id ends, and a name that a grid has made up seldom does."""


def checked_grid(grid: GridSource) -> Grid:
    """Read a grid and check its schema and every name in it.

    :param grid: Grid file, or its content as a mapping
    :return: Validated grid
    :raises GridError: If the grid has mistakes; the message lists all of them
    """
    source = Source(grid)
    parsed = parse(source.data)
    # A name that is unknown is compared with all known ones, which takes milliseconds.
    unknown_first = islice(unknown_names(source), MOST_MISTAKES)
    mistakes = [*(parsed if isinstance(parsed, list) else ()), *unknown_first]
    if isinstance(parsed, list) or mistakes:
        raise source.error(mistakes)
    return parsed


def unknown_names(source: Source) -> Iterator[Mistake]:
    """Look up every environment, algorithm and hyper-parameter.

    :param source: Grid, whose schema need not be valid; values that should be mappings and are not
        are skipped
    :yield: Mistakes, one for each name that does not exist
    """
    environments = _mapping(source.data, "environments")
    for name, settings in environments.items():
        key: Key = ("environments", name)
        own_id = settings.get("id") if isinstance(settings, Mapping) else None
        place = key if own_id is None else (*key, "id")
        yield from _run_check(place, check_environment, name if own_id is None else own_id)
        for i, wrapper in enumerate(_list(settings, "wrappers")):
            yield from _run_check((*key, "wrappers", i), _check_wrapper, wrapper)
        normalize = _mapping(settings, "normalize")
        yield from _run_check((*key, "normalize"), _check_normalize, normalize)
    for name, algorithm in _mapping(source.data, "algorithms").items():
        key = ("algorithms", name)
        yield from _unknown_in_algorithm(key, algorithm)
        for environment in _mapping(algorithm, "environments"):
            place = (*key, "environments", environment)
            if environment in environments:
                continue
            if source.own(place):
                yield Mistake(place, unknown("environment", environment, map(str, environments)))
            elif LIKE_AN_ID.search(str(environment)):
                # Grids that share an included file need not have all of its environments.
                yield from _run_check(place, check_environment, environment)
    yield from _unknown_in_search(source)


def _unknown_in_search(source: Source) -> Iterator[Mistake]:
    algorithms = _mapping(source.data, "algorithms")
    for name, ranges in _mapping(_mapping(source.data, "search"), "algorithms").items():
        class_ = _mapping(algorithms, name).get("class")
        if not isinstance(class_, str) or list(_run_check((), find_algorithm, class_)):
            continue  # reported where it is
        for parameter in ranges if isinstance(ranges, Mapping) else ():
            head = str(parameter).partition(".")[0]
            key: Key = ("search", "algorithms", name, parameter)
            yield from _run_check(key, _check_searched, class_, head, str(parameter))
            yield from _run_check(key, _check_count, class_, head, ranges[parameter])


def _check_searched(class_: str, head: str, parameter: str) -> None:
    constructor_arguments(class_, {head: None})
    if parameter == "policy_kwargs":
        raise UserError("its keys are searched one by one: policy_kwargs.KEY, as in .net_arch")
    if parameter in CHANGES_NO_RETURN:
        raise UserError(f"{parameter} changes what is logged, and no return")
    if "." in parameter and head != "policy_kwargs":
        raise UserError("allowed: a hyper-parameter of the constructor, or policy_kwargs.KEY")
    if parameter.count(".") > 1:
        outer, _, inner = parameter.rpartition(".")
        raise UserError(f"allowed: one dot, as in {outer}: [{{{inner}: …}}, {{{inner}: …}}]")


def _check_count(class_: str, head: str, searched: Any) -> None:
    """Check that whole numbers are tried for a hyper-parameter that is annotated as one."""
    kinds = kinds_of(hyper_parameters(find_algorithm(class_)).get(head))
    if int not in kinds or float in kinds:
        return
    bounds = [searched.get(k) for k in ("low", "high")] if isinstance(searched, Mapping) else []
    choices = searched if isinstance(searched, list) else _list(searched, "values")
    for label, number in zip(("low", "high"), bounds, strict=False):
        if isinstance(number, float):
            raise UserError(
                f"{label} {number}: {head} of {class_} takes whole numbers; allowed: bounds "
                "without a decimal point, as in {low: 8, high: 64}"
            )
    for number in choices:
        if isinstance(number, float) and not number.is_integer():
            raise UserError(f"given {number}; {head} of {class_} takes whole numbers")


def _unknown_in_algorithm(key: Key, algorithm: Any) -> Iterator[Mistake]:
    class_ = _mapping({"": algorithm}, "").get("class")
    if not isinstance(class_, str):
        return  # reported as a mistake in the schema
    unknown_class = list(_run_check((*key, "class"), find_algorithm, class_))
    yield from unknown_class
    overrides = _mapping(algorithm, "environments")
    sections = {key: algorithm}
    sections |= {(*key, "environments", name): override for name, override in overrides.items()}
    for place, section in sections.items():
        for inner, params in () if unknown_class else _one_by_one(_mapping(section, "params")):
            yield from _run_check((*place, "params", *inner), constructor_arguments, class_, params)
        normalize = _mapping(section, "normalize")
        yield from _run_check((*place, "normalize"), _check_normalize, normalize)


def _one_by_one(params: Mapping[Any, Any]) -> Iterator[tuple[Key, dict[Any, Any]]]:
    """Split hyper-parameters into single ones, so that each mistake is reported."""
    for name, value in params.items():
        if name == "policy_kwargs" and isinstance(value, Mapping):
            yield from (((name, key), {name: {key: part}}) for key, part in value.items())
        else:
            yield (name,), {name: value}


def _run_check(key: Key, check: Callable[..., object], *arguments: Any) -> Iterator[Mistake]:
    try:
        check(*arguments)
    except UserError as error:
        yield Mistake(key, str(error))


def _mapping(data: Any, key: str) -> Mapping[Any, Any]:
    value = data.get(key) if isinstance(data, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _list(data: Any, key: str) -> list[Any]:
    value = data.get(key, []) if isinstance(data, Mapping) else []
    return value if isinstance(value, list) else [value]


def _check_wrapper(entry: Any) -> None:
    try:
        EnvConfig("", wrappers=(entry,))
    except EnvConfigError:
        return  # reported as a mistake in the schema
    try:
        find_wrapper(entry)
    except ValueError as error:
        raise UserError(f"given {shown(entry)}; {error}") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


_FLAG = (lambda value: isinstance(value, bool)), "true or false"
_POSITIVE = _is_positive, "a number above 0"
_OF_NORMALIZE: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("training", "norm_obs", "norm_reward"), _FLAG),
    **dict.fromkeys(("clip_obs", "clip_reward", "epsilon"), _POSITIVE),
    "gamma": (lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1"),
    "norm_obs_keys": (
        lambda value: isinstance(value, list | None),
        "a list of keys of Dict observations",
    ),
}


def _check_normalize(settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if key not in _OF_NORMALIZE:
            raise UserError(unknown("setting of VecNormalize", key, _OF_NORMALIZE))
        is_allowed, words = _OF_NORMALIZE[key]
        if not is_allowed(value):
            raise UserError(f"{key}: given {shown(value)}; allowed: {words}")
