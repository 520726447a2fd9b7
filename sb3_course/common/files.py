"""Files that are replaced atomically, so that no reader sees a partial one."""

import os
import pathlib
import tempfile
from contextlib import suppress
from pathlib import Path


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
