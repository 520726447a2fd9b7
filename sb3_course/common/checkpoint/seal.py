"""A seal that only this user on this machine can make, so that own files need no confirmation."""

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path


def key_file() -> Path:
    """Return the file of this user's key.

    :return: ``sb3_course/key`` in ``XDG_CONFIG_HOME``, by default ``~/.config``
    """
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "sb3_course" / "key"


def seal(content: bytes) -> str | None:
    """Compute the seal of some content: a keyed digest (HMAC-SHA256).

    :param content: Content
    :return: Seal in hexadecimal digits; None where no key can be stored
    """
    key = _key()
    return None if key is None else hmac.new(key, content, "sha256").hexdigest()


def _key() -> bytes | None:
    """Return this user's key, drawn on first use and readable by the user alone."""
    with suppress(OSError, RuntimeError):  # RuntimeError: the user has no home
        file = key_file()
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            # A name of its own, then a link, so that two processes agree on the first key.
            mine = file.with_name(f"key.{os.getpid()}.{secrets.token_hex(4)}")
            mine.touch(mode=0o600)
            try:
                mine.write_bytes(secrets.token_bytes(32))
                with suppress(FileExistsError):
                    os.link(mine, file)
            finally:
                mine.unlink()
        key = file.read_bytes()
        if len(key) == 32:
            return key
    return None
