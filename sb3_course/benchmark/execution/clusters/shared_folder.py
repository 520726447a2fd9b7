"""Whether the locks of a folder hold: on this machine, and between the machines that share it.

Three things are asked, from the cheapest to the surest:

- The *file system* of the folder, by its mount: NFS, CIFS and Lustre have options with which locks
  are granted by each machine alone, without a word to the others (:func:`unshared`).
- The *locks*, at the start of each command: a lock that this process holds must be seen through a
  second handle on the file (:func:`check_lock`).
- The *runs*: a run whose lock is free, although its heartbeat goes on, is executed by a machine
  whose locks this one does not see (:func:`going_on`).
"""

import fcntl
import os
import re
import struct
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sb3_course.benchmark.execution.heartbeat import SILENT
from sb3_course.common.errors import UserError

REMEDY = (
    "use a folder of a local disk (--results DIR), or mount the file system with locks "
    "(NFS version 4, or version 3 with its lock daemon)"
)
ONE_MACHINE = "start commands on one machine only, or mount it with shared locks"
LOCAL = {
    *("apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs"),
    *("jfs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"),
}
"""File systems that no other machine can see."""
UNSHARED = {
    "nfs": ("nolock", "local_lock=all", "local_lock=posix"),
    "cifs": ("nobrl",),
    "smb3": ("nobrl",),
    "lustre": ("localflock",),
}
"""Options of a mount with which each machine grants locks alone, by the file system's type."""
MOUNTS = Path("/proc/self/mountinfo")
SECONDS_BETWEEN_BEATS = 5.0
"""Seconds from one heartbeat of a run to the next where its file is not local: a server of files
for a thousand machines has enough to do."""
WATCHED = 12.0
"""Seconds within which the heartbeat of a run that is being executed changes twice."""
PROBE = 2**48
"""Byte that no run has."""


@dataclass(frozen=True)
class Mount:
    """File system that a folder is in.

    :param point: Folder at which it is mounted
    :param kind: Its type, as in ``nfs4``
    :param options: Options that it is mounted with
    """

    point: str
    kind: str
    options: frozenset[str]


def mount_of(folder: Path) -> Mount | None:
    """Return the file system that a folder is in.

    :param folder: Folder, which need not exist yet
    :return: Its mount; None where the system does not tell
    """
    place = os.path.realpath(folder)
    found = None
    with suppress(OSError, ValueError, IndexError):
        for line in MOUNTS.read_text().splitlines():
            before, _, after = line.partition(" - ")
            point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), before.split()[4])
            inside = place == point or place.startswith(point.rstrip("/") + "/")
            if inside and (found is None or len(point) >= len(found.point)):
                kind, _, options = after.split()[:3]
                found = Mount(point, kind, frozenset(options.split(",")))
    return found


def is_local(folder: Path) -> bool:
    """Return whether no other machine can see a folder, as far as the system tells.

    :param folder: Folder, which need not exist yet
    :return: Whether its file system is one of :data:`LOCAL`, or unknown
    """
    mount = mount_of(folder)
    return mount is None or mount.kind in LOCAL


def unshared(folder: Path) -> list[str]:
    """Return why locks in a folder would not hold between machines.

    :param folder: Folder of a grid's results
    :return: A line with the remedy; none where nothing is known against them
    """
    mount = mount_of(folder)
    if mount is None:
        return []
    options = UNSHARED.get("nfs" if mount.kind.startswith("nfs") else mount.kind, ())
    return [
        f"{folder} is on {mount.kind} mounted with {option}, whose locks other machines do not see:"
        f" {ONE_MACHINE}"
        for option in options
        if option in mount.options
    ][:1]


def check_lock(file: BinaryIO, path: Path) -> None:
    """Check that a lock of this process is seen through another handle, and release it.

    The process must hold no other lock on the file: closing the second handle releases them.

    :param file: File, opened for writing
    :param path: Its path, for the second handle and the message
    :raises UserError: If the file system has no locks, or grants what is taken; says what to do
    """
    if sys.platform != "linux":  # whose locks of an open file tell one handle from another
        return
    with path.open("r+b") as other:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, PROBE)
            asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, PROBE, 1, 0)
            kind, *_ = struct.unpack("hhqqi4x", fcntl.fcntl(other, fcntl.F_OFD_GETLK, asked))
        except (
            BlockingIOError,
            PermissionError,
        ):  # another command is at this very point: so there are locks
            return
        except OSError as error:
            raise no_locks(path, error) from error
    if kind == fcntl.F_UNLCK:
        raise UserError(
            f"{path} can be locked twice: its file system only pretends to lock, and commands that "
            f"share it would do the same runs; {REMEDY}"
        )


def no_locks(path: Path, error: OSError) -> UserError:
    """Return what to tell where a file cannot be locked.

    :param path: The file
    :param error: What the system said
    :return: Error to raise
    """
    return UserError(f"{path} cannot be locked ({error.strerror}): {REMEDY}")


def going_on(heartbeats: Iterable[Path]) -> list[Path]:
    """Return which runs are being executed, although their locks are free.

    :param heartbeats: Heartbeat files of runs that this process has locked
    :return: Those whose content changes twice within :data:`WATCHED` seconds, as it does not where
        a command has just been killed; none, at once, where no other machine can see the files, or
        where they are silent
    """
    now = time.time()
    first = {p: found for p in heartbeats if (found := _content(p)) and found[0] > now - SILENT}
    if all(is_local(path) for path in first):
        return []
    seen: dict[Path, set[object]] = {path: {content} for path, content in first.items()}
    deadline = time.monotonic() + WATCHED
    while time.monotonic() < deadline and not all(len(s) > 2 for s in seen.values()):
        time.sleep(0.1)
        for path in seen:
            seen[path].add(_content(path))
    return [path for path, contents in seen.items() if len(contents) > 2]


def _content(path: Path) -> tuple[float, int, bytes] | None:
    """Return a file's time, identity and content, for which opening it asks the server again."""
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            return facts.st_mtime, facts.st_ino, file.read(4096)
    except OSError:
        return None
