"""Which run starts next, when several processes may work on one grid at once."""

import errno
import fcntl
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError


class RunLocks:
    """Locks of one process on runs; the system releases them when it ends, however it does.

    A lock is on one byte of an empty file, at an offset that the run's id gives; so there is
    nothing to clean up, and network file systems with POSIX locks will do.

    :param folder: ``results/GRID``
    :raises UserError: where the file system has no locks
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / ".lock"
        self._file = self._path.open("a+b")

    def acquire(self, spec: RunSpec) -> bool:
        """Lock a run; return whether that worked. If not, another process has it.

        :param spec: the run
        """
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(spec))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise UserError(f"{self._path} cannot be locked ({error.strerror})") from error
        return True

    def release(self, spec: RunSpec) -> None:
        """Release a lock.

        :param spec: the run
        """
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _offset(spec))

    def __enter__(self) -> "RunLocks":
        """Hold locks for as long as the context lasts."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release every lock."""
        self._file.close()


class RunQueue:
    """Which run starts next: one that nobody has ended and that no other process is running.

    :param specs: the runs, in the order to start them
    :param store: where results go
    :param locks: Locks on runs that are under way
    """

    def __init__(self, specs: Sequence[RunSpec], store: Store, locks: RunLocks) -> None:
        self._waiting = deque(specs)
        self._store, self._locks = store, locks
        self._failed_before = {spec.id: store.failed_at(spec) for spec in specs}
        self._ended_elsewhere: list[RunSpec] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def next(self, n: int) -> Iterator[RunSpec]:
        """Lock the next runs; those that other processes run wait, to be looked at again.

        :param n: how many at most
        """
        for _ in range(len(self._waiting)):
            if n <= 0:
                return
            spec = self._waiting.popleft()
            if not self._locks.acquire(spec):
                self._waiting.append(spec)
            elif self._has_ended(spec):
                self._locks.release(spec)
                self._ended_elsewhere.append(spec)
            else:
                n -= 1
                yield spec

    def ended(self, spec: RunSpec) -> None:
        """Release a run whose result is written.

        :param spec: the run
        """
        self._locks.release(spec)

    def ended_elsewhere(self) -> list[RunSpec]:
        """Return the runs that others have ended since the last call."""
        ended, self._ended_elsewhere = self._ended_elsewhere, []
        return ended

    def _has_ended(self, spec: RunSpec) -> bool:
        failed_since = self._store.failed_at(spec) != self._failed_before[spec.id]
        return failed_since or self._store.has_finished(spec)


def _offset(spec: RunSpec) -> int:
    return int(spec.id.rpartition("_")[2], base=16)
