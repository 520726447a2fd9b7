"""Which run starts next, when several processes may work on one grid at once."""

import errno
import fcntl
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from sb3_course.benchmark.errors import UserError
from sb3_course.benchmark.grid import RunSpec
from sb3_course.benchmark.store import Store


class Claims:
    """Claims of one process on runs; the system drops them when the process ends, however it does.

    A claim is a lock on one byte of an empty file, at an offset that the run's id gives; so there
    is nothing to clean up, and network file systems with POSIX locks will do.

    :param folder: ``results/GRID``
    :raises UserError: where the file system has no locks
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / ".lock"
        self._file = self._path.open("a+b")

    def take(self, spec: RunSpec) -> bool:
        """Claim a run, and say whether that worked; if not, another process has it.

        :param spec: the run
        """
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(spec))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise UserError(f"{self._path} cannot be locked ({error.strerror})") from error
        return True

    def drop(self, spec: RunSpec) -> None:
        """Give a claim up.

        :param spec: the run
        """
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _offset(spec))

    def __enter__(self) -> "Claims":
        """Hold claims for as long as the context lasts."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give every claim up."""
        self._file.close()


class Schedule:
    """Which run starts next: one that nobody has ended and that no other process is running.

    :param specs: the runs, in the order to start them
    :param store: where results go
    :param claims: who runs what
    """

    def __init__(self, specs: Sequence[RunSpec], store: Store, claims: Claims) -> None:
        self._waiting = deque(specs)
        self._store, self._claims = store, claims
        self._failed_before = {spec.id: store.failed_at(spec) for spec in specs}
        self._ended_elsewhere: list[RunSpec] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def next(self, n: int) -> Iterator[RunSpec]:
        """Claim the next runs; those that others are running wait, to be looked at again.

        :param n: how many at most
        """
        for _ in range(len(self._waiting)):
            if n <= 0:
                return
            spec = self._waiting.popleft()
            if not self._claims.take(spec):
                self._waiting.append(spec)
            elif self._has_ended(spec):
                self._claims.drop(spec)
                self._ended_elsewhere.append(spec)
            else:
                n -= 1
                yield spec

    def ended(self, spec: RunSpec) -> None:
        """Give up the claim on a run whose result is written.

        :param spec: the run
        """
        self._claims.drop(spec)

    def ended_elsewhere(self) -> list[RunSpec]:
        """Return the runs that others have ended since the last call."""
        ended, self._ended_elsewhere = self._ended_elsewhere, []
        return ended

    def _has_ended(self, spec: RunSpec) -> bool:
        failed_since = self._store.failed_at(spec) != self._failed_before[spec.id]
        return failed_since or self._store.path(spec).exists()


def _offset(spec: RunSpec) -> int:
    return int(spec.id.rpartition("_")[2], base=16)
