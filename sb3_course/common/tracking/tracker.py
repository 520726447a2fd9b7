"""What is tracked of a run, and what every tracker can do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from sb3_course.common.errors import UserError, unknown

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
"""Names of the trackers, each of which is an extra and a module of this package."""


@dataclass(frozen=True)
class Tracking:
    """Which trackers runs are sent to, and where those keep their files.

    :param trackers: Names of trackers
    :param project: Project, or experiment, that the runs belong to
    :param folder: Folder in which trackers keep their files, each in its own subfolder
    :param video: Whether a video of the trained policy is added at the end
    """

    trackers: tuple[str, ...]
    project: str
    folder: Path
    video: bool = False


@dataclass(frozen=True)
class TrackedRun:
    """One run, as trackers show it.

    :param id: Name of the run that no other one of the project has
    :param name: Name for readers
    :param group: Name of all runs that differ by the seed alone
    :param config: Settings, commit and versions, as plain data
    :param tags: Words to filter by
    :param continued: Whether a part of the run was tracked before, to which this one is added
    """

    id: str
    name: str
    group: str
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()
    continued: bool = False


class Tracker(Protocol):
    """A run in a tracker; made with a :class:`Tracking` and a :class:`TrackedRun`."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers by name.

        :param values: Numbers, named as in SB3's logger
        :param step: Environment steps so far
        """

    def video(self, path: Path, step: int) -> None:
        """Add a video.

        :param path: File, which is kept until the run ends
        :param step: Environment steps so far
        """

    def finish(self, complete: bool) -> None:
        """End the run.

        :param complete: Whether it came to its end, not to an exception or an interrupt
        """


def check_trackers(names: Sequence[str]) -> None:
    """Check that trackers are known and installed, without importing them.

    :param names: Names of trackers
    :raises UserError: If one is not; says which extra to install
    """
    for name in names:
        if name not in TRACKERS:
            raise UserError(unknown("tracker", name, TRACKERS))
        spec = find_spec(name)
        if spec is None or spec.origin is None:  # a folder of W&B's runs is no package
            raise UserError(f"--track {name} needs {name}: pip install 'sb3-course[{name}]'")


def open_tracker(name: str, tracking: Tracking, run: TrackedRun) -> Tracker:
    """Begin a run in a tracker, which is imported now.

    :param name: Name of the tracker
    :param tracking: Project and folder
    :param run: The run
    :return: The run in the tracker
    """
    module = import_module(f"sb3_course.common.tracking.{name}")
    tracker: Tracker = module.open_run(tracking, run)
    return tracker


def flat(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested settings with the names of their places, ``params.target_kl``.

    :param config: Settings
    :param above: Name of the place of the settings themselves, with a point at the end
    :return: Values by name
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found
