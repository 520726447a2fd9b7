"""The file: a video that grows frame by frame, and is there when it is complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from sb3_course.common.errors import UserError
from sb3_course.common.files import check_can_write


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
        height, width = (side + side % 2 for side in frame.shape[:2])  # players need even sides
        if self._writer is None:
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
            rows, columns, _ = self._shape
            margins = (0, height - rows), (0, width - columns), (0, 0)
            self._writer.send(np.ascontiguousarray(np.pad(frame, margins, mode="edge")))
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
        not installed or finds no ffmpeg
    """
    if path.suffix.lower() != ".mp4":
        raise UserError(f"--video: given {str(path)!r}; allowed: a file that ends in .mp4")
    check_can_write("--video", path)
    try:
        import_module("imageio_ffmpeg").get_ffmpeg_exe()
    except ImportError as error:
        raise UserError("--video needs imageio-ffmpeg: pip install 'sb3-course[video]'") from error
    except RuntimeError as error:
        raise UserError(f"--video needs ffmpeg: {error}") from error
