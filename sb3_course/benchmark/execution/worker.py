"""Worker process, in which runs execute: its limits, its output, and why it died."""

import faulthandler
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.execution.heartbeat import checkpoint_file, heartbeat_file, log_file
from sb3_course.benchmark.execution.train_run import KEPT, TOLD, Checkpoints, attempt, portable
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.common.tracking.callback import LEFT_OUT
from sb3_course.common.tracking.tracker import Tracking

GIB = 2**30


@dataclass(frozen=True)
class WorkerSettings:
    """Limits and folders of worker processes.

    :param folder: Folder for heartbeats and output of runs; neither is kept on a machine without it
    :param hours: Hours after which a run is stopped
    :param gib: Memory limit of a run in GiB; None for no limit
    :param tensorboard: Folder for TensorBoard files; None for none
    :param checkpoint_every: Environment steps from one checkpoint of a run to the next; None for
        none, so that a killed run starts from the beginning
    :param tracking: Trackers that runs are sent to; None for none
    """

    folder: Path
    hours: float
    gib: float | None = None
    tensorboard: Path | None = None
    checkpoint_every: int | None = None
    tracking: Tracking | None = None

    def log_file(self, spec: RunSpec) -> Path:
        """Return the file with the output of a run.

        :param spec: The run
        :return: Path of the file
        """
        return log_file(self.folder, spec.id)

    def checkpoints(self, spec: RunSpec) -> Checkpoints | None:
        """Return where and how often a run keeps what it needs to go on.

        :param spec: The run
        :return: File and steps; None if the grid asks for none
        """
        if self.checkpoint_every is None:
            return None
        return Checkpoints(checkpoint_file(self.folder, spec.id), self.checkpoint_every)


@dataclass(frozen=True)
class Lost:
    """Run whose process died: killed, crashed, or stopped at its time limit.

    :param spec: The run
    :param reason: What is known about the end; the last line sums it up
    :param at_its_limit: Whether it has had all the time that it may take
    """

    spec: RunSpec
    reason: str
    at_its_limit: bool = False


Outcome: TypeAlias = RunResult | Lost


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
            kept = settings.checkpoints(spec) if has_folder else None
            result = attempt(spec, progress, settings.tensorboard, kept, settings.tracking)
        finally:
            faulthandler.cancel_dump_traceback_later()
    with suppress(OSError):  # whatever it is, there is a result
        if has_folder and result.failure is None and not told_by(log):
            log.unlink(missing_ok=True)
    return result


def told_by(log: Path) -> list[str]:
    """Return the lines of a run's output that whoever uses its result should know.

    They tell of trackers that have failed, checkpoints that could not be written, and what a run
    that went on has lost.

    :param log: File of the output, which is kept if there are such lines
    :return: Lines
    """
    if not log.is_file():
        return []
    with log.open(errors="replace") as stream:
        lines = (line.rstrip("\n") for line in iter(lambda: stream.readline(KEPT), ""))
        found = [line for line in lines if line.endswith(LEFT_OUT) or line.startswith(TOLD)]
    return [portable(line) for line in found]


def lost(spec: RunSpec, settings: WorkerSettings, seconds: float, known: str) -> Lost:
    """Return why a process died during a run: its last output, then the reason in one line.

    :param spec: The run
    :param settings: Limits and folders of the process
    :param seconds: Time since the start of the run in seconds
    :param known: What is known about the end of the process, such as its exit code
    :return: The run, as lost
    """
    at_its_limit = seconds >= settings.hours * 3600
    if at_its_limit:
        known = f"stopped at the time limit of {settings.hours:g} hours (time_limit)"
    log = settings.log_file(spec)
    return Lost(spec, f"{portable(_tail(log)).strip()}\n{known}".strip(), at_its_limit)


def in_words(error: BaseException) -> str:
    """Return an exception's name and message, safe to print anywhere.

    :param error: Exception
    :return: Text of one line, if the message has one
    """
    return portable("".join(traceback.format_exception_only(error)).strip())


def _tail(log: Path) -> str:
    """Return the end of a run's output, of which there may be more than fits into memory."""
    if not log.is_file():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(log.stat().st_size - 4 * KEPT, 0))
        return stream.read().decode(errors="replace")


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
        with suppress(OSError, ValueError):  # a full disk; closed by the run's environment
            sys.stdout.flush()
        for number, original in originals.items():
            os.dup2(original, number)
            os.close(original)
