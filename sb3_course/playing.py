"""Play a saved model of any library, one episode after another."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_course.common import checkpoint
from sb3_course.common.base_class import CourseAlgorithm
from sb3_course.common.errors import UserError, in_words
from sb3_course.common.evaluation import evaluate, make_env
from sb3_course.common.video import film, filmed_env, has_screen
from sb3_course.registry import check_environment, find_algorithm


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
        model = load_to_play(path, header, env, name)
        for i in range(episodes):
            returns, lengths = evaluate(model, env, seed + i)
            yield float(returns[0]), int(lengths[0])


def load_to_play(
    path: Path, header: dict[str, Any], env: VecEnv, name: str | None
) -> BaseAlgorithm:
    """Load a model to play it: its normalization statistics are frozen.

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
        if issubclass(algorithm, CourseAlgorithm):
            return algorithm.load(path, env=env, normalize="freeze", device="cpu")
        if "vec_normalize" in header:
            env = checkpoint.wrap_normalized(env, header, "freeze")
        return algorithm.load(path, env=env, device="cpu")
    except Exception as error:
        raise UserError(f"{path} cannot be loaded: {in_words(error)}") from error
