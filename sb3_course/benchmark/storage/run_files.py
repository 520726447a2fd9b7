"""The files of finished runs: one per run at first, one for all once the grid has finished.

A new run is a file of its own, ``runs/NAME.json``, moved into place whole. :meth:`RunFiles.pack`
writes these files into ``runs.jsonl``: one run per line, sorted by name, each line exactly the
content of the run's own file.

Where a run has both a file and a line, the file counts. Packing writes ``runs.jsonl`` first, whole,
and removes the files afterwards, so the file is either the same as the line (packing was killed in
between) or newer (the run was made again), and a kill at any moment loses nothing.

Readers take no lock: they read ``runs`` first and ``runs.jsonl`` afterwards, which holds what was
packed in between. Writers hold a lock for as long as they change files: without it a
run that is made again while it is packed would be removed unread, and the second of two packers
would write back what the first had already read.
"""

import fcntl
import json
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sb3_course.common.errors import UserError
from sb3_course.common.files import LARGEST, read_regular, write_atomically, write_whole

NameOf = Callable[[str], str]
"""Function that computes a run's name from its text, or raises an error for any other text."""
DAMAGE = (ValueError, TypeError, AttributeError, KeyError, RecursionError)
"""Exceptions that parsing a damaged text raises."""
LARGEST_PACK = 2**32
"""Bytes of the largest file of all runs that is read, line by line."""


@dataclass(frozen=True)
class StoredRun:
    """A run as it is stored.

    :param text: One line of JSON, with its line break; empty if it cannot be read
    :param place: File, or line and file, for messages
    :param problem: Why it cannot be read, empty if it was
    """

    text: str
    place: str
    problem: str = ""


def damaged(place: str, problem: str) -> str:
    """Return the line on a stored run that is not as it was written.

    :param place: File, or line and file
    :param problem: What is wrong with it
    :return: Line that names the place, the problem and the remedy
    """
    return f"{place} is damaged ({problem}): `sb3-course run` makes the run again"


def closed(path: Path, problem: str) -> str:
    """Return the line on a file of many runs that cannot be opened.

    :param path: The file
    :param problem: Why it cannot be opened
    :return: Line that names the file, the problem and the remedy
    """
    return f"{path} cannot be read ({problem}): make it readable, or move it away"


def stored_in(folder: Path, names: Iterable[str]) -> dict[str, StoredRun]:
    """Read runs' own files.

    :param folder: Folder that may not exist
    :param names: Names of the runs
    :return: Texts of those that are there, or why they cannot be read, by name
    """
    found = {}
    for name in names_in(folder) & set(names):
        path = folder / f"{name}.json"
        try:
            found[name] = StoredRun(read_regular(path).decode(), str(path))
        except FileNotFoundError:  # packed, or finished, meanwhile
            continue
        except (OSError, UnicodeDecodeError) as error:
            problem = error.strerror if isinstance(error, OSError) else "it is not in UTF-8"
            found[name] = StoredRun("", str(path), problem or str(error))
    return found


class RunFiles:
    """Finished runs in a folder: files in ``runs`` and lines of ``runs.jsonl``.

    :param folder: ``results/GRID``
    :param name_of: Function that computes a run's name from its text
    """

    def __init__(self, folder: Path, name_of: NameOf) -> None:
        self._folder, self._name_of = folder / "runs", name_of
        self._packed = _Packed(folder / "runs.jsonl", name_of)

    def path(self, name: str) -> Path:
        """Return the file in which a new run is written.

        :param name: Name of the run
        :return: Path of the file
        """
        return self._folder / f"{name}.json"

    def names(self) -> set[str]:
        """Return the names of all runs; no run's own file is opened."""
        single = names_in(self._folder)  # first: what is packed meanwhile is in the other
        return single | self._packed.names()

    def has(self, name: str) -> bool:
        """Return whether a run is stored.

        :param name: Name of the run
        :return: Whether it has a file or a line
        """
        return self.path(name).exists() or name in self._packed.names()

    def read(self, names: Collection[str]) -> dict[str, StoredRun]:
        """Read runs.

        :param names: Names of the runs
        :return: The stored ones of these runs, by name
        """
        found = stored_in(self._folder, names)
        return found | self._packed.read(set(names) - found.keys())

    def write(self, name: str, text: str) -> None:
        """Write a run into a file of its own, which counts from then on.

        :param name: Name of the run
        :param text: One line of JSON, with its line break
        """
        with locked(self._folder / ".lock"):
            write_whole(self.path(name), text)

    def pack(self) -> None:
        """Write every run's own file into ``runs.jsonl``; other files stay where they are.

        Lines of ``runs.jsonl`` that are no run's are left out. Of more than :data:`LARGEST_PACK`
        bytes, which would not be read again, all files stay.

        :raises UserError: ``runs.jsonl`` cannot be read; it stays as it is
        """
        if not names_in(self._folder):
            return
        with locked(self._folder / ".lock"):
            single = stored_in(self._folder, names_in(self._folder))
            texts = {name: run.text for name, run in single.items() if self._is_run(name, run)}
            together = self._packed.texts() | texts
            if sum(map(len, together.values())) > LARGEST_PACK:
                return
            if texts:
                self._packed.write(together)
            for name in texts:
                self.path(name).unlink()

    def remove(self, names: Set[str]) -> None:
        """Remove runs.

        :param names: Names of the runs
        :raises UserError: ``runs.jsonl`` cannot be read; nothing is removed
        """
        with locked(self._folder / ".lock"):
            texts = self._packed.texts()
            for name in names_in(self._folder) & names:
                self.path(name).unlink(missing_ok=True)
            if texts.keys() & names:
                self._packed.write({name: texts[name] for name in texts.keys() - names})

    def check_readable(self) -> None:
        """Check that runs can be added to ``runs.jsonl``.

        :raises UserError: It cannot be read
        """
        if problem := _unreadable(self._packed.path):
            raise UserError(closed(self._packed.path, problem))

    def damage(self) -> list[str]:
        """Return lines on what is in ``runs.jsonl`` and is no run's."""
        return self._packed.damage()

    def changed_at(self) -> int:
        """Return when the last run was added, removed or replaced, in nanoseconds since 1970."""
        return max(changed_at(self._folder), changed_at(self._packed.path))

    def _is_run(self, name: str, run: StoredRun) -> bool:
        """Whether a file holds one line, which is that of the run after which it is named."""
        with suppress(*DAMAGE):
            json.loads(run.text)  # the whole, as the name is computed from a part
            return run.text.find("\n") == len(run.text) - 1 and self._name_of(run.text) == name
        return False


