"""Files that are derived from results, of which stale ones are removed and nobody else's.

A hidden list in their folder says what was written, with digests. A file is removed if the list has
it, it is still what was written, and no symbolic link leads to it.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from pydantic import TypeAdapter

from sb3_course.common.errors import UserError
from sb3_course.common.files import read_regular, write_atomically, write_whole

LIST = ".written.json"
Digests = TypeAdapter(dict[str, str])


def replace_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files, and remove those that an earlier call wrote and this one does not.

    :param folder: Folder of the files
    :param files: Content by path in the folder; files that already have it are left as they are
    :raises UserError: A symbolic link is in the place of a folder; names it
    """
    for name in files:
        if (link := _link(folder, name)) is not None:
            raise UserError(f"{link} is a symbolic link; move it away, as files are written there")
    before = _listed(folder)
    now = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    if now != before:  # listed first, so that a kill leaves no file of ours that is not listed
        _list(folder, {**before, **now})
    for name, content in files.items():
        if _digest(folder / name) != now[name]:
            write_atomically(folder / name, content)
    for name in before.keys() - now.keys():
        _remove(folder, name, before[name])
    if now != before:
        _list(folder, now)


def _remove(folder: Path, name: str, digest: str) -> None:
    path, parts = folder / name, PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or _link(folder, name) is not None:
        return
    if path.is_symlink() or _digest(path) != digest:
        return
    path.unlink(missing_ok=True)
    for above in list(parts.parents)[:-1]:
        with suppress(OSError):  # something else is in it
            (folder / above).rmdir()


def _link(folder: Path, name: str) -> Path | None:
    """Return the first symbolic link among the folders of a file."""
    above = [folder, *(folder / part for part in reversed(PurePosixPath(name).parents))]
    return next((path for path in above if path.is_symlink()), None)


def _list(folder: Path, digests: Mapping[str, str]) -> None:
    write_whole(folder / LIST, json.dumps(digests, indent=1, sort_keys=True) + "\n")


def _listed(folder: Path) -> dict[str, str]:
    """Return what was written; nothing if the list is missing or damaged."""
    if folder.is_symlink():
        return {}
    try:
        return Digests.validate_json(read_regular(folder / LIST), strict=True)
    except (OSError, ValueError):
        return {}


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(read_regular(path)).hexdigest()
    except OSError:
        return None
