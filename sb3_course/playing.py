"""Play a saved model of any library, one episode after another."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_course.common import checkpoint
from sb3_course.common.base_class import CourseAlgorithm
from sb3_course.common.errors import UserError, in_words
from sb3_course.common.evaluation import evaluate
from sb3_course.common.video import film, filmed_env, has_screen, render_modes
from sb3_course.envs.gymnasium_env import make_env
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
    """Load a model and play episodes with its deterministic policy.

    All episodes are played in one environment, and are the same whether they are recorded or not.

    :param path: Model file
    :param env_id: Gymnasium id, or None for the environment that the file names
    :param episodes: Number of episodes
    :param seed: Seed of the first episode, from which the others count up
    :param video: Video file to record, or None
    :param render: Whether to show the episodes in a window
    :param name: Name of the algorithm, for a file that does not name it
    :yield: Undiscounted raw return and length of each episode, when it ends
    :raises UserError: If the file is not a model, or names neither environment nor class and
        they are not given
    """
    try:
        header = checkpoint.read_header(path)
    except ValueError as error:
        raise UserError(str(error)) from error
    env_id = env_id or header.get("env")
    if env_id is None:
        raise UserError(f"{path} does not name its environment: add its id, as in CartPole-v1")
    check_environment(env_id)
    if render and not has_screen():
        raise UserError("--render needs a screen, and there is none; --video FILE.mp4 does not")
    if render and "human" not in (modes := render_modes(env_id)):
        declared = ", ".join(modes) or "none"
        raise UserError(f"{env_id} opens no window (human); its render modes: {declared}")
    with ExitStack() as stack:
        make: Callable[[], gymnasium.Env[Any, Any]]
        if video is not None:
            make = partial(filmed_env, env_id, stack.enter_context(film(video)))
        elif render:
            make = partial(make_env, env_id, disable_env_checker=True, render_mode="human")
        else:
            make = partial(make_env, env_id, disable_env_checker=True)
        env = DummyVecEnv([make])
        stack.callback(env.close)
        model = load_to_play(path, header, env, name)
        for i in range(episodes):
            returns, lengths = evaluate(model, env, seed + i)
            yield float(returns[0]), int(lengths[0])


def load_to_play(
    path: Path, header: dict[str, Any], env: VecEnv, name: str | None
) -> BaseAlgorithm:
    """Load a model for playing, with frozen normalization statistics.

    :param path: Model file
    :param header: Header of the file, from :func:`~sb3_course.common.checkpoint.read_header`
    :param env: Environment to play in
    :param name: Name of the algorithm, for a file that does not name it
    :return: Loaded model
    :raises UserError: If the algorithm cannot load the file, or it does not fit the environment
    """
    algorithm = _find_class(path, header, name)
    try:
        if issubclass(algorithm, CourseAlgorithm):
            return algorithm.load(path, env=env, normalize="freeze", device="cpu")
        if "vec_normalize" in header:
            env = checkpoint.wrap_normalized(env, header, "freeze")
        return algorithm.load(path, env=env, device="cpu")
    except Exception as error:
        raise UserError(f"{path} cannot be loaded: {in_words(error)}") from error


def _find_class(path: Path, header: dict[str, Any], name: str | None) -> type[BaseAlgorithm]:
    name = name or header.get("class")
    if name is None:
        raise UserError(f"{path} does not name its class: add it, as in --algo A2C")
    if name == header.get("class") and "module" in header:
        name = f"{header['module']}:{name}"
    package = import_module("sb3_course")  # its names are resolved on first use
    if name in package.IMITATION:
        algorithm: type[BaseAlgorithm] = getattr(package, name)
        return algorithm
    try:
        return find_algorithm(name)
    except UserError as error:
        raise UserError(f"{path} needs --algo: {error}") from error
