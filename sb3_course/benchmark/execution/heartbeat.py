"""The sign of life that a running run leaves in a file, which any process may read.

A file needs no lock that a dying process could keep. This module imports neither torch nor SB3.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".progress"
SILENT = 120.0
"""Seconds without a sign of life after which a run no longer counts as running."""


@dataclass(frozen=True)
class Heartbeat:
    """Where a running run is.

    :param steps: environment steps taken
    :param rate: environment steps a second, 0 if not known yet
    :param silent: seconds since its last sign of life
    """

    steps: float
    rate: float
    silent: float

    @property
    def alive(self) -> bool:
        """Whether the run still gives signs of life."""
        return self.silent < SILENT

    def seconds_left(self, total: int) -> float | None:
        """Estimate when the run ends.

        :param total: length of the run in environment steps
        :return: seconds from now, or None if that cannot be told
        """
        return max(total - self.steps, 0) / self.rate if self.rate > 0 else None


def logs_folder(results: Path) -> Path:
    """Return the folder for signs of life and for what runs print.

    :param results: ``results/GRID``
    """
    return results / "logs"


def heartbeat_file(folder: Path, key: str) -> Path:
    """Return the file in which a run leaves its signs of life.

    :param folder: ``results/GRID/logs``
    :param key: the run's id
    """
    return folder / f"{key}{SUFFIX}"


def beat(path: Path, steps: int, rate: float) -> None:
    """Leave a sign of life; where that cannot be written, training goes on all the same.

    :param path: the file
    :param steps: environment steps taken
    :param rate: environment steps a second
    """
    with suppress(OSError):
        temporary = path.with_name(f".{path.name}")
        temporary.write_text(json.dumps({"steps": steps, "rate": rate}))
        os.replace(temporary, path)


def heartbeats(folder: Path, now: float | None = None) -> Iterator[tuple[str, Heartbeat]]:
    """Read every sign of life: the run's id, and where it is.

    :param folder: ``results/GRID/logs``
    :param now: ``time.time()``
    """
    now = time.time() if now is None else now
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            silent = max(now - path.stat().st_mtime, 0.0)
            left = json.loads(path.read_text())
            found = Heartbeat(float(left["steps"]), float(left["rate"]), silent)
        except OSError:  # the run has just ended
            continue
        except (ValueError, KeyError, TypeError):  # no file of ours, or half of one
            found = Heartbeat(0.0, 0.0, silent)
        yield path.name.removesuffix(SUFFIX), found
