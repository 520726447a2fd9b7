"""Policies at work, side by side, as a small film."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from sb3_course.benchmark.video import drawn_env, film, frames_per_second
from sb3_course.common.rollouts import Array
from sb3_course.imitation.experts import Expert, as_expert

FRAMES_PER_SECOND = 25.0
"""Fewer than MuJoCo's tasks draw, for a smaller file."""


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
    :param path: Where to, ending in ``.mp4``
    :param seed: Of the episode, the same for all
    :param seconds: Most to show, in the environment's time
    :param size: Pixels of each player's picture, across and down
    :raises UserError: Another ending, an environment that draws nothing, or no imageio-ffmpeg
    """
    with film(path) as video:
        env = drawn_env(env_id)
        columns = [
            [_titled(frame, name, size) for frame in _play(as_expert(player), env, seed, seconds)]
            for name, player in players.items()
        ]
        env.close()
        longest = max(len(frames) for frames in columns)
        still = [frames + [frames[-1]] * (longest - len(frames)) for frames in columns]
        for row in zip(*still, strict=True):
            video.add(np.concatenate(row, axis=1), FRAMES_PER_SECOND)


def _play(act: Expert, env: gym.Env[Any, Any], seed: int, seconds: float) -> list[Array]:
    every = max(1, round(frames_per_second(env) / FRAMES_PER_SECOND))
    space: Any = env.action_space
    obs, _ = env.reset(seed=seed)
    frames: list[Array] = []
    for step in range(round(seconds * FRAMES_PER_SECOND) * every):
        if step % every == 0:
            frames.append(_picture(env))
        action = act(obs[None])[0]
        if isinstance(space, gym.spaces.Box):
            action = np.clip(action, space.low, space.high)
        obs, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    return [*frames, _picture(env)]


def _picture(env: gym.Env[Any, Any]) -> Array:
    return np.asarray(env.render())


def _titled(frame: Array, title: str, size: int) -> Array:
    from PIL import Image, ImageDraw

    picture = Image.fromarray(frame).resize((size, size))
    ImageDraw.Draw(picture).text((6, 4), title, fill="white", stroke_width=2, stroke_fill="black")
    return np.asarray(picture)
