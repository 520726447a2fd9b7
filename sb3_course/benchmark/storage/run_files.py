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
from collections.abc import Callable, Collection, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sb3_course.common.errors import UserError
from sb3_course.common.files import write_atomically, write_whole

NameOf = Callable[[str], str]
"""Function that computes a run's name from its text, or raises an error for any other text."""
DAMAGE = (ValueError, TypeError, AttributeError, KeyError)
"""Exceptions that parsing a damaged text raises."""


@dataclass(frozen=True)
class StoredRun:
    """A run as it is stored.

    :param text: One line of JSON, with its line break
    :param place: File, or line and file, for messages
    """

    text: str
    place: str


def damaged(place: str, mistakes: str) -> UserError:
    """Return the error of a stored run that cannot be read.

    :param place: File, or line and file
    :param mistakes: Number or kind of its mistakes
    :return: The error, which names the place and the remedy
    """
    return UserError(
        f"{place} is no result of this program ({mistakes}); delete it, and the run is made again"
    )


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
        :raises UserError: A line of ``runs.jsonl`` is damaged
        """
        found = self._read_single(names_in(self._folder) & set(names))
        return found | self._packed.read(set(names) - found.keys())

    def write(self, name: str, text: str) -> None:
        """Write a run into a file of its own, which counts from then on.

        :param name: Name of the run
        :param text: One line of JSON, with its line break
        """
        with _locked(self._folder):
            write_whole(self.path(name), text)

    def pack(self) -> None:
        """Write every run's own file into ``runs.jsonl``; other files stay where they are.

        :raises UserError: A line of ``runs.jsonl`` is damaged
        """
        if not names_in(self._folder):
            return
        with _locked(self._folder):
            single = self._read_single(names_in(self._folder))
            texts = {name: run.text for name, run in single.items() if self._is_run(name, run)}
            if texts:
                self._packed.write(self._packed.texts() | texts)
            for name in texts:
                self.path(name).unlink()

    def keep_only(self, names: Set[str]) -> None:
        """Remove all other runs.

        :param names: Names of the runs to keep
        """
        with _locked(self._folder):
            for name in names_in(self._folder) - names:
                self.path(name).unlink(missing_ok=True)
            if self._packed.names() - names:
                texts = self._packed.texts()
                self._packed.write({name: texts[name] for name in texts.keys() & names})

    def changed_at(self) -> int:
        """Return when the last run was added or removed, in nanoseconds since 1970."""
        paths = (self._folder, self._packed.path)
        return max((path.stat().st_mtime_ns for path in paths if path.exists()), default=0)

    def _read_single(self, names: Collection[str]) -> dict[str, StoredRun]:
        found = {}
        for name in names:
            with suppress(FileNotFoundError):  # packed meanwhile
                found[name] = StoredRun(self.path(name).read_text("utf-8"), str(self.path(name)))
        return found

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

    def names(self) -> Set[str]:
        with self._opened():
            return self._lines.keys()

    def texts(self) -> dict[str, str]:
        return {name: run.text for name, run in self.read(self.names()).items()}

    def read(self, names: Set[str]) -> dict[str, StoredRun]:
        found = {}
        with self._opened() as file:
            for name in filter(names.__contains__, self._lines):  # in the order of the file
                number, start = self._lines[name]
                file.seek(start)
                place = f"line {number} of {self.path}"
                found[name] = StoredRun(file.readline().decode(), place)
        return found

    def write(self, texts: dict[str, str]) -> None:
        write_atomically(self.path, "".join(texts[name] for name in sorted(texts)).encode())

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """Opened file, indexed again if it is not the one that was indexed last."""
        with open(self.path if self.path.exists() else os.devnull, "rb") as file:
            state = os.fstat(file.fileno())
            version = (state.st_ino, state.st_mtime_ns, state.st_size)
            if version != self._indexed:
                self._lines, self._indexed = self._index(file), version
            yield file

    def _index(self, file: BinaryIO) -> dict[str, tuple[int, int]]:
        lines, start = {}, 0
        for number, line in enumerate(file, 1):
            try:
                lines[self._name_of(line.decode())] = number, start
            except DAMAGE as error:
                place = f"line {number} of {self.path}"
                raise damaged(place, f"{type(error).__name__}: {error}") from error
            start += len(line)
        return lines


def names_in(folder: Path) -> set[str]:
    """Return the names of the JSON files in a folder.

    :param folder: Folder that may not exist
    :return: Names without their ending
    """
    names = os.listdir(folder) if folder.is_dir() else []
    return {n.removesuffix(".json") for n in names if n.endswith(".json") and n[0] != "."}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock on a folder's files, which the system releases should the process be killed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("a+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX)
        except OSError as error:
            raise UserError(f"{path} cannot be locked ({error.strerror})") from error
        yield
