"""Build each algorithm of a grid once, so that what its constructor refuses is told at once."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.spaces import Space
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from sb3_course import make_vec_env
from sb3_course.benchmark.algorithms import constructor_arguments, find_algorithm
from sb3_course.benchmark.grid import RunConfig, RunSpec
from sb3_course.benchmark.source import Key, Mistake, Source

Spaces = tuple[Space[Any], Space[Any]]


class Stage(gymnasium.Env[Any, Any]):
    """An environment's spaces without the environment; a constructor needs no more.

    :param spaces: of observations and of actions
    """

    def __init__(self, spaces: Spaces) -> None:
        self.observation_space, self.action_space = spaces


def rehearse(specs: Iterable[RunSpec], path: Path) -> None:
    """Build the algorithm of every run once, on the spaces of its environment.

    Runs that differ in their seeds alone are built once. This takes milliseconds a run, after the
    seconds in which torch is loaded.

    :param specs: the runs to come
    :param path: their grid's file, for messages
    :raises GridError: naming environments that cannot be made here, and what a constructor refuses,
        with the hyper-parameter at fault where it is one alone
    """
    source = Source(path)
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
    env = DummyVecEnv([partial(Stage, spaces)] * config.n_envs)
    if config.normalize is False:
        return env
    return VecNormalize(env, **({} if config.normalize is True else config.normalize))


def refusal(name: str, params: Mapping[str, Any], env: VecEnv) -> str | None:
    """Build an algorithm, and say why not.

    :param name: the algorithm, as in a grid
    :param params: its hyper-parameters, as in a grid
    :param env: what it is to act in; no step is taken
    :return: what the constructor says, in a line, or None if it builds
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run repeats them
            arguments = constructor_arguments(name, params)
            find_algorithm(name)(env=env, seed=0, device="cpu", verbose=0, **arguments)
    except Exception as error:
        return in_words(error)
    return None


def in_words(error: Exception) -> str:
    """Tell an exception in a line.

    :param error: the exception; the type of a plain ``ValueError`` adds nothing
    """
    message = " ".join(str(error).split()) or "no reason given"
    plain = isinstance(error, ValueError | AssertionError) and str(error)
    return message if plain else f"{type(error).__name__}: {message}"


def at_fault(name: str, params: Mapping[str, Any], env: VecEnv) -> Key:
    """Find the hyper-parameter without which an algorithm can be built, the innermost one.

    :param name: the algorithm, as in a grid
    :param params: hyper-parameters that its constructor refuses
    :param env: what it is to act in
    :return: the hyper-parameter's key, such as ``("policy_kwargs", "net_arch")``, or ``()``
    """
    settings = params.get("policy_kwargs")
    inner = [("policy_kwargs", key) for key in settings] if isinstance(settings, dict) else []
    for key in [*inner, *((key,) for key in params)]:
        if refusal(name, _without(params, key), env) is None:
            return key
    return ()


def _without(params: Mapping[str, Any], key: Key) -> dict[str, Any]:
    head, *rest = key
    kept = {name: value for name, value in params.items() if name != head}
    return {**kept, str(head): _without(params[str(head)], tuple(rest))} if rest else kept


def value(params: Any, key: Key) -> Any:
    """Look up a hyper-parameter.

    :param params: hyper-parameters
    :param key: its key, see :func:`at_fault`
    """
    return reduce(getitem, key, params)


def _place(source: Source, algorithm: str, environment: str, key: Key) -> Key:
    """Say where a setting of an algorithm stands, which may be in one of three sections."""
    sections: list[Key] = [
        ("algorithms", algorithm, "environments", environment),
        ("algorithms", algorithm),
        ("environments", environment),
    ]
    return next(((*s, *key) for s in sections if key and source.has((*s, *key))), sections[1])
