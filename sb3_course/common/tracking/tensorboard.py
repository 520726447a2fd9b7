"""Runs in TensorBoard: ``runs/PROJECT/RUN`` in the working directory."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from sb3_course.common.tracking.tracker import TrackedRun, Tracking


class TensorBoardRun:
    """A folder of event files.

    :param folder: Folder of the run
    :param run: The run
    """

    def __init__(self, folder: Path, run: TrackedRun) -> None:
        if folder.exists() and not run.continued:
            shutil.rmtree(folder)
        self._folder = folder
        self._writer = SummaryWriter(str(folder))
        if not run.continued:
            facts = {"name": run.name, "tags": list(run.tags), **run.config}
            text = json.dumps(facts, indent=1, default=str)
            self._writer.add_text("config", f"```json\n{text}\n```")
            (folder / "config.json").write_text(text)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers by name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def video(self, path: Path, step: int) -> None:
        """Keep a video beside the event files, since TensorBoard shows none."""
        shutil.copyfile(path, self._folder / f"{step}.mp4")

    def finish(self, complete: bool) -> None:
        """Close the event file."""
        self._writer.close()


def open_run(tracking: Tracking, run: TrackedRun) -> TensorBoardRun:
    """Begin a run, or go on with it.

    :param tracking: Project and folder
    :param run: The run
    :return: Run in TensorBoard
    """
    return TensorBoardRun(tracking.folder / "runs" / tracking.project / run.id, run)
