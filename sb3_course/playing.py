"""Play a saved model of any library, one episode after another."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course.building import being_made, check_environment
from sb3_course.common.errors import UserError
from sb3_course.common.evaluation import evaluate, evaluation_env
from sb3_course.common.files import check_not_read
from sb3_course.common.video import check_video, film, filmed_env, has_screen, render_modes
from sb3_course.envs.config import EnvConfig
from sb3_course.opening import described_environment, load_to_play, opened


def play(
    path: Path,
    environment: EnvConfig | str | None,
    episodes: int,
    seed: int,
    video: Path | None = None,
    render: bool = False,
    name: str | None = None,
    trust: bool = False,
) -> Iterator[tuple[float, int]]:
    """Load a model and play episodes with its deterministic policy.

    All episodes are played in one environment, and are the same whether they are recorded or not.

    :param path: Model file
    :param environment: Environment with its settings, or None for what the file says; its id alone
        stands for the same where the file names this id
    :param episodes: Number of episodes
    :param seed: Seed of the first episode, from which the others count up
    :param video: Video file to record, or None
    :param render: Whether to show the episodes in a window
    :param name: Name of the algorithm, for a file that does not name it
    :param trust: Whether to read pickles and import modules that a file of others names
    :yield: Undiscounted raw return and length of each episode, when it ends
    :raises UserError: If the file is not a model, names neither environment nor class and they
        are not given, or is not trusted with what it needs
    """
    header, trusted = opened(path, trust)
    config = (
        environment
        if isinstance(environment, EnvConfig)
        else described_environment(path, header, trusted, environment)
    )
    check_environment(config.id)
    if video is not None:
        check_video(video)
        check_not_read("--video", video, [path])
    if render and not has_screen():
        raise UserError("--render needs a screen, and there is none; --video FILE.mp4 does not")
    with being_made(config):
        modes = render_modes(config) if render else ["human"]
    if "human" not in modes:
        declared = ", ".join(modes) or "none"
        raise UserError(f"{config.name} opens no window (human); its render modes: {declared}")
    with ExitStack() as stack:
        make: Callable[[], gymnasium.Env[Any, Any]]
        if video is not None:
            make = partial(filmed_env, config, stack.enter_context(film(video)))
        elif render:
            make = partial(evaluation_env, config, render_mode="human")
        else:
            make = partial(evaluation_env, config)
        with being_made(config):
            env = config.stack(DummyVecEnv([make]))
        stack.callback(env.close)
        model = load_to_play(path, header, env, name, trusted)
        for i in range(episodes):
            returns, lengths = evaluate(model, env, seed + i)
            yield float(returns[0]), int(lengths[0])
