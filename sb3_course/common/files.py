"""Files that are read whole or replaced atomically, and files that come with the package."""

import os
import pathlib
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from sb3_course.common.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
IN_WHEEL = PACKAGE / "shipped"
"""Where a wheel holds them; ``pyproject.toml`` names each."""


def read_whole(path: Path, most_bytes: int) -> bytes:
    """Read a file, but no pipe or device, which may never end.

    :param path: File to read
    :param most_bytes: Maximum size
    :return: Content
    :raises UserError: If the path is no file, or the file is larger
    :raises OSError: If it cannot be read
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise UserError(f"{path}: is {kind}; allowed: a file")
    # Some files of Linux's /proc wait for new content, unless they are told not to.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            raise UserError(f"{path}: refused: {size:,} bytes, more than {most_bytes:,}")
        return file.read() or b""  # None where nothing has come yet


def write_atomically(path: pathlib.Path, content: bytes) -> None:
    """Write a file so that a reader sees either the old content or the new one, never a part.

    :param path: File to write; missing folders are created
    :param content: New content
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):  # where Ctrl-C came just after the move
            os.unlink(temporary)
        raise


def write_whole(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8.

    :param path: File to write; missing folders are created
    :param text: New content
    """
    write_atomically(path, text.encode())


def shipped(path: str) -> Path:
    """Return a file or folder that comes with the package.

    :param path: Its path in a checkout of the project, such as ``benchmarks/demo.yaml``
    :return: Its place in the installed wheel, or in the checkout
    """
    inside = IN_WHEEL / path
    return inside if inside.exists() else PACKAGE.parent / path
