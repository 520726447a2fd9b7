"""One model: build it, keep it in a file, and play it."""

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import gymnasium
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_course import make_vec_env
from sb3_course.benchmark.algorithms import constructor_arguments, find_algorithm
from sb3_course.benchmark.checks import check_environment
from sb3_course.benchmark.errors import UserError
from sb3_course.benchmark.evaluation import evaluate, make_env
from sb3_course.benchmark.rehearsal import at_fault, in_words, value
from sb3_course.benchmark.video import film, filmed_env, has_screen
from sb3_course.common import checkpoint
from sb3_course.common.base import PolicyGradientAlgorithm
from sb3_course.common.files import write_atomically


def build(
    name: str,
    params: dict[str, Any],
    env_id: str,
    n_envs: int,
    seed: int,
    backend: Literal["auto", "envpool", "dummy", "subproc"],
    normalize: bool,
    tensorboard: Path | None = None,
) -> BaseAlgorithm:
    """Make a model and the environments that it trains in.

    :param name: its algorithm, as in a grid
    :param params: its hyper-parameters, as in a grid
    :param env_id: Gymnasium name
    :param n_envs: how many environments
    :param seed: of everything random
    :param backend: see :func:`sb3_course.make_vec_env`
    :param normalize: whether to normalise observations and rewards
    :param tensorboard: folder of TensorBoard's logs
    :raises UserError: for an unknown name, an environment that cannot be made here, or what the
        constructor refuses, naming the hyper-parameter at fault
    """
    check_environment(env_id)
    arguments = constructor_arguments(name, params)
    try:
        env = make_vec_env(env_id, n_envs, seed, backend, normalize)
    except Exception as error:
        raise UserError(f"{env_id} cannot be made here: {in_words(error)}") from error
    logs = None if tensorboard is None else str(tensorboard)
    kwargs = {"seed": seed, "device": "cpu", "verbose": 1, "tensorboard_log": logs, **arguments}
    try:
        model = find_algorithm(name)(env=env, **kwargs)
    except Exception as error:
        key = at_fault(name, params, env)
        env.close()
        given = f"{'.'.join(map(str, key))}: given {value(params, key)!r}; " if key else ""
        raise UserError(f"{given}{name} refuses it: {in_words(error)}") from error
    vars(model)["env_id"] = env_id  # saved with it, see checkpoint.environment_id
    return model


def place_to_log(folder: Path, env_id: str) -> Path:
    """Choose the folder of TensorBoard's logs, where SB3 numbers the runs of each algorithm.

    :param folder: of all environments
    :param env_id: Gymnasium name
    :raises UserError: without TensorBoard
    """
    if find_spec("tensorboard") is None:
        raise UserError("--tensorboard needs it: pip install 'sb3-course[tensorboard]'")
    return folder / re.sub(r"[/:]", "-", env_id)


def place_to_save(path: Path) -> Path:
    """Check that a model can be saved, before it is trained.

    :param path: where to; ``.zip`` is added to a path without suffix, missing folders are made
    :return: the file
    :raises UserError: if it cannot
    """
    path = checkpoint.resolve(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: {path.parent} cannot be made ({error.strerror})") from error
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f"--out: {path} cannot be written; allowed: a file in a folder of yours")
    return path


def save(model: BaseAlgorithm, path: Path) -> None:
    """Save a model of any library with its class, its environment and its normalisation.

    :param model: the model
    :param path: where to; the file is replaced whole
    """
    if isinstance(model, PolicyGradientAlgorithm):
        model.save(path)
        return
    buffer = io.BytesIO()
    model.save(buffer)
    checkpoint.append_header(buffer, model)
    write_atomically(path, buffer.getvalue())


def play(
    path: Path,
    env_id: str | None,
    episodes: int,
    seed: int,
    video: Path | None = None,
    render: bool = False,
    name: str | None = None,
) -> Iterator[tuple[float, int]]:
    """Load a model and play episodes with it, by its most likely actions.

    Episodes follow each other in one environment: they are the same whether filmed or not.

    :param path: the model's file
    :param env_id: Gymnasium name; None for the environment that the file names
    :param episodes: how many
    :param seed: of the first episode; the others follow by one
    :param video: where to film them
    :param render: whether to show them
    :param name: the algorithm, for a file that does not name it
    :return: undiscounted raw return and length of each episode, as it ends
    :raises UserError: if the file is no model, or what it does not say is missing
    """
    try:
        header = checkpoint.read_header(path)
    except ValueError as error:
        raise UserError(str(error)) from error
    env_id = env_id or header.get("env")
    if env_id is None:
        raise UserError(f"{path} does not name its environment: give it, as in CartPole-v1")
    check_environment(env_id)
    if render and not has_screen():
        raise UserError("--render needs a screen, and there is none; --video FILE.mp4 does not")
    with ExitStack() as stack:
        made: Callable[[], gymnasium.Env[Any, Any]]
        if video is not None:
            made = partial(filmed_env, env_id, stack.enter_context(film(video)))
        elif render:
            made = partial(make_env, env_id, render_mode="human")
        else:
            made = partial(make_env, env_id)
        env = DummyVecEnv([made])
        stack.callback(env.close)
        model = load(path, header, env, name)
        for i in range(episodes):
            returns, lengths = evaluate(model, env, seed + i)
            yield float(returns[0]), int(lengths[0])


def load(path: Path, header: dict[str, Any], env: VecEnv, name: str | None) -> BaseAlgorithm:
    """Load a model to play it: its normalisation statistics are frozen.

    :param path: the file
    :param header: what :func:`~sb3_course.common.checkpoint.read_header` found in it
    :param env: where it is to play
    :param name: its algorithm, for a file that does not name it
    :raises UserError: if the algorithm cannot load it, or it does not fit the environment
    """
    name = name or header.get("class")
    if name is None:
        raise UserError(f"{path} does not name its class; --algo does, as in --algo A2C")
    try:
        algorithm = find_algorithm(name)
    except UserError as error:
        raise UserError(f"{path} needs --algo: {error}") from error
    try:
        if issubclass(algorithm, PolicyGradientAlgorithm):
            return algorithm.load(path, env=env, normalize="freeze", device="cpu")
        if "vec_normalize" in header:
            env = checkpoint.wrap_normalized(env, header, "freeze")
        return algorithm.load(path, env=env, device="cpu")
    except Exception as error:
        raise UserError(f"{path} cannot be loaded: {in_words(error)}") from error
