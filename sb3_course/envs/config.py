"""How an environment is built. This module imports neither torch, SB3 nor Gymnasium by itself."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import gymnasium
    from stable_baselines3.common.vec_env import VecEnv

    Env: TypeAlias = gymnasium.Env[Any, Any]

EnvId: TypeAlias = str | Callable[..., Any]
"""Gymnasium id, ``module:id``, or a function that returns an environment."""
WrapperName: TypeAlias = str | Mapping[str, Any] | Callable[..., Any]
"""``module:Class``, the same with its arguments as ``{module:Class: {…}}``, or a class."""

MOST_FRAMES = 1000
"""Largest number of stacked observations."""
MOST_STEPS = 2**31 - 2
"""Longest time limit: EnvPool counts in 32 bits, and the largest number stands for no limit."""
KNOWN_WRAPPERS = ("gymnasium.wrappers", "stable_baselines3.common.atari_wrappers")
"""Modules whose wrappers need no module in front of their name."""


class EnvConfigError(ValueError):
    """Error for an environment that cannot be built as it is described.

    :param key: Position of what is at fault in the description, such as ``("wrappers", 0)``
    :param message: What was given, and why it is refused
    """

    def __init__(self, key: tuple[str | int, ...], message: str) -> None:
        super().__init__(f"{'.'.join(map(str, key))}: {message}")
        self.key, self.message = key, message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.message)


@dataclass(frozen=True)
class EnvConfig:
    """Description of an environment, from which training, evaluation and videos build the same.

    The parts are put on in this order: the environment itself with its arguments and its time
    limit, SB3's ``Monitor`` in training, the wrappers, the vector environment, the stacked frames,
    and ``VecNormalize``.

    :param id: Gymnasium id, ``module:id``, or a function that returns an environment
    :param kwargs: Keyword arguments of the environment
    :param wrappers: Wrappers around one environment, the innermost first, each a name
        ``module:Class``, a mapping ``{module:Class: {argument: value}}``, or a class
    :param frame_stack: Number of the last observations that are stacked by SB3's ``VecFrameStack``;
        None for none
    :param time_limit: Environment steps after which an episode is truncated, in place of the limit
        that the environment was registered with; None for that one
    :raises EnvConfigError: If a number is out of range, or a wrapper is none of the above
    """

    id: EnvId
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[WrapperName, ...] = ()
    frame_stack: int | None = None
    time_limit: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kwargs, Mapping):
            raise EnvConfigError(
                ("kwargs",), f"given {self.kwargs!r}; allowed: {{argument: value}}"
            )
        object.__setattr__(self, "wrappers", several(self.wrappers))
        object.__setattr__(self, "kwargs", dict(self.kwargs))
        for name, most in (("frame_stack", MOST_FRAMES), ("time_limit", MOST_STEPS)):
            number = getattr(self, name)
            if isinstance(number, Integral) and not isinstance(number, bool):  # NumPy's, too
                number = int(number)
                object.__setattr__(self, name, number)
            if number is not None and not (type(number) is int and 1 <= number <= most):
                allowed = f"whole numbers from 1 to {most:,}, or none"
                raise EnvConfigError((name,), f"given {number!r}; allowed: {allowed}")
        for i, wrapper in enumerate(self.wrappers):
            if not (callable(wrapper) or isinstance(wrapper, str) or _is_call(wrapper)):
                raise EnvConfigError(
                    ("wrappers", i),
                    f"given {wrapper!r}; allowed: module:Class, as in "
                    "gymnasium.wrappers:RescaleAction, or {module:Class: {argument: value}}",
                )

    @classmethod
    def of(cls, env: "EnvConfig | EnvId") -> "EnvConfig":
        """Return the description of an environment.

        :param env: Description, or the id of an environment without any settings
        :return: Description
        """
        return env if isinstance(env, EnvConfig) else cls(env)

    @classmethod
    def from_data(cls, name: str, data: Mapping[str, Any]) -> "EnvConfig":
        """Return the description that :meth:`data` returned as plain data.

        :param name: Id of an environment whose data has none
        :param data: Plain data
        :return: Description
        :raises EnvConfigError: If the data is malformed
        """
        allowed = {f.name for f in fields(cls)}
        kinds = {"id": str, "kwargs": Mapping, "wrappers": list}
        for key, value in {"id": name, **data}.items():
            if key not in allowed or not isinstance(value, kinds.get(key, object)):
                raise EnvConfigError((key,), f"given {value!r} as a setting of an environment")
        return cls(**{"id": name, **data})

    def data(self, name: str) -> dict[str, Any]:
        """Return what differs from a plain environment as plain data, for :meth:`from_data`.

        :param name: Id of the plain environment
        :return: Plain data, empty for an environment of that id without any settings
        """
        plain = EnvConfig(name)
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        different = {key: value for key, value in given.items() if value != getattr(plain, key)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in different.items()}

    @property
    def name(self) -> str:
        """Id of the environment, or the name of the function."""
        return self.id if isinstance(self.id, str) else getattr(self.id, "__name__", repr(self.id))

    @property
    def reward_threshold(self) -> float | None:
        """Return at which Gymnasium considers the task solved; None if it names none."""
        if not isinstance(self.id, str) or self.data(self.id):
            return None
        import gymnasium

        module, _, plain = self.id.rpartition(":")
        if module:
            import_module(module)
        return gymnasium.spec(plain).reward_threshold

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the environment, the time limit included."""
        limit = {} if self.time_limit is None else {"max_episode_steps": self.time_limit}
        return {**self.kwargs, **limit}

    def make(
        self, inside: "Callable[[Env], Env] | None" = None, drawable: bool = False, **settings: Any
    ) -> "Env":
        r"""Make one environment, with its wrappers and without stacked frames.

        :param inside: Further wrapper, below all others
        :param drawable: Whether it renders images where it knows how to
        :param \**settings: Further keyword arguments of ``gymnasium.make``
        :return: Environment
        :raises EnvConfigError: If a wrapper or an argument is refused; names it
        """
        env = self.make_bare(drawable, **settings)
        return self.wrap(env if inside is None else inside(env))

    def make_bare(self, drawable: bool = False, **settings: Any) -> "Env":
        r"""Make one environment without its wrappers.

        :param drawable: Whether it renders images where it knows how to
        :param \**settings: Further keyword arguments of ``gymnasium.make``
        :return: Environment
        :raises EnvConfigError: If an argument is refused; names it
        """
        try:
            return self._base(drawable, settings)
        except (Exception, SystemExit) as error:
            at_fault = self._refused_argument(settings)
            if at_fault is None:
                raise
            given = f"given {self.kwargs[at_fault]!r}; {_in_words(error)}"
            raise EnvConfigError(("kwargs", at_fault), given) from error

    def wrap(self, env: "Env") -> "Env":
        """Apply the wrappers to an environment.

        :param env: Environment
        :return: Wrapped environment
        :raises EnvConfigError: If a wrapper does not exist, refuses its arguments, or returns
            something else than an environment, or SB3 cannot hold the observations
        """
        import gymnasium

        for i, entry in enumerate(self.wrappers):
            key = ("wrappers", i)
            try:
                wrapper = find_wrapper(entry)
                _check_wrapper(wrapper)
                wrapped = wrapper(env)
            except (Exception, SystemExit) as error:
                raise EnvConfigError(key, f"given {entry!r}; {_in_words(error)}") from error
            if not isinstance(wrapped, gymnasium.Env):
                kind = type(wrapped).__name__
                raise EnvConfigError(key, f"given {entry!r}, which returns a {kind}, no gym.Env")
            env = wrapped
        _check_observations(env)
        return env

    def stack(self, venv: "VecEnv") -> "VecEnv":
        """Stack the last observations of a vector environment.

        :param venv: Vector environment
        :return: The same within SB3's ``VecFrameStack``, or as it is where no frames are stacked
        :raises EnvConfigError: If its observations cannot be stacked
        """
        if self.frame_stack is None:
            return venv
        from stable_baselines3.common.vec_env import VecFrameStack

        try:
            return VecFrameStack(venv, self.frame_stack)
        except Exception as error:
            raise EnvConfigError(
                ("frame_stack",),
                f"given {self.frame_stack}; SB3's VecFrameStack refuses the observation space "
                f"{venv.observation_space}: {_in_words(error)}",
            ) from error

    def _base(self, drawable: bool, settings: Mapping[str, Any]) -> "Env":
        from sb3_course.envs.gymnasium_env import make_drawable_env, make_env

        if callable(self.id):
            made = self.id(**self.kwargs)
            return made if self.time_limit is None else _limited(made, self.time_limit)
        make = make_drawable_env if drawable else make_env
        return make(self.id, **{**self.arguments, **settings})

    def _refused_argument(self, settings: Mapping[str, Any]) -> str | None:
        """Return the one argument without which the environment can be made, None if none is."""
        for name in self.kwargs:
            kept = {key: value for key, value in self.kwargs.items() if key != name}
            with suppress(Exception, SystemExit):
                replace(self, kwargs=kept)._base(False, settings).close()
                return name
        return None


