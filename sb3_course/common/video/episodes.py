"""Episodes in a video: those that are played with a seed, or one of each player side by side."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium
import numpy as np

from sb3_course.collection.observations import Array, map_obs, stack_obs
from sb3_course.common.errors import UserError, in_words
from sb3_course.common.video.file import Film, film
from sb3_course.common.video.rendering import drawn_env, frames_per_second
from sb3_course.envs.config import EnvConfig, EnvId

SMALL_FPS = 25.0
"""About the most frames per second that :func:`record` writes, for a smaller file."""

Player: TypeAlias = Callable[[Any], Array]
"""Function from M raw observations to M actions."""


class Filmed(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Wrapper that adds every frame of the episodes that were reset with a seed to a video.

    A vector environment passes a seed to the episodes that it is asked to start, but not to those
    that it starts by itself after one has ended. One environment must play all episodes of a
    video, as a second MuJoCo renderer would render black images.

    :param env: Environment with ``render_mode="rgb_array"``
    :param video: Video to add to
    """

    def __init__(self, env: gymnasium.Env[Any, Any], video: Film) -> None:
        super().__init__(env)
        self._film = video
        self._recording = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment, and record the first frame if there is a seed."""
        start = super().reset(seed=seed, options=options)
        self._recording = seed is not None
        self._add_frame()
        return start

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment, and record the frame that follows."""
        outcome: tuple[Any, Any, bool, bool, dict[str, Any]] = super().step(action)
        self._add_frame()
        return outcome

    def _add_frame(self) -> None:
        if self._recording:
            try:
                frame = self.env.render()
            except Exception as error:
                raise UserError(f"render() failed in the middle: {in_words(error)}") from error
            self._film.add(frame, frames_per_second(self.env))


def filmed_env(env: EnvConfig | EnvId, video: Film) -> gymnasium.Env[Any, Any]:
    """Make an environment whose own seeded episodes are recorded, below its wrappers.

    :param env: Environment, with its settings
    :param video: Video to add to
    :return: Environment
    :raises UserError: If the environment renders no images here
    """
    return drawn_env(env, lambda made: Filmed(made, video))


def record(
    players: Mapping[str, Player],
    env: EnvConfig | EnvId,
    path: Path,
    seed: int = 0,
    seconds: float = 8.0,
    size: int = 240,
) -> None:
    """Record one episode of each player, side by side and titled with the players' names.

    A player whose episode has ended is shown in its last frame.

    :param players: Functions from M observations to M actions, by name
    :param env: Environment that renders images, with its settings, without stacked frames
    :param path: File to write, ending in ``.mp4``
    :param seed: Seed of the episode, the same for all players
    :param seconds: Maximum length of the video, in the environment's time
    :param size: Width and height of each player's image, in pixels
    :raises UserError: If the path does not end in ``.mp4``, the environment renders no images, or
        imageio-ffmpeg is not installed
    """
    with film(path) as video:
        drawn = drawn_env(env)
        fps = frames_per_second(drawn)
        every = max(1, round(fps / SMALL_FPS))
        n_steps = round(seconds * fps)
        columns = [
            [_titled(frame, name, size) for frame in _play(player, drawn, seed, n_steps, every)]
            for name, player in players.items()
        ]
        drawn.close()
        longest = max(len(frames) for frames in columns)
        padded = [frames + [frames[-1]] * (longest - len(frames)) for frames in columns]
        for row in zip(*padded, strict=True):
            video.add(np.concatenate(row, axis=1), fps / every)


def _play(
    act: Player, env: gymnasium.Env[Any, Any], seed: int, n_steps: int, every: int
) -> list[Array]:
    """Play an episode, or its beginning, and return an image of every so many steps."""
    space: Any = env.action_space
    obs, _ = env.reset(seed=seed)
    frames: list[Array] = []
    for step in range(n_steps):
        if step % every == 0:
            frames.append(_image(env))
        action = act(stack_obs([map_obs(np.asarray, obs)]))[0]
        if isinstance(space, gymnasium.spaces.Box):
            action = np.clip(np.reshape(action, space.shape), space.low, space.high)
        obs, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    return [*frames, _image(env)]


def _image(env: gymnasium.Env[Any, Any]) -> Array:
    return np.asarray(env.render())


def _titled(frame: Array, title: str, size: int) -> Array:
    from PIL import Image, ImageDraw

    image = Image.fromarray(frame).resize((size, size))
    ImageDraw.Draw(image).text((6, 4), title, fill="white", stroke_width=2, stroke_fill="black")
    return np.asarray(image)
