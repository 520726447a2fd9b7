"""Film episodes: frames go to a video file as they are drawn."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium
import numpy as np

from sb3_course.collection.observations import Array
from sb3_course.common.errors import UserError, in_words
from sb3_course.common.evaluation import make_env

DEFAULT_FPS = 30.0
SMALL_FPS = 25.0
"""Frames a second of :func:`record`: fewer than MuJoCo's tasks draw, for a smaller file."""

Player: TypeAlias = Callable[[Any], Array]
"""From M raw observations to M actions."""


class Film:
    """A video that grows frame by frame; made by :func:`film`.

    :param path: where ffmpeg writes
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def add(self, frame: Any, fps: float) -> None:
        """Add a frame.

        :param frame: RGB, bytes of shape (height, width, 3), as large as the first one
        :param fps: frames a second, as of the first one
        """
        from imageio_ffmpeg import write_frames

        height, width, _ = frame.shape
        if self._writer is None:
            # Players want even sides; imageio's usual multiples of 16 would blur the picture.
            self._writer = write_frames(
                str(self._path),
                (width, height),
                fps=fps,
                codec="libx264",
                quality=5,  # of 10: like x264's own default
                macro_block_size=2,
                ffmpeg_log_level="error",
            )
            self._writer.send(None)
        self._writer.send(np.ascontiguousarray(frame))

    def close(self) -> None:
        """Wait until the video is complete."""
        if self._writer is not None:
            self._writer.close()


@contextmanager
def film(path: Path) -> Iterator[Film]:
    """Make a video that is in its place once it is complete, and not if anything fails.

    :param path: where to, ending in ``.mp4``
    :raises UserError: for another ending, a folder that is none, or without imageio-ffmpeg
    """
    check_video(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    video = Film(temporary)
    try:
        try:
            yield video
        finally:
            video.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_video(path: Path) -> None:
    """Check that a video can be written.

    :param path: where to
    :raises UserError: if not
    """
    if path.suffix.lower() != ".mp4":
        raise UserError(f"--video: given {str(path)!r}; allowed: a file that ends in .mp4")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        import_module("imageio_ffmpeg")
    except ImportError as error:
        raise UserError("--video needs imageio-ffmpeg: pip install 'sb3-course[video]'") from error


class Filmed(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds to a film every frame of the episodes that begin with a seed, the last one included.

    A vector environment seeds the episodes that it is asked for, and none of those that it begins
    by itself once one has ended. One environment has to play all the episodes of a film: MuJoCo's
    renderers get in each other's way, and draw black.

    :param env: an environment with ``render_mode="rgb_array"``
    :param video: the film
    """

    def __init__(self, env: gymnasium.Env[Any, Any], video: Film) -> None:
        super().__init__(env)
        self._film = video
        self._on = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset, and film the first state."""
        start = super().reset(seed=seed, options=options)
        self._on = seed is not None
        self._shoot()
        return start

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and film where it led."""
        outcome: tuple[Any, Any, bool, bool, dict[str, Any]] = super().step(action)
        self._shoot()
        return outcome

    def _shoot(self) -> None:
        if self._on:
            frame = self.env.render()
            self._film.add(frame, frames_per_second(self.env))


def filmed_env(env_id: str, video: Film) -> Filmed:
    """Make an environment whose seeded episodes are filmed.

    :param env_id: Gymnasium name
    :param video: the film
    :raises UserError: as :func:`drawn_env`
    """
    return Filmed(drawn_env(env_id), video)


def drawn_env(env_id: str) -> gymnasium.Env[Any, Any]:
    """Make an environment whose ``render()`` returns a picture; MuJoCo's camera follows what runs.

    :param env_id: Gymnasium name
    :raises UserError: if the environment draws no pictures here
    """
    use_no_screen()
    try:
        env = make_env(env_id, render_mode="rgb_array")
        follow(env)
        env.reset()
        frame = env.render()
    except Exception as error:
        raise UserError(f"{env_id} cannot be drawn here: {in_words(error)}") from error
    if not (isinstance(frame, np.ndarray) and frame.ndim == 3):
        modes = ", ".join(env.metadata.get("render_modes", [])) or "none"
        raise UserError(f"{env_id} draws no pictures (rgb_array); its render modes: {modes}")
    return env


def frames_per_second(env: gymnasium.Env[Any, Any]) -> float:
    """Return how many of an environment's pictures show a second.

    :param env: the environment
    """
    return float(env.metadata.get("render_fps", DEFAULT_FPS))


def follow(env: gymnasium.Env[Any, Any]) -> None:
    """Let MuJoCo's camera follow what runs: Gymnasium 1.4 leaves it where the run began.

    :param env: any environment; only a MuJoCo task whose model has a camera ``track`` changes
    """
    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    if renderer is not None and renderer.camera_id == -1:
        import mujoco

        camera = mujoco.mjtObj.mjOBJ_CAMERA
        renderer.camera_id = mujoco.mj_name2id(renderer.model, camera, "track")


def use_no_screen() -> None:
    """Let MuJoCo draw off the screen where there is none, unless the user has chosen how."""
    if not has_screen():
        os.environ.setdefault("MUJOCO_GL", "egl")


def has_screen() -> bool:
    """Say whether windows can be opened."""
    elsewhere = sys.platform != "linux"
    return elsewhere or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def record(
    players: Mapping[str, Player],
    env_id: str,
    path: Path,
    seed: int = 0,
    seconds: float = 8.0,
    size: int = 240,
) -> None:
    """Record an episode of each player and put them side by side, each under its name.

    A player whose episode has ended stays as it ended.

    :param players: By name, a function from M observations to M actions
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
            [_titled(frame, name, size) for frame in _play(player, env, seed, seconds)]
            for name, player in players.items()
        ]
        env.close()
        longest = max(len(frames) for frames in columns)
        still = [frames + [frames[-1]] * (longest - len(frames)) for frames in columns]
        for row in zip(*still, strict=True):
            video.add(np.concatenate(row, axis=1), SMALL_FPS)


def _play(act: Player, env: gymnasium.Env[Any, Any], seed: int, seconds: float) -> list[Array]:
    every = max(1, round(frames_per_second(env) / SMALL_FPS))
    space: Any = env.action_space
    obs, _ = env.reset(seed=seed)
    frames: list[Array] = []
    for step in range(round(seconds * SMALL_FPS) * every):
        if step % every == 0:
            frames.append(_picture(env))
        action = act(obs[None])[0]
        if isinstance(space, gymnasium.spaces.Box):
            action = np.clip(action, space.low, space.high)
        obs, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    return [*frames, _picture(env)]


def _picture(env: gymnasium.Env[Any, Any]) -> Array:
    return np.asarray(env.render())


def _titled(frame: Array, title: str, size: int) -> Array:
    from PIL import Image, ImageDraw

    picture = Image.fromarray(frame).resize((size, size))
    ImageDraw.Draw(picture).text((6, 4), title, fill="white", stroke_width=2, stroke_fill="black")
    return np.asarray(picture)
