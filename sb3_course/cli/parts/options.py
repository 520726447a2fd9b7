"""Options that several commands share, and how their values are read."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from sb3_course.cli.parts.terminal import print_error
from sb3_course.common.tracking.tracker import TRACKERS
from sb3_course.envs.config import EnvConfig, EnvConfigError

EnvKwargs = Annotated[
    list[str] | None,
    typer.Option(
        "--env-kwargs",
        metavar="KEY=VALUE",
        help="Argument of the environment, in YAML; repeatable.",
    ),
]
Wrappers = Annotated[
    list[str] | None,
    typer.Option(
        "--wrapper",
        metavar="WRAPPER",
        help="Wrapper, the innermost first: module:Class, or 'module:Class: {argument: value}'; "
        "repeatable.",
    ),
]

Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="TRACKER",
        help=f"Send log, settings and commit to {', '.join(TRACKERS)}; repeatable.",
    ),
]
TrackVideo = Annotated[
    bool, typer.Option("--track-video", help="Add a video of the trained policy to --track.")
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Saved model.")]
Algo = Annotated[
    str | None,
    typer.Option(
        metavar="ALGO",
        help="Class of a model that SB3 itself saved, such as PPO; its file has no normalization.",
    ),
]
Trust = Annotated[bool, typer.Option("--trust", help="Read pickles in MODEL, which can do harm.")]


def whole_number(text: str) -> int:
    """Read a whole number of at least 1, which may be written as 1e5 or 100_000.

    :param text: Word of the command line
    :return: The number
    :raises typer.BadParameter: If the text is anything else
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.5
    if not (number >= 1 and number.is_integer()):
        raise typer.BadParameter(f"{text!r}; allowed: a whole number of at least 1, as in 1e5")
    return int(number)


def warn_of_normalization(file: Path) -> None:
    """Print that statistics which lie beside a file of SB3's own are not read.

    :param file: Model file
    """
    from sb3_course.opening import normalization_beside

    found = normalization_beside(file)
    if found is not None:
        print_error(
            f"{found} is not read: if {file} was trained with this VecNormalize, its observations "
            "are not normalized here; sb3_course.loading.save(model, file) keeps both together"
        )


def existing_model(path: Path) -> Path:
    """Return the file of a saved model.

    :param path: Path that the user gave, with or without ``.zip``
    :return: Path of the file
    :raises typer.BadParameter: If there is no such file
    """
    from sb3_course.common.checkpoint import existing

    file = existing(path)
    if file.is_dir():
        raise typer.BadParameter(f"{path} is a folder; allowed: the file of a model")
    if not file.is_file():
        raise typer.BadParameter(f"{file} does not exist; `sb3-course train` saves such a file")
    return file


def parameters(option: str, items: Sequence[str], example: str) -> dict[str, Any]:
    """Read values by name.

    :param option: Option that they were given with, for messages
    :param items: Words KEY=VALUE or, as in RL Zoo, KEY:VALUE
    :param example: Example of such a word
    :return: Values by name
    :raises typer.BadParameter: If one of them is anything else, or a name is given twice
    """
    values: dict[str, Any] = {}
    for item in items:
        found = re.fullmatch(r"(\w+)[=:](.*)", item, re.DOTALL)
        if found is None:
            raise typer.BadParameter(f"{option} {_cut(item)}: expected KEY=VALUE, as in {example}")
        if found[1] in values:
            raise typer.BadParameter(f"{option} {found[1]} is given twice; allowed: once")
        values[found[1]] = _value(option, item, found[2])
    return values


def environment(
    config: EnvConfig, kwargs: Sequence[str] | None, wrappers: Sequence[str] | None
) -> EnvConfig:
    """Return an environment with the settings of the command line.

    :param config: Environment
    :param kwargs: Values of ``--env-kwargs``, which take precedence
    :param wrappers: Values of ``--wrapper``, which replace all others
    :return: Environment with these settings
    :raises typer.BadParameter: If one of them cannot be read
    """
    given = parameters("--env-kwargs", kwargs or [], "use_contact_forces=true")
    read = tuple(_value("--wrapper", word, word) for word in wrappers or [])
    try:
        kwargs_of_all = {**config.kwargs, **given}
        return replace(config, kwargs=kwargs_of_all, wrappers=read or config.wrappers)
    except EnvConfigError as error:
        raise typer.BadParameter(f"--wrapper: {error.message}") from error


def _value(option: str, item: str, text: str) -> Any:
    from yaml import YAMLError

    from sb3_course.common.yaml_values import described, read_yaml

    try:
        return read_yaml(text)
    except YAMLError as error:
        raise typer.BadParameter(f"{option} {_cut(item)}: the value, {described(error)}") from error


def _cut(item: str) -> str:
    return repr(item if len(item) <= 80 else f"{item[:80]}…")
