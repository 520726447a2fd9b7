"""Files that are replaced atomically, and files that come with the package."""

import os
import pathlib
import tempfile
from contextlib import suppress
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
IN_WHEEL = PACKAGE / "shipped"
"""Where a wheel holds them; ``pyproject.toml`` names each."""


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