def _check_wrapper(wrapper: "Callable[[Env], Env]") -> None:
    """Check that a wrapper can be above SB3's ``Monitor``."""
    from gymnasium.wrappers import RecordEpisodeStatistics

    key = getattr(wrapper, "keywords", {}).get("stats_key", "episode")
    if getattr(wrapper, "func", wrapper) is RecordEpisodeStatistics and key == "episode":
        raise ValueError("SB3's Monitor has recorded the episode already: leave it out")


def _check_observations(env: "Env") -> None:
    """Check that SB3 can hold the observations; what else it lacks, the algorithms tell."""
    from gymnasium.spaces import Dict, Tuple

    space = env.observation_space
    for name, part in (space.spaces if isinstance(space, Dict) else {"": space}).items():
        if part.shape is None and not isinstance(part, Dict | Tuple):
            where = f" at {name!r}" if name else ""
            out = "FilterObservation" if name else "FlattenObservation"
            raise EnvConfigError(
                ("wrappers",),
                f"the observations have a {type(part).__name__}{where}, which SB3 cannot hold: "
                f"leave it out, or put it in numbers, by a wrapper such as {out}",
            )


def _limited(env: "Env", steps: int) -> "Env":
    """Set the time limit of an environment, in place of those that it has."""
    from gymnasium.wrappers import TimeLimit

    from sb3_course.envs.gymnasium_env import layers_of

    limits = [layer for layer in layers_of(env) if isinstance(layer, TimeLimit)]
    for layer in limits:
        layer._max_episode_steps, layer._cached_spec = steps, None  # a copy loses what is above
    return env if limits else TimeLimit(env, steps)


