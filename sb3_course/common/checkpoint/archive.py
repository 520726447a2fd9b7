"""The zip file of a checkpoint: its members, and the digests that are checked on reading.

A file is read once, as a whole, into a dict of its members; whatever is damaged, encrypted, too
large or not a checkpoint at all ends in :class:`CheckpointError`.
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sb3_course.common.checkpoint.seal import seal
from sb3_course.common.files import check_can_write, read_regular, write_atomically

CheckpointPath: TypeAlias = str | Path | io.BufferedIOBase
Members: TypeAlias = dict[str, bytes]

HEADER = "sb3_course.json"
DIGESTS, SEAL = "digests", "seal"
SB3_DATA = "data"
"""Member in which SB3 keeps attributes, as JSON with pickles inside."""

MAX_BYTES = 2**33
"""Size of the largest file that is read."""
MAX_GROWTH, FREE_BYTES = 50, 2**26
"""A file may unpack to 50 times its size, or to 64 MiB: enough for weights of zeros, not a bomb."""


class CheckpointError(ValueError):
    """The file is not a checkpoint, is damaged, or holds what may not be read; says which."""


class NeedsPickleError(CheckpointError):
    """What was asked for is in a pickle, which may not be read; says which."""


def resolve(path: str | Path) -> Path:
    """Add SB3's ``.zip`` to a path without suffix.

    :param path: Path that the user gave
    :return: Path of the file
    """
    path = Path(path)
    return path if path.suffix or not path.name else path.with_name(path.name + ".zip")


def existing(path: str | Path) -> Path:
    """Return the file that a path means for reading, as in SB3: the path, or it with ``.zip``.

    :param path: Path that the user gave, as ``NPG_lr0.001`` for ``NPG_lr0.001.zip``
    :return: Path of the file; of the one to be missed if there is neither
    """
    path = Path(path)
    zipped = path.with_name(path.name + ".zip") if path.name else path
    there = next((file for file in (path, zipped) if file.is_file()), None)
    return there or (path if path.exists() else resolve(path))


def place_to_save(option: str, path: Path) -> Path:
    """Check that a model can be saved, before it is trained.

    :param option: Option of the command line that names the file
    :param path: File to save to; ``.zip`` is added to a path without suffix, and missing folders
        are created
    :return: Path of the file
    :raises UserError: If the file cannot be written
    """
    file = resolve(path)
    for place in (path, file):
        check_can_write(option, place)
    return file


def write_members(path: CheckpointPath, members: Members, header: dict[str, Any]) -> None:
    """Write a checkpoint, atomically if it is a file, with the digests of its members.

    :param path: File object, or path, to which ``.zip`` is added if it has no suffix
    :param members: Content by name, without the header
    :param header: Header, to which the digests are added
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    header = header | {DIGESTS: digests}
    header[DIGESTS][HEADER] = _digest_of_header(header)
    header[SEAL] = seal(_canonical(header))
    everything = members | {HEADER: json.dumps(header, indent=2).encode()}
    content = _zipped(everything, zipfile.ZIP_DEFLATED)
    if _is_bomb(sum(map(len, everything.values())), len(content)):  # zeros, as of visits counted
        content = _zipped(everything, zipfile.ZIP_STORED)
    if isinstance(path, io.BufferedIOBase):
        path.write(content)
    else:
        write_atomically(resolve(path), content)


