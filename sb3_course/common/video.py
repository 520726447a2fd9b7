"""Video recordings of episodes, whose frames go to the file as they are rendered."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium
import numpy as np

from sb3_course.collection.observations import Array, map_obs, stack_obs
from sb3_course.common.errors import UserError, in_words
from sb3_course.common.evaluation import evaluation_env
from sb3_course.common.files import check_can_write
from sb3_course.envs.config import EnvConfig, EnvId

DEFAULT_FPS = 30.0
"""Frames per second of an environment that does not declare any."""

SMALL_FPS = 25.0
"""Frames per second of :func:`record`: fewer than MuJoCo's tasks render, for a smaller file."""

Player: TypeAlias = Callable[[Any], Array]
"""Function from M raw observations to M actions."""


class Film:
    """Video that grows frame by frame, as made by :func:`film`.

    :param path: File that ffmpeg writes
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None
        self._shape: tuple[int, ...] = ()

    def add(self, frame: Any, fps: float) -> None:
        """Add a frame.

        :param frame: RGB image of dtype uint8 and shape (height, width, 3), as large as the first
        :param fps: Frames per second; only the first frame's count
        :raises UserError: If the frame is anything else
        """
        from imageio_ffmpeg import write_frames

        check_frame(frame)
        self._shape = self._shape or frame.shape
        if frame.shape != self._shape:
            raise UserError(
                f"the frames of a video have one size: {frame.shape[:2]} after {self._shape[:2]}"
            )
        height, width, _ = frame.shape
        if self._writer is None:
            # Video players need even sides; imageio's default multiples of 16 would blur the image.
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
        try:
            self._writer.send(np.ascontiguousarray(frame))
        except OSError as error:  # ffmpeg has printed why
            raise UserError("the video cannot be written; is the disk full?") from error

    def close(self) -> None:
        """Wait until ffmpeg has ended."""
        if self._writer is not None:
            self._writer.close()

    def check(self) -> None:
        """Check a video that is closed.

        :raises UserError: It has no frame, or the file is not whole
        """
        from imageio_ffmpeg import count_frames_and_secs

        if self._writer is None:
            raise UserError(
                "no frame was recorded; does a wrapper's reset() drop the seed, by which an "
                "episode to record is told?"
            )
        try:
            count_frames_and_secs(str(self._path))
        except Exception as error:  # ffmpeg has printed why
            raise UserError("the video cannot be written whole; is the disk full?") from error


@contextmanager
def film(path: Path) -> Iterator[Film]:
    """Record a video, which appears at its path when it is complete, and not if anything fails.

    :param path: File to write, ending in ``.mp4``
    :yield: Video to add frames to
    :raises UserError: If the path ends differently or imageio-ffmpeg is not installed
    """
    check_video(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    video = Film(temporary)
    try:
        try:
            yield video
        finally:
            video.close()
        video.check()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_frame(frame: Any) -> None:
    """Check that a rendered frame is an RGB image.

    :param frame: What ``render()`` returned
    :raises UserError: If it is anything else
    """
    if not isinstance(frame, np.ndarray):
        raise UserError(f"render() returns a {type(frame).__name__} instead of an RGB image")
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise UserError(
            f"render() returns an array of type {frame.dtype} and shape {frame.shape}; allowed: "
            "an RGB image, of type uint8 and shape (height, width, 3)"
        )


def check_video(path: Path) -> None:
    """Check that a video can be written, and create missing folders.

    :param path: File to write
    :raises UserError: If the path does not end in ``.mp4``, cannot be written, or imageio-ffmpeg is
        not installed
    """
    if path.suffix.lower() != ".mp4":
        raise UserError(f"--video: given {str(path)!r}; allowed: a file that ends in .mp4")
    check_can_write("--video", path)
    try:
        import_module("imageio_ffmpeg")
    except ImportError as error:
        raise UserError("--video needs imageio-ffmpeg: pip install 'sb3-course[video]'") from error


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


def drawn_env(
    env: EnvConfig | EnvId,
    inside: Callable[[gymnasium.Env[Any, Any]], gymnasium.Env[Any, Any]] | None = None,
) -> gymnasium.Env[Any, Any]:
    """Make an environment whose ``render()`` returns images; MuJoCo's camera follows the body.

    :param env: Environment, with its settings
    :param inside: Further wrapper, below all others
    :return: Environment, already reset
    :raises UserError: If the environment renders no images here
    """
    check_renders(env)
    try:
        made = evaluation_env(env, inside, render_mode="rgb_array")
        follow(made)
        made.reset()
        check_frame(made.render())
    except Exception as error:
        name = EnvConfig.of(env).name
        raise UserError(f"{name} cannot be rendered here: {in_words(error)}") from error
    return made


def check_renders(env: EnvConfig | EnvId) -> None:
    """Check that an environment declares that it renders images, without rendering one.

    :param env: Environment, with its settings
    :raises UserError: If it does not, or cannot be made
    """
    use_no_screen()  # before MuJoCo is first imported, when it reads the choice
    name = EnvConfig.of(env).name
    try:
        modes = render_modes(env)
    except Exception as error:
        raise UserError(f"{name} cannot be rendered here: {in_words(error)}") from error
    if "rgb_array" not in modes:
        declared = ", ".join(modes) or "none"
        raise UserError(f"{name} renders no images (rgb_array); its render modes: {declared}")


def render_modes(env: EnvConfig | EnvId) -> list[str]:
    """Return the render modes that an environment declares.

    :param env: Environment, with its settings
    :return: Names of the modes
    """
    made = evaluation_env(env)
    made.close()
    return list(made.metadata.get("render_modes") or [])


def frames_per_second(env: gymnasium.Env[Any, Any]) -> float:
    """Return an environment's frames per second.

    :param env: Environment
    :return: Declared frames per second, or :data:`DEFAULT_FPS`
    """
    return float(env.metadata.get("render_fps") or DEFAULT_FPS)


def follow(env: gymnasium.Env[Any, Any]) -> None:
    """Make MuJoCo's camera follow the body, which Gymnasium 1.4 does not do.

    :param env: Any environment; only a MuJoCo task whose model has a camera ``track`` is changed
    """
    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    if renderer is not None and renderer.camera_id == -1:
        import mujoco

        camera = mujoco.mjtObj.mjOBJ_CAMERA
        renderer.camera_id = mujoco.mj_name2id(renderer.model, camera, "track")


def use_no_screen() -> None:
    """Make MuJoCo and pygame render without a screen if there is none, unless the user chose how.

    pygame would print that ``XDG_RUNTIME_DIR`` is not set, too.
    """
    if not has_screen():
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def has_screen() -> bool:
    """Return whether windows can be opened."""
    if sys.platform != "linux":
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


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
        columns = [
            [_titled(frame, name, size) for frame in _play(player, drawn, seed, seconds)]
            for name, player in players.items()
        ]
        drawn.close()
        longest = max(len(frames) for frames in columns)
        padded = [frames + [frames[-1]] * (longest - len(frames)) for frames in columns]
        for row in zip(*padded, strict=True):
            video.add(np.concatenate(row, axis=1), SMALL_FPS)


def _play(act: Player, env: gymnasium.Env[Any, Any], seed: int, seconds: float) -> list[Array]:
    every = max(1, round(frames_per_second(env) / SMALL_FPS))
    space: Any = env.action_space
    obs, _ = env.reset(seed=seed)
    frames: list[Array] = []
    for step in range(round(seconds * SMALL_FPS) * every):
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
