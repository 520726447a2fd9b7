"""Runs in Trackio: in its own folder, or on the Space of ``TRACKIO_SPACE_ID``."""

import contextlib
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trackio

from sb3_course.common.tracking.tracker import TrackedRun, Tracking


class TrackioRun:
    """A run of Trackio.

    :param run: What ``trackio.init`` returned
    """

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers by name."""
        self._run.log(dict(values), step=step)

    def video(self, path: Path, step: int) -> None:
        """Add a video."""
        self._run.log({"video": trackio.Video(str(path), format="mp4")}, step=step)

    def finish(self, complete: bool) -> None:
        """Wait until everything is written."""
        with _quiet():
            self._run.finish()
        trackio.context_vars.current_run.set(None)  # or it would be finished again at exit


def open_run(tracking: Tracking, run: TrackedRun) -> TrackioRun:
    """Begin a run, or add to the one of this name.

    :param tracking: Project; the folder is Trackio's, ``TRACKIO_DIR``
    :param run: The run
    :return: Run in Trackio
    """
    known = inspect.signature(trackio.init).parameters
    quiet = {key: False for key in ("auto_log_gpu", "auto_log_cpu") if key in known}
    config = {"name": run.name, "tags": list(run.tags), **run.config}
    with _quiet():
        return TrackioRun(
            trackio.init(
                tracking.project,
                name=run.id,
                group=run.group,
                config=config,
                resume="allow",
                embed=False,
                **quiet,
            )
        )


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep Trackio's greetings from the output of a run."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
