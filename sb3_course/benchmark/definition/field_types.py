"""Types of the grid's fields, with the limits of their values."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, ValidationInfo

from sb3_course.common.errors import unknown
from sb3_course.common.tracking.tracker import TRACKERS
from sb3_course.envs.config import EnvConfig, EnvConfigError

ExecutorKind: TypeAlias = Literal["local", "ray"]
"""Where runs are executed: in processes of this machine, or on a Ray cluster."""


def _no_text(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError("allowed: a number")
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, bool | str) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("allowed: a whole number")
    return value


def _bool_or_settings(value: Any) -> Any:
    if not isinstance(value, bool | dict):
        raise ValueError("allowed: true, false, or settings of SB3's VecNormalize")
    return value


def _printable_question(question: str) -> str:
    if not (question.strip() and question.isprintable()):
        raise ValueError("allowed: printable characters in one line")
    return question


def _pair_of_algorithms(pair: tuple[str, str], info: ValidationInfo) -> tuple[str, str]:
    allowed = info.data.get("algorithms", pair)  # missing if they have mistakes of their own
    for name in pair:
        if name not in allowed:
            raise ValueError(unknown("algorithm", name, allowed))
    if pair[0] == pair[1]:
        raise ValueError("allowed: two different algorithms")
    return pair


def _short(name: str) -> str:
    size = len(name.encode("utf-8", "surrogatepass"))
    if size > LONGEST_NAME:
        raise ValueError(f"the name has {size} bytes; allowed: {LONGEST_NAME} bytes, shorten it")
    if not (name.strip() and name.isprintable()):
        raise ValueError(f"the name {name!r}; allowed: printable characters")
    return name


def _count_of_seeds(value: Any) -> Any:
    count = isinstance(value, int) and not isinstance(value, bool)
    if not (0 < value <= MAX_SEEDS if count else isinstance(value, list)):
        raise ValueError(
            "allowed: a list of distinct seeds, or their number (from 0 upwards), up to "
            f"{MAX_SEEDS:,}"
        )
    return list(range(value)) if count else value


def _distinct_seeds(value: list[int]) -> list[int]:
    if len(set(value)) < len(value):
        raise ValueError("a seed is listed twice; allowed: distinct seeds, or their number")
    return value


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _trackers(names: list[str]) -> list[str]:
    for name in names:
        if name not in TRACKERS:
            raise ValueError(unknown("tracker", name, TRACKERS))
    return list(dict.fromkeys(names))


def _wrapper(given: Any) -> Any:
    try:
        EnvConfig("", wrappers=(given,))
    except EnvConfigError as error:
        raise ValueError(error.message.partition("; ")[2]) from error
    return given


def _list(given: Any) -> Any:
    return [given] if isinstance(given, str | dict) else given


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    for name, instead in SET_ELSEWHERE.items():
        if name in given:
            raise ValueError(f"{name} is no argument here; {instead}")
    return given


def check_label(name: str) -> str:
    """Check a name in tables and figures.

    :param name: Name
    :return: The name
    :raises ValueError: If it is empty, too long or not printable
    """
    if not (name.strip() and name.isprintable() and len(name) <= 60):
        raise ValueError(f"the name {name!r}; allowed: 1 to 60 printable characters")
    return name


def _metrics(names: list[str]) -> list[str]:
    for name in map(check_label, names):
        if names.count(name) > 1:
            raise ValueError(f"{name} is listed twice; allowed: distinct keys of an info")
    return names


SET_ELSEWHERE = {
    "max_episode_steps": "write time_limit, beside kwargs",
    "render_mode": "runs render nothing, `sb3-course enjoy --video` does",
    "disable_env_checker": "evaluation sets it",
}
"""Arguments of ``gymnasium.make`` that are said elsewhere."""
RL_ZOO = {
    "env_wrapper": "wrappers",
    "env_kwargs": "kwargs",
    "n_timesteps": "total_timesteps",
    "vec_env_wrapper": "none of the keys",
}
"""Keys of RL Zoo's files that have other names in a grid."""
LONGEST_NAME = 120
"""Bytes of a name that becomes part of file names, of which file systems take 255: the longest is
that of a run's temporary file, with 60 of its algorithm and 55 of seed, hash and endings."""
MAX_SEEDS = 10_000
MAX_SEED = 2**32 - 1
"""Largest seed that NumPy's generators take."""
MAX_RUNS = 20_000
MAX_EVALUATIONS = 300_000
"""Maximum number of evaluations in all runs together, each of which is stored."""
Whole = Annotated[int, BeforeValidator(_whole)]
"""Whole number, which YAML may hold as ``1e6``; neither true nor a text."""
Real = Annotated[float, BeforeValidator(_no_text)]
"""Number; neither true nor a text."""
Steps = Annotated[Whole, Field(gt=0, le=10**12)]
Envs = Annotated[Whole, Field(gt=0, le=10_000)]
Normalize = Annotated[Any, AfterValidator(_bool_or_settings)]
Question = Annotated[str, AfterValidator(_printable_question)]
Seeds = Annotated[
    list[Annotated[Whole, Field(ge=0, le=MAX_SEED)]],
    Field(min_length=1),
    BeforeValidator(_count_of_seeds),
    AfterValidator(_distinct_seeds),
]
Pair = Annotated[tuple[str, str], AfterValidator(_pair_of_algorithms)]
Name = Annotated[str, AfterValidator(_short)]
EnvArguments = Annotated[dict[str, JsonValue], AfterValidator(_arguments)]
Wrappers = Annotated[list[Annotated[JsonValue, AfterValidator(_wrapper)]], BeforeValidator(_list)]
Metrics = Annotated[list[str], AfterValidator(_metrics)]
Trackers = Annotated[list[str], BeforeValidator(_one_or_more), AfterValidator(_trackers)]
