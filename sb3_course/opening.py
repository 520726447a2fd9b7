"""Open a model file of any library: whom it is trusted by, its class, and its environment."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_course import loading
from sb3_course.common import checkpoint
from sb3_course.common.checkpoint import CheckpointError, NeedsPickleError
from sb3_course.common.errors import UserError, in_words
from sb3_course.envs.config import EnvConfig, EnvConfigError
from sb3_course.registry import find_algorithm


def environment_of(path: Path, env_id: str | None, trust: bool) -> EnvConfig:
    """Return the environment that a file was trained in, with its settings.

    :param path: Model file
    :param env_id: Id that the user gave, or None; settings are those of the file if it names this
        id, with or without its module, and none otherwise
    :param trust: Whether the modules that a file of others names may be imported
    :return: Environment
    :raises UserError: If the file is not a model, does not name its environment, or is not trusted
        with what it needs
    """
    return described_environment(path, *opened(path, trust), env_id)


def opened(path: Path, trust: bool) -> tuple[dict[str, Any], bool]:
    """Read the header of a model file, and decide whether the file is trusted.

    :param path: Model file
    :param trust: Whether the user trusts it, whoever wrote it
    :return: Header with the statistics, and whether pickles may be read
    :raises UserError: If the file is not a model, or is damaged
    """
    try:
        return checkpoint.read_header(path), trust or loading.is_trusted(path)
    except ValueError as error:
        raise UserError(str(error)) from error


def _registered(env_id: str) -> str:
    """Return an id as Gymnasium registers it, without the module that is imported for it."""
    return env_id.rpartition(":")[2]


def described_environment(
    path: Path, header: dict[str, Any], trusted: bool, env_id: str | None
) -> EnvConfig:
    """Return the environment that an opened file was trained in, as :func:`environment_of` does.

    :param path: Model file
    :param header: Its header
    :param trusted: Whether it may do anything
    :param env_id: Id that the user gave, or None
    :return: Environment
    :raises UserError: If the file does not name it, or is not trusted with what it needs
    """
    own: str | None = header.get("env")
    if env_id is not None and _registered(env_id) != _registered(own or ""):
        return EnvConfig(env_id)
    if own is None:
        raise UserError(f"{path} does not name its environment: add its id, as in CartPole-v1")
    try:
        config = EnvConfig.from_data(env_id or own, header.get("env_settings", {}))
    except EnvConfigError as error:
        raise UserError(f"{path}: the settings of its environment: {error}") from error
    check_trusted(path, config, trusted, named=env_id is not None)
    unknown = header.get("env_unknown", [])
    if unknown and env_id is None:
        raise UserError(
            f"{path} was trained in {own} with {' and '.join(map(str, unknown))}, which its file "
            f"cannot build again: add the environment's id, as in {own}, to play without them"
        )
    return config


def check_trusted(path: Path, config: EnvConfig, trusted: bool, named: bool = False) -> None:
    """Check that a file may build its environment, which can execute code of the file's author.

    :param path: Model file
    :param config: Environment that it names
    :param trusted: Whether it may do anything
    :param named: Whether the user has named the environment, so that its module is no news
    :raises UserError: If it needs more than it is trusted with
    """
    if trusted:
        return
    if ":" in config.name and not named:
        raise UserError(untrusted(path, f"imports the module of its environment, {config.name}"))
    if config.wrappers:
        names = ", ".join(map(str, config.wrappers))
        raise UserError(untrusted(path, f"puts wrappers around its environment, {names}"))


BESIDE = "*vec*normalize*.pkl", "*-v[0-9]*/vecnormalize.pkl"
"""Where SB3's examples and callbacks and RL Zoo keep statistics, below the model's folder."""

PICKLES = "holds pickled Python, as every file of SB3's own does"
"""What an unknown file may not ask to have read."""


def load_to_play(
    path: Path, header: dict[str, Any], env: VecEnv, name: str | None, trusted: bool
) -> BaseAlgorithm:
    """Load a model for playing, with frozen normalization statistics.

    :param path: Model file
    :param header: Header of the file, from :func:`~sb3_course.common.checkpoint.read_header`
    :param env: Environment to play in
    :param name: Name of the algorithm, for a file that does not name it
    :param trusted: Whether to read pickles and import the module of the class
    :return: Loaded model
    :raises UserError: If the algorithm cannot load the file, it does not fit the environment, or
        its weights are not finite
    """
    algorithm = find_class(path, header, name, trusted)
    with _told(path, name):
        model = loading.load_any(algorithm, path, env, "freeze", trusted, plays=True)
    check_weights(path, model)
    return model


def check_weights(path: Path, model: BaseAlgorithm) -> None:
    """Check that a model can act.

    :param path: File that it was loaded from
    :param model: Model
    :raises UserError: A weight of its policy is not finite
    """
    if (key := not_finite(model)) is not None:
        raise UserError(f"{path}: its weights {key} are not finite: the training has diverged")


def not_finite(model: BaseAlgorithm) -> str | None:
    """Find weights that are not finite, with which a model cannot act.

    :param model: Model
    :return: Name of the first of its policy that are not, None if all are
    """
    state = model.policy.state_dict()
    return next((key for key, weights in state.items() if not weights.isfinite().all()), None)


def normalization_beside(path: Path) -> Path | None:
    """Return the file of ``VecNormalize`` statistics that lies beside a file of SB3's own.

    SB3 and RL Zoo keep them apart from the model, whose file does not tell whether it needs them.

    :param path: Model file
    :return: File, which is not read; None if there is none, or the model's file has its own
    :raises UserError: The file is not a model, or is damaged
    """
    if opened(path, False)[0]:
        return None
    found = [f for pattern in BESIDE for f in sorted(path.parent.glob(pattern))]
    steps = re.findall(r"\d+", path.stem)  # a checkpoint's, whose statistics have them as well
    return min(found, key=lambda f: re.findall(r"\d+", f.stem) != steps, default=None)


def open_policy(path: Path, name: str | None, trust: bool) -> BaseAlgorithm:
    """Load a model to predict with, without its environment.

    :param path: Model file
    :param name: Name of the algorithm, for a file that does not name it
    :param trust: Whether to read pickles of a file that this user did not write here
    :return: Model on the CPU, with the normalization of the file; see
        :func:`~sb3_course.loading.load_to_predict`
    :raises UserError: If the file is not a model, or is not trusted with what it needs
    """
    header, trusted = opened(path, trust)
    algorithm = find_class(path, header, name, trusted)
    with _told(path, name):
        return loading.load_to_predict(algorithm, path, trusted)


@contextmanager
def _told(path: Path, name: str | None) -> Iterator[None]:
    """Explain why a file cannot be loaded as what they say that it is, within a context."""
    try:
        yield
    except NeedsPickleError as error:
        raise UserError(untrusted(path, PICKLES)) from error
    except CheckpointError as error:
        raise UserError(_about(path, error)) from error
    except Exception as error:
        doubt = f"; was it saved by another class than {name}?" if name is not None else ""
        raise UserError(_about(path, error) + doubt) from error


def _about(path: Path, error: Exception) -> str:
    words = in_words(error)
    return words if words.startswith(str(path)) else f"{path} cannot be loaded: {words}"


def untrusted(path: Path, why: str) -> str:
    """Return the message for a file that asks for more than an unknown file may do.

    :param path: Model file
    :param why: What it asks for, as the end of a sentence
    :return: Message in one line
    """
    return (
        f"{path} was not written by you on this machine, and {why}. That executes code of the "
        "file's author: add --trust if you trust them"
    )


def find_class(
    path: Path, header: dict[str, Any], name: str | None, trusted: bool
) -> type[BaseAlgorithm]:
    """Return the class of a model.

    :param path: Model file
    :param header: Header of the file
    :param name: Name of the algorithm that the user gave, or None
    :param trusted: Whether to import the module of a class of the author's own
    :return: Class
    :raises UserError: If the file does not name it, or it is unknown
    """
    given, saved = name, header.get("class")
    if given is not None and saved is not None and given.rpartition(":")[2] != saved:
        find_algorithm(given)  # an unknown name is told as such
        raise UserError(f"{path} was saved by {saved}, not by {given}: leave out --algo")
    name = given or saved
    if name is None:
        raise UserError(f"{path} does not name its class: add it, as in --algo A2C")
    if name == header.get("class") and "module" in header:
        if given is None and not trusted:
            raise UserError(untrusted(path, f"imports the module {header['module']}"))
        name = f"{header['module']}:{name}"
    package = import_module("sb3_course")  # its names are resolved on first use
    if name in package.IMITATION:
        algorithm: type[BaseAlgorithm] = getattr(package, name)
        return algorithm
    try:
        return find_algorithm(name)
    except UserError as error:
        raise UserError(f"{path} needs --algo: {error}") from error
