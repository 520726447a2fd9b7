"""Runs in Weights & Biases, offline if nobody is logged in."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from sb3_course.common.tracking.tracker import TrackedRun, Tracking

STEP = "global_step"
"""Number that charts have on their horizontal axis, as in SB3's and RL Zoo's runs."""
LONGEST_ID = 128


class WandbRun:
    """A run of W&B.

    :param run: What ``wandb.init`` returned
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers by name."""
        self._run.log({**values, STEP: step})

    def video(self, path: Path, step: int) -> None:
        """Add a video."""
        self._run.log({"video": wandb.Video(str(path), format="mp4"), STEP: step})

    def finish(self, complete: bool) -> None:
        """Wait until everything is uploaded or written."""
        self._run.finish(exit_code=0 if complete else 1)


def open_run(tracking: Tracking, run: TrackedRun) -> WandbRun:
    """Begin a run, or go on with it.

    ``WANDB_MODE``, ``WANDB_ENTITY``, ``WANDB_PROJECT``, ``WANDB_DIR`` and ``WANDB_TAGS`` have
    their meaning. Without a login and without ``WANDB_MODE``, the run is kept in ``wandb`` for
    ``wandb sync``; so it is if the server cannot be reached.

    :param tracking: Project and folder
    :param run: The run
    :return: Run in W&B
    """
    more = [tag for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag]
    arguments: dict[str, Any] = {
        "project": os.environ.get("WANDB_PROJECT", tracking.project),
        "dir": os.environ.get("WANDB_DIR", str(tracking.folder)),
        "id": run.id[-LONGEST_ID:],
        "name": run.name,
        "group": run.group,
        "tags": [tag[:64] for tag in dict.fromkeys([*run.tags, *more])],
        "config": dict(run.config),
        "resume": "allow" if run.continued else None,  # None: in place of an earlier one
        "settings": wandb.Settings(console="off", silent=True),
    }
    if "WANDB_MODE" in os.environ:
        return WandbRun(wandb.init(**arguments))
    if wandb.api.api_key is None:
        return WandbRun(wandb.init(mode="offline", **arguments))
    try:
        return WandbRun(wandb.init(**arguments))
    except wandb.Error:
        return WandbRun(wandb.init(mode="offline", **arguments))
