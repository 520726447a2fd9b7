"""Files that are read whole or replaced atomically, and files that come with the package."""

import errno
import os
import pathlib
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TypeVar
from unicodedata import normalize

from sb3_course.common.errors import UserError, in_words

T = TypeVar("T")

PACKAGE = Path(__file__).resolve().parents[1]
IN_WHEEL = PACKAGE / "shipped"
"""Where a wheel holds them; ``pyproject.toml`` names each."""
TEMPORARY = ".sb3-course"
"""Ends the names of temporary files, so that nobody else's file is taken for one."""
ABANDONED = 900.0
"""Seconds after its last change when a temporary file has no writer any more: a write that is
under way takes seconds."""
LARGEST = 2**28
"""Bytes of the largest file that is read whole: many times what the largest run takes."""


def read_whole(path: Path, most_bytes: int) -> bytes:
    """Read a file of the user's, with a message for the user where it is not one.

    :param path: File to read
    :param most_bytes: Maximum size
    :return: Content
    :raises UserError: If the path is no file, or the file is larger
    :raises OSError: If it cannot be read
    """
    try:
        return read_regular(path, most_bytes)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EFBIG):
            raise
        raise UserError(f"{path}: {error.strerror}") from error


def write_atomically(path: pathlib.Path, content: bytes) -> None:
    """Write a file so that a reader sees either the old content or the new one, never a part.

    :param path: File to write, or a symbolic link to a regular file, which stays one; missing
        folders are created
    :param content: New content
    :raises OSError: It cannot be written, as on a full disk; names this file, whose old content
        stays
    """
    place = path.resolve() if path.is_symlink() and path.is_file() else path  # a link stays one
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(TEMPORARY, f".{place.name}.", place.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
            os.replace(temporary, place)
        except BaseException:
            with suppress(OSError):  # it is gone where Ctrl-C came just after the move
                os.unlink(temporary)
            raise
    except OSError as error:
        # What went wrong while writing names no file, and what did before names the temporary one.
        inside = error.filename is None or TEMPORARY in str(error.filename)
        name = str(path) if inside else error.filename
        raise OSError(error.errno, error.strerror or str(error), name) from error


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files that killed processes have left in a folder, at any depth.

    :param folder: Folder that may not exist; symbolic links in it are not followed
    """
    ours = re.compile(rf"\..+\.[a-z0-9_]{{8}}{re.escape(TEMPORARY)}")
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names if ours.fullmatch(name)):
            with suppress(OSError):  # removed meanwhile, or of another user
                facts = path.lstat()
                if stat.S_ISREG(facts.st_mode) and facts.st_mtime < time.time() - ABANDONED:
                    path.unlink()


def read_regular(path: Path, largest: int = LARGEST) -> bytes:
    """Read a file whole, but neither a FIFO nor a device, which might never end.

    :param path: File to read
    :param largest: Largest number of bytes
    :return: Its content
    :raises OSError: It cannot be read, is no regular file, or is larger
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise OSError(errno.EINVAL, f"is {kind}; allowed: a file", str(path))
    # Some files of Linux's /proc wait for new content, unless they are told not to.
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise OSError(errno.EFBIG, f"refused: {size:,} bytes, more than {largest:,}", str(path))
        return file.read() or b""  # None where nothing has come yet


def read_kept(path: Path, parse: Callable[[bytes], T], remedy: str) -> T | None:
    """Read a small file that this program keeps and can do without.

    :param path: File
    :param parse: Function that reads its content; raises a ``ValueError`` if it is damaged
    :param remedy: What to do after it was deleted, as the end of a sentence
    :return: What it holds; None if there is no such file
    :raises UserError: The file is damaged; says what to do
    """
    try:
        return parse(read_regular(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:  # nested too deeply
        count = getattr(error, "error_count", None)  # of pydantic's errors
        reason = in_words(error) if count is None else f"{count()} mistakes"
        raise UserError(f"{path} is damaged ({reason}); delete it, and {remedy}") from error


def write_whole(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8.

    :param path: File to write; missing folders are created
    :param text: New content
    """
    write_atomically(path, text.encode())


def beside(path: Path) -> Path:
    """Return a name beside a file that there is not yet, numbered as SB3 numbers its runs.

    :param path: File
    :return: Place that is free, such as ``model_1.zip`` for ``model.zip``
    """
    numbered = (path.with_stem(f"{path.stem}_{number}") for number in count(1))
    return next(place for place in numbered if not place.exists())


def shipped(path: str) -> Path:
    """Return a file or folder that comes with the package.

    :param path: Its path in a checkout of the project, such as ``benchmarks/demo.yaml``
    :return: Its place in the installed wheel, or in the checkout
    """
    inside = IN_WHEEL / path
    return inside if inside.exists() else PACKAGE.parent / path


def check_can_write(option: str, file: Path) -> None:
    """Check, before work whose result it will hold, that a file can be written.

    :param option: What the file was given by, for the message
    :param file: File to write; missing folders are created
    :raises UserError: If it cannot, as on a full disk, or below a file
    """
    try:
        if file.is_dir():
            raise UserError(f"{option}: {file} is a folder; allowed: a file")
        _try_to_write(file.parent)
    except OSError as error:
        raise UserError(f"{option}: {file} cannot be written ({error.strerror})") from error


def check_can_write_into(option: str, folder: Path) -> None:
    """Check, before work whose results it will hold, that files can be written into a folder.

    :param option: What the folder was given by, for the message
    :param folder: Folder; missing ones are created
    :raises UserError: If they cannot, as on a full disk, or where it is a file or a broken link
    """
    try:
        check_link(folder)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{option}: {folder} is a file; allowed: a folder")
        _try_to_write(folder)
    except OSError as error:
        raise UserError(f"{option}: {folder} cannot be written ({error.strerror})") from error


def _try_to_write(folder: Path) -> None:
    """Create a folder and, for a moment, a file in it: permissions do not tell all."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=".", suffix=TEMPORARY, dir=folder) as file:
        file.write(b"x")


def check_link(place: Path) -> None:
    """Check that a place is no link to what is not there, nor below one: a disk is not mounted.

    :param place: Place of a file or folder
    :raises UserError: If it is
    """
    there = next(path for path in (place, *place.parents) if os.path.lexists(path))
    if not os.path.exists(there):
        raise UserError(f"{there} is a link to {os.readlink(there)}, which is not there")


def check_not_read(option: str, file: Path, read: Iterable[Path]) -> None:
    """Check that a file to write is none of those that are read.

    :param option: What the file was given by, for the message
    :param file: File to write
    :param read: Files that are read
    :raises UserError: If it is one of them
    """
    if file.resolve() in {path.resolve() for path in read}:
        raise UserError(f"{option}: {file} is read as well, and kept; allowed: another file")


def told_apart(names: Iterable[str], shortened: Callable[[str], str]) -> dict[str, str]:
    """Return each name's short form as a file's, with a number from the second on with the same.

    Two that a file system may take for one, as in upper and lower case, are the same.

    :param names: Names
    :param shortened: Function that returns a name's short form
    :return: Short form by name
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(set(names)):
        short, k = shortened(name), 1
        while _folded(short) in taken:
            k += 1
            short = f"{shortened(name)}-{k}"
        found[name] = short
        taken.add(_folded(short))
    return found


def _folded(name: str) -> str:
    return normalize("NFC", name).casefold()
