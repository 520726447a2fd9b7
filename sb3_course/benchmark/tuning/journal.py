"""The journal in which Optuna keeps studies: a line for each event, written by several commands."""

import errno
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from sb3_course.benchmark.storage.grids import JOURNAL
from sb3_course.benchmark.storage.run_files import locked
from sb3_course.common.errors import UserError, in_words


class JournalLock(JournalFileOpenLock):
    """Lock that the system releases should the process be killed; Optuna's own stay for 30 s.

    A line that a killed process has not finished is removed, since whatever is written after it
    would make the whole journal unreadable.

    :param path: Journal
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._held = ExitStack()

    def acquire(self) -> bool:
        """Wait for the lock, and remove what follows the last whole line."""
        self._held.enter_context(locked(self._path.with_name(f".{self._path.name}.lock")))
        remove_torn_line(self._path)
        return True

    def release(self) -> None:
        """Release the lock."""
        self._held.close()


class Journal(JournalFileBackend):
    """Journal whose errors say which file could not be written.

    :param path: File
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), lock_obj=JournalLock(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, as Optuna does.

        :param logs: Content of each line
        :raises OSError: They cannot be written, such as to a full disk
        """
        try:
            super().append_logs(logs)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def remove_torn_line(path: Path) -> None:
    """Cut a file after its last line break.

    :param path: File; nobody else writes to it meanwhile
    """
    with path.open("r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 4096)
            file.seek(start)
            at = file.read(end - start).rfind(b"\n")
            if at >= 0:
                end = start + at + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def open_journal(folder: Path) -> JournalStorage:
    """Open the journal of a folder; there is a new one if there was none.

    :param folder: Folder of tuning, ``results/GRID/tuning``
    :return: Storage of studies
    :raises UserError: If the journal is damaged; says what to do
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL
    lock, backend = JournalLock(path), Journal(path)
    try:
        lock.acquire()
        try:
            _check_last_line(path)
        finally:
            lock.release()
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):  # where it can be read all the same
            raise
    try:
        return JournalStorage(backend)
    except Exception as error:  # Optuna lets through whatever a wrong line leads to
        raise _damaged(path, error) from error


def _check_last_line(path: Path) -> None:
    """Refuse a last line that Optuna would pass over, and fail at once another one follows."""
    lines = path.read_bytes().splitlines()
    try:
        json.loads(lines[-1] if lines else b"{}")
    except ValueError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    problem = in_words(error)
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            json.loads(line)
        except ValueError:
            problem = f"line {number} is no JSON"
            break
    return UserError(
        f"{path} is damaged ({problem}); move it away: the same command begins new studies, and "
        "repeats no run that is stored"
    )