def several(wrappers: WrapperName | Iterable[WrapperName]) -> tuple[WrapperName, ...]:
    """Return wrappers as a tuple.

    :param wrappers: Several wrappers, or a single one
    :return: All of them
    """
    if isinstance(wrappers, str | Mapping) or callable(wrappers):
        return (wrappers,)
    return tuple(wrappers)


def find_wrapper(entry: WrapperName) -> "Callable[[Env], Env]":
    """Find a wrapper by its name.

    :param entry: ``module:Class``, the name of a wrapper of Gymnasium's or an Atari wrapper of
        SB3's, a mapping from one of these to keyword arguments, or a class
    :return: Function that wraps an environment
    :raises ValueError: If there is no such wrapper, or its module cannot be imported
    """
    if isinstance(entry, Mapping):
        ((name, kwargs),) = entry.items()
        return partial(find_wrapper(name), **(kwargs or {}))
    if not isinstance(entry, str):
        return entry
    module, _, attribute = entry.rpartition(":")
    if not module:
        return _known_wrapper(entry)
    try:
        found = getattr(import_module(module), attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also sys.exit, which would end this program without a word
        raise ValueError(f"cannot import {entry!r}: {_in_words(error)}") from error
    if not callable(found):
        raise ValueError(f"{entry!r} is no wrapper but a {type(found).__name__}")
    wrapper: Callable[[Env], Env] = found
    return wrapper


def _known_wrapper(name: str) -> "Callable[[Env], Env]":
    import gymnasium

    known: dict[str, Any] = {}
    for source in map(import_module, reversed(KNOWN_WRAPPERS)):
        known |= {
            attribute: value
            for attribute, value in vars(source).items()
            if isinstance(value, type)
            and issubclass(value, gymnasium.Wrapper)
            and value is not gymnasium.Wrapper
        }
    if name not in known:
        module, _, attribute = name.rpartition(".")
        near = [f"{module}:{attribute}"] if module else get_close_matches(name, known, n=1)
        meant = f" did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"unknown wrapper {name!r};{meant} allowed: a name of {' or '.join(KNOWN_WRAPPERS)}, "
            "or module:Class"
        )
    wrapper: Callable[[Env], Env] = known[name]
    return wrapper


def _is_call(wrapper: Any) -> bool:
    """Whether a value is one name with a mapping of its arguments, or with nothing."""
    if not isinstance(wrapper, Mapping) or len(wrapper) != 1:
        return False
    ((name, kwargs),) = wrapper.items()
    names = [name, *(kwargs if isinstance(kwargs, Mapping) else ())]
    return isinstance(kwargs, Mapping | type(None)) and all(isinstance(n, str) for n in names)


def _in_words(error: BaseException) -> str:
    message = " ".join(str(error).split()) or "no reason given"
    return message if type(error) is ValueError else f"{type(error).__name__}: {message}"
