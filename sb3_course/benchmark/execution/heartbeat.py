"""Heartbeat of a run: a small file with its progress, which any process may read.

Files need no lock that a dying process could keep. This module imports neither torch nor SB3.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sb3_course.common.files import TEMPORARY, read_regular

SUFFIX = ".progress"
LARGEST = 4096
"""Bytes of the largest heartbeat that is read."""
SILENT = 120.0
"""Seconds without a heartbeat after which a run no longer counts as running."""


@dataclass(frozen=True)
class Heartbeat:
    """Progress of a run.

    :param steps: Environment steps taken
    :param rate: Environment steps per second; 0 if not yet known
    :param silent: Seconds since the last heartbeat
    """

    steps: float
    rate: float
    silent: float

    @property
    def alive(self) -> bool:
        """Whether the last heartbeat is recent enough for the run to count as running."""
        return self.silent < SILENT

    def seconds_left(self, total: int) -> float | None:
        """Estimate the time until the run ends.

        :param total: Length of the run in environment steps
        :return: Time in seconds; None if the rate is not yet known
        """
        return max(total - self.steps, 0) / self.rate if self.rate > 0 else None


def logs_folder(results: Path) -> Path:
    """Return the folder for heartbeats and for the output of runs.

    :param results: Folder of a grid's results, ``results/GRID``
    :return: Path of the folder
    """
    return results / "logs"


def heartbeat_file(folder: Path, key: str) -> Path:
    """Return the heartbeat file of a run.

    :param folder: Folder of heartbeats, ``results/GRID/logs``
    :param key: Id of the run
    :return: Path of the file
    """
    return folder / f"{key}{SUFFIX}"


def log_file(folder: Path, key: str) -> Path:
    """Return the file with the output of a run.

    :param folder: Folder of heartbeats, ``results/GRID/logs``
    :param key: Id of the run
    :return: Path of the file
    """
    return folder / f"{key}.log"


def checkpoint_file(folder: Path, key: str) -> Path:
    """Return the file from which a killed run goes on.

    :param folder: Folder of heartbeats, ``results/GRID/logs``
    :param key: Id of the run
    :return: Path of the file
    """
    return folder / f"{key}.zip"


def remove_checkpoint(folder: Path, key: str) -> None:
    """Remove the checkpoint of a run that has ended, and what saves have left that were killed.

    :param folder: Folder of heartbeats, ``results/GRID/logs``
    :param key: Id of the run
    """
    file = checkpoint_file(folder, key)
    for each in (file, *folder.glob(f".{file.name}.*{TEMPORARY}")):
        each.unlink(missing_ok=True)


def beat(path: Path, steps: int, rate: float) -> None:
    """Write a heartbeat; training continues if that fails.

    :param path: Heartbeat file of the run
    :param steps: Environment steps taken
    :param rate: Environment steps per second
    """
    with suppress(OSError):
        temporary = _temporary(path)
        temporary.write_text(json.dumps({"steps": steps, "rate": rate}))
        os.replace(temporary, path)


def remove(path: Path) -> None:
    """Remove the heartbeat of a run that has ended, and what it has left if it was killed.

    :param path: Heartbeat file of the run
    """
    for each in (path, _temporary(path)):
        each.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}")


def heartbeats(folder: Path, now: float | None = None) -> Iterator[tuple[str, Heartbeat]]:
    """Read all heartbeats in a folder.

    :param folder: Folder of heartbeats, ``results/GRID/logs``
    :param now: Current time as of ``time.time()``; None to read the clock
    :yield: Id and progress of each run, in the order of ids
    """
    now = time.time() if now is None else now
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            silent = max(now - path.stat().st_mtime, 0.0)
            content = json.loads(read_regular(path, LARGEST))
            found = Heartbeat(_count(content["steps"]), _count(content["rate"]), silent)
        except OSError:  # the run has just ended, or it is no file of this module
            continue
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):  # not complete
            found = Heartbeat(0.0, 0.0, silent)
        yield path.name.removesuffix(SUFFIX), found


def _count(value: Any) -> float:
    number = float(value)
    if not 0 <= number < 2**63:
        raise ValueError("not a count")
    return number
