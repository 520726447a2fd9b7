"""The callback that passes a training's log on to trackers."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

from sb3_course.common.errors import in_words
from sb3_course.common.evaluation import undisturbed
from sb3_course.common.tracking.tracker import TrackedRun, Tracker, Tracking, open_tracker

Film = Callable[[BaseAlgorithm, Path], None]
"""Function that plays an episode of a model's policy and writes a video of it."""


LEFT_OUT = "the run goes on without it"
"""Ends the line about a tracker that failed."""


class Track(BaseCallback):
    """Callback that sends trackers all that TensorBoard would get, and the evaluations of a grid.

    The training is the same with and without it. A tracker that fails is reported once, and the
    training goes on without it.

    :param tracking: Trackers, project and folder
    :param run: The run as they show it
    :param tell: Function that gets a line about what went wrong
    :param film: Function that records a video of the trained policy
    """

    def __init__(
        self,
        tracking: Tracking,
        run: TrackedRun,
        tell: Callable[[str], None],
        film: Film,
    ) -> None:
        super().__init__()
        self._tracking, self._run, self._tell, self._film = tracking, run, tell, film
        self._open: dict[str, Tracker] = {}
        self._writer = _Writer(self.send)
        self._own_logger: Logger | None = None

    def _init_callback(self) -> None:
        with undisturbed(self.model):
            for name in self._tracking.trackers:
                self._try(name, partial(self._begin, name))
        self._own_logger = self.model.logger
        self._own_logger.output_formats.append(self._writer)

    def _begin(self, name: str) -> None:
        self._open[name] = open_tracker(name, self._tracking, self._run)

    def _on_step(self) -> bool:
        return True

    def send(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers to all trackers.

        :param values: Numbers by name
        :param step: Environment steps so far
        """
        for name, tracker in list(self._open.items()):
            self._try(name, partial(tracker.log, values, step))

    def close(self, complete: bool) -> None:
        """Send what is left, and end the run in all trackers.

        :param complete: Whether the training came to its end
        """
        if self._own_logger is None:  # it has never begun
            return
        logger, self._own_logger = self._own_logger, None
        logger.output_formats.remove(self._writer)
        step = self.model.num_timesteps
        self._writer.write(dict(logger.name_to_value), dict(logger.name_to_excluded), step)
        with tempfile.TemporaryDirectory() as folder, undisturbed(self.model):
            video = Path(folder) / "video.mp4"
            if self._tracking.video and complete and self._open:
                self._try("video", partial(self._film, self.model, video))
            for name, tracker in list(self._open.items()):
                if video.exists():
                    self._try(name, partial(tracker.video, video, step))
                if name in self._open:
                    self._try(name, partial(tracker.finish, complete))
        self._open = {}

    def _try(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except (Exception, SystemExit) as error:
            self._open.pop(name, None)
            self._tell(f"{name}: {in_words(error)}; {LEFT_OUT}")


class _Writer(KVWriter):
    """Format of SB3's logger that hands numbers on.

    :param send: Function that gets them by name, and the environment steps
    """

    def __init__(self, send: Callable[[Mapping[str, float], int], None]) -> None:
        self._send = send

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Hand on the numbers that TensorBoard would get."""
        values = {
            key: float(np.asarray(value).item())
            for key, value in key_values.items()
            if isinstance(value, int | float | np.number | np.ndarray)
            and np.size(value) == 1
            and np.asarray(value).dtype.kind in "biuf"
            and "tensorboard" not in (key_excluded.get(key) or ())
        }
        if values:
            self._send(values, step)


@contextmanager
def tracked(track: Track | None) -> Iterator[Sequence[BaseCallback]]:
    """Train within the context; whatever ends it, the trackers get all until then.

    :param track: Callback; None for no trackers
    :yield: Callbacks for ``learn``, to be the last ones
    """
    if track is None:
        yield ()
        return
    complete = False
    try:
        yield (track,)
        complete = True
    finally:
        track.close(complete)
