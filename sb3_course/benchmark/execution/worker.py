"""Worker process, in which runs execute: its limits, its output, and why it died."""

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
class WorkerSettings:
    """Limits and folders of worker processes.

    :param folder: Folder for heartbeats and output of runs; neither is kept on a machine without it
    :param hours: Hours after which a run is stopped
    :param gib: Memory limit of a run in GiB; None for no limit
    :param tensorboard: Folder for TensorBoard files; None for none
    """

    folder: Path
    hours: float
    gib: float | None = None
    tensorboard: Path | None = None

    def log_file(self, spec: RunSpec) -> Path:
        """Return the file with the output of a run.

        :param spec: The run
        :return: Path of the file
        """
        return self.folder / f"{spec.id}.log"


def work(spec: RunSpec, settings: WorkerSettings) -> RunResult:
    """Execute a run within its limits; past its time limit, print a traceback and exit.

    :param spec: Run to execute
    :param settings: Limits and folders
    :return: Result of the run, with its traceback if it failed
    """
    _limit_memory(settings.gib)
    log = settings.log_file(spec)
    has_folder = settings.folder.is_dir()
    with _output_to(log if has_folder else Path(os.devnull)):
        faulthandler.enable()
        faulthandler.dump_traceback_later(settings.hours * 3600, exit=True)
        try:
            progress = heartbeat_file(settings.folder, spec.id) if has_folder else None
            result = attempt(spec, progress, settings.tensorboard)
        finally:
            faulthandler.cancel_dump_traceback_later()
    if has_folder and result.failure is None:
        log.unlink(missing_ok=True)
    return result


def reason_of_death(spec: RunSpec, settings: WorkerSettings, seconds: float, known: str) -> str:
    """Return why a process died during a run: its last output, then the reason in one line.

    :param spec: The run
    :param settings: Limits and folders of the process
    :param seconds: Time since the start of the run in seconds
    :param known: What is known about the end of the process, such as its exit code
    :return: Text whose last line sums it up
    """
    if seconds >= settings.hours * 3600:
        known = f"stopped at the time limit of {settings.hours:g} hours (time_limit)"
    log = settings.log_file(spec)
    output = log.read_text(errors="replace").strip() if log.is_file() else ""
    return f"{portable(output)}\n{known}".strip()


def exit_with_parent() -> None:
    """Make this process exit with its parent, and be the first one killed if memory runs out."""
    with suppress(OSError):  # exists only on Linux
        Path("/proc/self/oom_score_adj").write_text("1000")
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=[parent.sentinel], daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _limit_memory(gib: float | None) -> None:
    """Make an allocation beyond the limit raise an exception, whose traceback shows the place."""
    if gib is None or sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(gib * GIB)
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Redirect the output of this process, including that of C libraries, to a file."""
    sys.stdout.flush()
    originals = {number: os.dup(number) for number in (1, 2)}
    try:
        with path.open("w") as stream:
            for number in originals:
                os.dup2(stream.fileno(), number)
        yield
    finally:
        sys.stdout.flush()
        for number, original in originals.items():
            os.dup2(original, number)
            os.close(original)
