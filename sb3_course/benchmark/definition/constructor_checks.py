"""Build each algorithm of a grid once, so that what its constructor refuses is told at once."""

import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import gymnasium
from gymnasium.spaces import Space
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from sb3_course.benchmark.definition.grid import RunConfig, RunSpec
from sb3_course.benchmark.definition.yaml_source import GridSource, Mistake, Source
from sb3_course.common.errors import Key, in_words
from sb3_course.envs.make import make_vec_env
from sb3_course.envs.spaces_only import SpacesOnlyEnv
from sb3_course.registry import at_fault, refusal, value

Spaces = tuple[Space[Any], Space[Any]]


def check_constructors(specs: Iterable[RunSpec], grid: GridSource) -> None:
    """Build the algorithm of every run once, on the spaces of its environment.

    Runs that differ in their seeds alone are built once. This takes milliseconds a run, after the
    seconds in which torch is loaded.

    :param specs: the runs to come
    :param grid: Their grid, for messages
    :raises GridError: naming environments that cannot be made here, and what a constructor refuses,
        with the hyper-parameter at fault where it is one alone
    """
    source = Source(grid)
    mistakes = list(_mistakes(specs, source))
    if mistakes:
        raise source.error(mistakes)


def _mistakes(specs: Iterable[RunSpec], source: Source) -> Iterator[Mistake]:
    configs = {spec.names: spec.config for spec in specs}
    refusals: dict[Key, tuple[str, dict[str, None]]] = {}
    for environment in dict.fromkeys(environment for _, environment in configs):
        here = {a: config for (a, e), config in configs.items() if e == environment}
        try:
            spaces = _spaces(environment, {config.backend for config in here.values()})
        except Exception as error:
            yield Mistake(("environments", environment), f"cannot be made here: {in_words(error)}")
            continue
        for algorithm, config in here.items():
            refused = _refused(config, spaces)
            if refused is not None:
                place = _place(source, algorithm, environment, refused[0])
                refusals.setdefault(place, (refused[1], {}))[1][environment] = None
    for place, (message, environments) in refusals.items():
        yield Mistake(place, f"{message} (on {', '.join(environments)})")


def _refused(config: RunConfig, spaces: Spaces) -> tuple[Key, str] | None:
    """Build the run of a configuration; say which part of it is refused and why."""
    try:
        env = _stage(config, spaces)
    except Exception as error:
        return ("normalize",), f"given {config.normalize!r}; {in_words(error)}"
    told = refusal(config.algorithm_class, config.params, env)
    if told is None:
        return None
    key = at_fault(config.algorithm_class, config.params, env)
    message = f"{config.algorithm_class} refuses it: {told}"
    return (
        (("params", *key), f"given {value(config.params, key)!r}; {message}")
        if key
        else ((), message)
    )


def _spaces(environment: str, backends: set[str]) -> Spaces:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = gymnasium.make(environment, disable_env_checker=True)  # evaluation needs it, too
        spaces = env.observation_space, env.action_space
        env.close()
        if "envpool" in backends:
            make_vec_env(environment, backend="envpool").close()
    return spaces


def _stage(config: RunConfig, spaces: Spaces) -> VecEnv:
    env = DummyVecEnv([partial(SpacesOnlyEnv, *spaces)] * config.n_envs)
    if config.normalize is False:
        return env
    return VecNormalize(env, **({} if config.normalize is True else config.normalize))


def _place(source: Source, algorithm: str, environment: str, key: Key) -> Key:
    """Say where a setting of an algorithm stands, which may be in one of three sections."""
    sections: list[Key] = [
        ("algorithms", algorithm, "environments", environment),
        ("algorithms", algorithm),
        ("environments", environment),
    ]
    return next(((*s, *key) for s in sections if key and source.has((*s, *key))), sections[1])