def _zipped(members: Members, large: int) -> bytes:
    """Return members as a zip file, of which the large ones are stored in a way of their own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            is_large = len(content) > 2**16 and not name.endswith(".pth")  # weights do not shrink
            kind = large if is_large else zipfile.ZIP_STORED
            archive.writestr(name, content, kind, compresslevel=1)
    return buffer.getvalue()


def _is_bomb(unpacked: int, size: int) -> bool:
    return unpacked > max(FREE_BYTES, MAX_GROWTH * size)


def read_members(path: CheckpointPath) -> Members:
    """Read a checkpoint, and check its digests if it has a header.

    :param path: Path, with or without ``.zip``, or file object
    :return: Content by name
    :raises CheckpointError: If the file is not a zip file, is damaged or encrypted, or unpacks to
        far more than its size
    :raises FileNotFoundError: If there is no such file
    """
    content = _content(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_entries(path, entries, len(content))
            members = {entry.filename: archive.read(entry) for entry in entries}
    except zipfile.BadZipFile as error:
        what = "is not a checkpoint: it is not a zip file"
        if content[:2] == b"PK":  # it begins like one
            what = "is damaged or cut off: its list of members cannot be read"
        raise CheckpointError(f"{path} {what}") from error
    except (ArithmeticError, EOFError, LookupError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    except (NotImplementedError, RuntimeError, ValueError, zlib.error) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if HEADER in members:
        _check_digests(path, members)
    elif SB3_DATA not in members:  # the list may be that of a zip file inside, of PyTorch's
        raise CheckpointError(f"{path} is damaged or cut off, or no checkpoint: it holds no model")
    return members


@contextmanager
def reading(path: CheckpointPath) -> Iterator[None]:
    """Turn what a malformed file makes SB3 and torch raise into a :class:`CheckpointError`.

    :param path: File, for the message
    :yield: Nothing
    :raises CheckpointError: The file is malformed; names the first error
    """
    try:
        yield
    except ValueError:  # says itself what does not fit, such as the environment
        raise
    except Exception as error:  # readers of damaged pickles and tensors raise anything
        raise CheckpointError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def as_zip(members: Members) -> io.BytesIO:
    """Return members as SB3 reads them.

    :param members: Content by name
    :return: Zip file in memory
    """
    return io.BytesIO(_zipped(members, zipfile.ZIP_STORED))


def header_of(members: Members) -> dict[str, Any]:
    """Return the header.

    :param members: Content by name, from :func:`read_members`
    :return: Header; empty for a file of another library
    """
    header: dict[str, Any] = json.loads(members[HEADER]) if HEADER in members else {}
    return header


def is_sealed_here(members: Members) -> bool:
    """Return whether a file was written by this user on this machine, and not changed since.

    :param members: Content by name, from :func:`read_members`
    :return: Whether its seal is that of this user's key
    """
    header = header_of(members)
    given = header.pop(SEAL, None)
    return isinstance(given, str) and given == seal(_canonical(header))


def pack_arrays(arrays: dict[str, Any]) -> bytes:
    """Return arrays as the content of a member.

    :param arrays: Arrays by name, none of which holds Python objects
    :return: Content, in NumPy's format
    """
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def unpack_arrays(members: Members, name: str) -> dict[str, Any]:
    """Return the arrays of a member.

    :param members: Content by name
    :param name: Name of the member that :func:`pack_arrays` filled
    :return: Arrays by name; empty if there is no such member
    :raises CheckpointError: If an array holds Python objects, whose loading could execute code, or
        is damaged
    """
    if name not in members:
        return {}
    try:
        with np.load(io.BytesIO(members[name]), allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # NumPy's reader raises whatever a damaged header leads to
        raise CheckpointError(f"{name} of the checkpoint cannot be read: {error}") from error


def _content(path: CheckpointPath) -> bytes:
    if isinstance(path, io.BufferedIOBase):
        path.seek(0)
        return path.read()
    try:
        return read_regular(existing(path), MAX_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} is not a checkpoint: {error.strerror}") from error


def _check_entries(path: CheckpointPath, entries: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse what no program of ours writes, before anything is unpacked."""
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise CheckpointError(f"{path} is damaged: it holds two members of one name")
    if any(entry.flag_bits & 1 for entry in entries):
        raise CheckpointError(f"{path} is encrypted, which no checkpoint is")
    unpacked = sum(entry.file_size for entry in entries)
    if _is_bomb(unpacked, size):
        raise CheckpointError(
            f"{path} would unpack to {unpacked:,} bytes, from {size:,}: allowed are "
            f"{MAX_GROWTH} times its size"
        )


def _check_digests(path: CheckpointPath, members: Members) -> None:
    try:
        header = json.loads(members[HEADER])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: its header is not JSON") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} is damaged: its header is not a mapping")
    digests = header.get(DIGESTS)
    if digests is None:  # written before there were digests
        return
    found = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    found[HEADER] = _digest_of_header(header)
    if found != digests:
        known = digests if isinstance(digests, dict) else {}
        names = sorted(n for n in found.keys() | known.keys() if found.get(n) != known.get(n))
        raise CheckpointError(
            f"{path} is damaged: {', '.join(map(str, names))} is not what was saved"
        )


def _digest_of_header(header: dict[str, Any]) -> str:
    digests = header[DIGESTS]
    others = {k: v for k, v in digests.items() if k != HEADER} if isinstance(digests, dict) else {}
    rest = {key: value for key, value in header.items() if key not in (SEAL, DIGESTS)}
    return hashlib.sha256(_canonical(rest | {DIGESTS: others})).hexdigest()


def _canonical(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")