class _Packed:
    """The file ``runs.jsonl``, with an index of its lines for as long as it stays the same."""

    def __init__(self, path: Path, name_of: NameOf) -> None:
        self.path, self._name_of = path, name_of
        self._indexed: tuple[int, int, int] | None = None
        self._lines: dict[str, tuple[int, int]] = {}  # number of the line, and where it begins
        self._damage: list[str] = []

    def names(self) -> Set[str]:
        with self._opened():
            return self._lines.keys()

    def damage(self) -> list[str]:
        with self._opened():
            return self._damage

    def texts(self) -> dict[str, str]:
        """All lines, for a new file in the place of this one, which must not lose any."""
        with self._opened(whole=True) as file:
            return {name: run.text for name, run in self._read(file, self._lines.keys()).items()}

    def read(self, names: Set[str]) -> dict[str, StoredRun]:
        with self._opened() as file:
            return self._read(file, names)

    def _read(self, file: BinaryIO, names: Set[str]) -> dict[str, StoredRun]:
        found = {}
        for name in filter(names.__contains__, self._lines):  # in the order of the file
            number, start = self._lines[name]
            file.seek(start)
            place = f"line {number} of {self.path}"
            found[name] = StoredRun(file.readline().decode(), place)
        return found

    def write(self, texts: dict[str, str]) -> None:
        # The last line may have lost its end, and another one may follow it now.
        lines = (texts[name].removesuffix("\n") + "\n" for name in sorted(texts))
        write_atomically(self.path, "".join(lines).encode())

    @contextmanager
    def _opened(self, whole: bool = False) -> Iterator[BinaryIO]:
        """Opened file, indexed again if it is not the one that was indexed last."""
        problem = _unreadable(self.path)
        if problem and whole:
            raise UserError(closed(self.path, problem))
        readable = self.path.exists() and not problem
        with open(self.path if readable else os.devnull, "rb") as file:
            state = os.fstat(file.fileno())
            version = (state.st_ino, state.st_mtime_ns, state.st_size)
            if version != self._indexed:
                self._lines, self._damage = self._index(file)
                self._indexed = version
            if problem:
                self._damage = [closed(self.path, problem)]
            yield file

    def _index(self, file: BinaryIO) -> tuple[dict[str, tuple[int, int]], list[str]]:
        lines, damage, start, number = {}, [], 0, 0
        while line := file.readline(LARGEST):
            number += 1
            try:
                lines[self._name_of(line.decode())] = number, start
            except DAMAGE as error:
                problem = " ".join(str(error).split()) or type(error).__name__
                place = f"line {number} of {self.path}"
                damage.append(f"{damaged(place, problem)}; delete the line if it is none")
            start += len(line)
        return lines, damage


def _unreadable(path: Path) -> str:
    """Return why a file of runs cannot be read; empty if it can, or if there is none."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            return "no regular file"
        if facts.st_size > LARGEST_PACK:
            return f"larger than {LARGEST_PACK:,} bytes"
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""


def changed_at(path: Path) -> int:
    """Return when a file, or one in a folder, was added, removed or replaced.

    :param path: File or folder
    :return: Nanoseconds since 1970; 0 if there is none
    """
    times = [0]
    for each in (path, *path.glob("*.json")):
        with suppress(FileNotFoundError):  # packed meanwhile
            times.append(each.stat().st_ctime_ns)  # a copy keeps st_mtime
    return max(times)


def names_in(folder: Path) -> set[str]:
    """Return the names of the JSON files in a folder.

    :param folder: Folder that may not exist
    :return: Names without their ending
    """
    names = os.listdir(folder) if folder.is_dir() else []
    return {n.removesuffix(".json") for n in names if n.endswith(".json") and n[0] != "."}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file within a context; the system releases it should the process be killed.

    :param path: Empty file, which is created; nothing else in this process may lock it
    :yield: None
    :raises UserError: The file system has no locks
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666), "wb") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX)
        except OSError as error:
            raise UserError(f"{path} cannot be locked ({error.strerror})") from error
        yield
