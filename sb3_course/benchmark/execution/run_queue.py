"""Queue of runs that several processes may work on at the same time."""

import errno
import fcntl
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.execution.clusters.shared_folder import check_lock, no_locks
from sb3_course.benchmark.storage.store import Store


class ByteLocks:
    """Locks of this process on single bytes of an empty file; the system releases them at its end.

    So there is nothing to clean up, however the process ends, and network file systems with POSIX
    locks are sufficient. A process may lock a byte that it has locked before.

    :param path: Empty file, which is created
    :raises UserError: If the file system has no locks, or grants one twice
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("a+b")
        check_lock(self._file, path)

    def acquire(self, offset: int) -> bool:
        """Lock a byte, unless another process has locked it.

        :param offset: Position of the byte
        :return: Whether this process has the lock now
        """
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise no_locks(self._path, error) from error
        return True

    def release(self, offset: int) -> None:
        """Unlock a byte.

        :param offset: Position of the byte
        """
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, offset)

    def close(self) -> None:
        """Release every lock."""
        self._file.close()


class RunLocks:
    """Locks of this process on runs, each on one byte at an offset computed from the run's id.

    :param folder: Folder of a grid's results, ``results/GRID``
    :raises UserError: If the file system has no locks, or grants one twice
    """

    def __init__(self, folder: Path) -> None:
        self._locks = ByteLocks(folder / ".lock")

    def acquire(self, spec: RunSpec) -> bool:
        """Lock a run, unless another process has locked it.

        :param spec: Run to lock
        :return: Whether this process has the lock now
        """
        return self._locks.acquire(_offset(spec))

    def release(self, spec: RunSpec) -> None:
        """Unlock a run.

        :param spec: Run to unlock
        """
        self._locks.release(_offset(spec))

    def __enter__(self) -> "RunLocks":
        """Return the locks, which are released at the end of the context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release every lock."""
        self._locks.close()


class RunQueue:
    """Queue of runs that no process has ended and no other process is executing.

    :param specs: Runs, in the order in which to start them
    :param store: Store of the results, to which other processes may write, too
    :param locks: Locks on the runs in progress
    """

    def __init__(self, specs: Sequence[RunSpec], store: Store, locks: RunLocks) -> None:
        self._waiting: deque[RunSpec] = deque()
        self._store, self._locks = store, locks
        self._failed_before: dict[str, int | None] = {}
        self._ended_elsewhere: list[RunSpec] = []
        self.add(specs)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, specs: Iterable[RunSpec]) -> None:
        """Add runs at the end.

        :param specs: Runs that are not in the queue
        """
        for spec in specs:
            self._waiting.append(spec)
            self._failed_before[spec.id] = self._store.failed_at(spec)

    def remove(self, ids: Collection[str]) -> None:
        """Remove runs that need not be started any more.

        :param ids: Ids of runs; others than those in the queue are ignored
        """
        self._waiting = deque(spec for spec in self._waiting if spec.id not in ids)

    def next(self, n: int) -> Iterator[RunSpec]:
        """Lock the next runs; those that other processes execute stay in the queue.

        :param n: Largest number of runs to yield
        :yield: Runs, each of which this process has locked
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
        """Unlock a run whose result has been written.

        :param spec: The run
        """
        self._locks.release(spec)

    def ended_elsewhere(self) -> list[RunSpec]:
        """Return the runs that other processes have ended since the last call."""
        ended, self._ended_elsewhere = self._ended_elsewhere, []
        return ended

    def _has_ended(self, spec: RunSpec) -> bool:
        failed = self._store.failed_at(spec)  # None once its file has been removed
        failed_since = failed is not None and failed != self._failed_before[spec.id]
        return failed_since or self._store.has_finished(spec)


def _offset(spec: RunSpec) -> int:
    return int(spec.id.rpartition("_")[2], base=16)
