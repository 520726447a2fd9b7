"""Files that nobody ever sees half of."""

import os
import pathlib
import tempfile
from contextlib import suppress
from pathlib import Path


def write_atomically(path: pathlib.Path, content: bytes) -> None:
    """Write a file that is, at any moment, either the old one or the new one, whole.

    :param path: Where to; missing folders are made
    :param content: What
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
    """Write a text so that nobody ever sees half of it.

    :param path: the file
    :param text: its content
    """
    write_atomically(path, text.encode())
