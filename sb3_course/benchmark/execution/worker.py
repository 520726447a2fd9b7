"""The process that runs execute in: its limits, what it prints, what is left when it dies."""

import faulthandler
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.execution.heartbeat import heartbeat_file
from sb3_course.benchmark.execution.train_run import attempt, portable
from sb3_course.benchmark.storage.result import RunResult

GIB = 2**30


@dataclass(frozen=True)
class Conditions:
    """Under what a process runs.

    :param folder: for progress and what runs print; where this machine lacks it, neither is kept
    :param hours: after which a run is stopped
    :param gib: memory that a run may take in GiB, None for no limit
    :param tensorboard: folder for TensorBoard's files
    """

    folder: Path
    hours: float
    gib: float | None = None
    tensorboard: Path | None = None

    def log_file(self, spec: RunSpec) -> Path:
        """Return the file that holds what a run printed.

        :param spec: the run
        """
        return self.folder / f"{spec.id}.log"


def work(spec: RunSpec, conditions: Conditions) -> RunResult:
    """Run within limits; a run past its time ends its process, having written where it was.

    :param spec: the run
    :param conditions: its limits and files
    """
    _limit_memory(conditions.gib)
    log = conditions.log_file(spec)
    here = conditions.folder.is_dir()
    with _printing_to(log if here else Path(os.devnull)):
        faulthandler.enable()
        faulthandler.dump_traceback_later(conditions.hours * 3600, exit=True)
        try:
            progress = heartbeat_file(conditions.folder, spec.id) if here else None
            result = attempt(spec, progress, conditions.tensorboard)
        finally:
            faulthandler.cancel_dump_traceback_later()
    if here and result.failure is None:
        log.unlink(missing_ok=True)
    return result


def reason_of_death(spec: RunSpec, conditions: Conditions, seconds: float, what: str) -> str:
    """Say why a process died with a run: what it printed last, then the reason in a line.

    :param spec: the run
    :param conditions: what it ran under
    :param seconds: how long it had run
    :param what: what is known of the end, such as the exit code
    """
    if seconds >= conditions.hours * 3600:
        what = f"stopped at the time limit of {conditions.hours:g} hours (time_limit)"
    log = conditions.log_file(spec)
    said = log.read_text(errors="replace").strip() if log.is_file() else ""
    return f"{portable(said)}\n{what}".strip()


def outlived_by_parent() -> None:
    """End this process as soon as its parent is gone, and before it when memory runs out."""
    with suppress(OSError):  # Linux alone has it
        Path("/proc/self/oom_score_adj").write_text("1000")
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=[parent.sentinel], daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _limit_memory(gib: float | None) -> None:
    """Make an allocation past the limit fail, with a traceback that says where."""
    if gib is None or sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(gib * GIB)
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """Send what this process prints, libraries in C included, to a file."""
    sys.stdout.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        with path.open("w") as stream:
            for number in kept:
                os.dup2(stream.fileno(), number)
        yield
    finally:
        sys.stdout.flush()
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
