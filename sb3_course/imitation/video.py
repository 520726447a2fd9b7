"""Policies at work, side by side, as a small file."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from sb3_course.benchmark.errors import UserError
from sb3_course.common.rollouts import Array
from sb3_course.imitation.experts import Expert, as_expert

FRAMES_PER_SECOND = 25
ENDINGS = (".mp4", ".gif")


def record(
    players: Mapping[str, Any],
    env_id: str,
    path: Path,
    seed: int = 0,
    seconds: float = 8.0,
    size: int = 240,
) -> None:
    """Record an episode of each player and put them side by side, each under its name.

    A player whose episode has ended stays as it ended.

    :param players: By name, what :func:`~sb3_course.imitation.as_expert` takes
    :param env_id: Gymnasium name of an environment that can render
    :param path: Where to; the ending, ``.mp4`` or ``.gif``, is the format
    :param seed: Of the episode, the same for all
    :param seconds: Most to show, in the environment's time
    :param size: Pixels of each player's picture, across and down
    :raises UserError: Another ending
    """
    check_ending(path)
    import imageio.v3 as imageio

    columns = [
        [_titled(frame, name, size) for frame in _play(as_expert(player), env_id, seed, seconds)]
        for name, player in players.items()
    ]
    n = max(len(frames) for frames in columns)
    still = [frames + [frames[-1]] * (n - len(frames)) for frames in columns]
    pictures = [np.concatenate(row, axis=1) for row in zip(*still, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mp4":
        settings: dict[str, Any] = {"codec": "libx264", "output_params": ["-crf", "30"]}
        imageio.imwrite(path, pictures, fps=FRAMES_PER_SECOND, macro_block_size=16, **settings)
    else:
        imageio.imwrite(path, pictures, duration=1000 // FRAMES_PER_SECOND, loop=0)


def check_ending(path: Path) -> None:
    """Refuse a file name whose ending is no format.

    :param path: Of the video
    :raises UserError: It ends neither in .mp4 nor in .gif
    """
    if path.suffix not in ENDINGS:
        raise UserError(f"{path}: a video's name ends in {' or '.join(ENDINGS)}")


def _play(act: Expert, env_id: str, seed: int, seconds: float) -> list[Array]:
    # MuJoCo's walkers leave a camera that stands still.
    camera: dict[str, Any] = (
        {"camera_name": "track"} if "mujoco" in str(gym.spec(env_id).entry_point) else {}
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*out of date.*")
        env = gym.make(env_id, render_mode="rgb_array", disable_env_checker=True, **camera)
    every = max(1, round(env.metadata.get("render_fps", 30) / FRAMES_PER_SECOND))
    space: Any = env.action_space
    obs, _ = env.reset(seed=seed)
    frames: list[Array] = []
    for step in range(round(seconds * FRAMES_PER_SECOND) * every):
        if step % every == 0:
            frames.append(np.asarray(env.render()))
        action = act(obs[None])[0]
        if isinstance(space, gym.spaces.Box):
            action = np.clip(action, space.low, space.high)
        obs, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    frames.append(np.asarray(env.render()))
    env.close()
    return frames


def _titled(frame: Array, title: str, size: int) -> Array:
    from PIL import Image, ImageDraw

    picture = Image.fromarray(frame).resize((size, size))
    ImageDraw.Draw(picture).text((6, 4), title, fill="white", stroke_width=2, stroke_fill="black")
    return np.asarray(picture)
