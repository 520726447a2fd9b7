"""Checks that constructors accept the settings of a grid, and the values of its search."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from gymnasium.spaces import Space
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_course.benchmark.definition.grid import RunConfig, RunSpec
from sb3_course.benchmark.definition.search import Ranges, Search
from sb3_course.benchmark.definition.search_checks import refused_values
from sb3_course.benchmark.definition.yaml_source import GridSource, Mistake, Source, shown
from sb3_course.building import at_fault, refusal, value
from sb3_course.common.errors import Key, in_words
from sb3_course.envs.backends import Backend
from sb3_course.envs.config import EnvConfig, EnvConfigError
from sb3_course.envs.make import make_vec_env, normalized, why_not_envpool
from sb3_course.envs.spaces_only import SpacesOnlyEnv

Spaces = tuple[Space[Any], Space[Any]]
_NEED_CHECKS: set[Backend] = {"envpool", "gymnasium"}
"""Backends that cannot run every environment that Gymnasium can make."""


def check_constructors(
    specs: Iterable[RunSpec], grid: GridSource | Source, search: Search | None = None
) -> list[str]:
    """Build the algorithm of every run once, on the spaces of its environment.

    Runs that differ only in their seeds are built once. A build takes milliseconds, after the
    seconds that importing torch takes.

    :param specs: Runs to check
    :param grid: Grid of the runs, for error messages; a source that has been read is not read again
    :param search: Search whose values are checked as well, those of the algorithms of the runs
    :return: Lines on environments with settings for which backend ``auto`` stands for ``dummy``
    :raises GridError: If an environment cannot be made on this machine, or a constructor refuses
        its settings; the message names the hyper-parameter at fault if it is a single one
    """
    source, specs = grid if isinstance(grid, Source) else Source(grid), list(specs)
    mistakes = list(_mistakes(specs, source, {} if search is None else search.algorithms))
    if mistakes:
        raise source.error(mistakes)
    automatic = [s for s in specs if s.config.backend == "auto" and s.config.env_settings]
    reasons = {
        name: why_not_envpool(description)
        for name, description in {s.environment: s.env for s in automatic}.items()
    }
    return [f"{name} on backend 'dummy' ({why})" for name, why in reasons.items() if why]


def _mistakes(
    specs: Iterable[RunSpec], source: Source, searched: Mapping[str, Ranges]
) -> Iterator[Mistake]:
    configs: dict[tuple[str, str], RunConfig] = {}
    environments: dict[str, EnvConfig] = {}
    for spec in specs:
        configs[spec.names] = spec.config
        environments.setdefault(spec.environment, spec.env)
    refusals: dict[tuple[Key, str], tuple[str, dict[str, None]]] = {}
    for environment, description in environments.items():
        by_algorithm = {a: config for (a, e), config in configs.items() if e == environment}
        try:
            spaces = _spaces(description)
            for backend in {config.backend for config in by_algorithm.values()} & _NEED_CHECKS:
                _check_backend(description, backend)
        except EnvConfigError as error:
            yield Mistake(("environments", environment, *error.key), error.message)
            continue
        except (Exception, SystemExit) as error:
            yield Mistake(("environments", environment), f"cannot be made here: {in_words(error)}")
            continue
        for algorithm, config in by_algorithm.items():
            refused = _refused(config, spaces)
            if refused is not None:
                key = _place(source, algorithm, environment, refused[0]), ""
                refusals.setdefault(key, (refused[1], {}))[1][environment] = None
                continue
            for key in _refused_in_search(algorithm, config, spaces, searched.get(algorithm, {})):
                refusals.setdefault(key, (key[1], {}))[1][environment] = None
    for (place, _), (message, names) in refusals.items():
        yield Mistake(place, f"{message} (on {', '.join(names)})")


def _refused_in_search(
    algorithm: str, config: RunConfig, spaces: Spaces, ranges: Ranges
) -> list[tuple[Key, str]]:
    """Return the key of each value of a search that is refused, and the reason."""
    if not ranges:
        return []
    refused = refused_values(config, ranges, _spaces_only_env(config, spaces))
    return [(("search", "algorithms", algorithm, name), reason) for name, reason in refused]


def _refused(config: RunConfig, spaces: Spaces) -> tuple[Key, str] | None:
    """Build the run of a configuration; return the key that is refused and the reason, or None."""
    try:
        env = _spaces_only_env(config, spaces)
    except Exception as error:
        return ("normalize",), f"given {shown(config.normalize)}; {in_words(error)}"
    reason = refusal(config.algorithm_class, config.params, env)
    if reason is None:
        return None
    key = at_fault(config.algorithm_class, config.params, env)
    message = f"{config.algorithm_class} refuses it: {reason}"
    return (
        (("params", *key), f"given {shown(value(config.params, key))}; {message}")
        if key
        else ((), message)
    )


def _spaces(description: EnvConfig) -> Spaces:
    """Make the environment once, as its evaluation does; return its spaces, frames stacked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = description.make(disable_env_checker=True)
        spaces = env.observation_space, env.action_space
        env.close()
        stacked = description.stack(DummyVecEnv([partial(SpacesOnlyEnv, *spaces)]))
    return stacked.observation_space, stacked.action_space


def _check_backend(description: EnvConfig, backend: Backend) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make_vec_env(description, 2, backend=backend, verbose=0).close()
    except (Exception, SystemExit) as error:
        raise EnvConfigError(("backend",), f"given {backend}; {in_words(error)}") from error


def _spaces_only_env(config: RunConfig, spaces: Spaces) -> VecEnv:
    env = DummyVecEnv([partial(SpacesOnlyEnv, *spaces)] * config.n_envs)
    return normalized(env, config.normalize)


def _place(source: Source, algorithm: str, environment: str, key: Key) -> Key:
    """Find the section, one of three, that holds a setting of an algorithm; return its key."""
    sections: list[Key] = [
        ("algorithms", algorithm, "environments", environment),
        ("algorithms", algorithm),
        ("environments", environment),
    ]
    return next(((*s, *key) for s in sections if key and source.has((*s, *key))), sections[1])
