"""Pickles of plain data, read without executing anything.

A pickle is a program. This module reads pickles that build NumPy arrays and plain containers, as
the homework's files do, and refuses any other before it has done anything.
"""

import io
import itertools
import math
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sb3_course.collection.observations import Array
from sb3_course.common.errors import UserError

PathLike: TypeAlias = str | Path


MOST_BYTES = 2**30
"""Maximum size of a file. No array is larger than its file, from whose bytes it is built."""


_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}


class RefusedPickleError(UserError):
    """Error for a pickle that needs more than NumPy arrays and plain containers."""


def _plain_dtype(kind: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(kind)
    if dtype.hasobject or dtype.kind not in "biufcSU" or dtype.itemsize == 0:
        raise RefusedPickleError(f"refused: an array of {dtype}; only numbers and text are read")
    return dtype


class _Kind:
    """Stand-in for a dtype; NumPy's own could be enlarged while an array uses it."""

    def __init__(self, kind: Any) -> None:
        self.dtype = _plain_dtype(kind)

    def __setstate__(self, state: Any) -> None:
        # The rest of the state describes dtypes that are refused.
        self.dtype = self.dtype.newbyteorder(state[1])


class _Checked(np.ndarray[Any, Any]):
    """Array whose state is checked before it is set."""

    def __setstate__(self, state: Any) -> None:
        *version, shape, kind, fortran, data = state
        dtype = kind.dtype
        if math.prod(int(n) for n in shape) * dtype.itemsize != len(data):
            raise RefusedPickleError(f"refused: an array of shape {shape} in {len(data)} bytes")
        super().__setstate__((*version, shape, dtype, fortran, data))


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Stand in for ``_codecs.encode``, which old protocols use for bytes."""
    if encoding != "latin1":
        raise RefusedPickleError(f"refused: text in the encoding {encoding!r}")
    return text.encode("latin1")


def _scalar(kind: Any, data: Any) -> Any:
    """Stand in for NumPy's ``scalar``, whose data Python 2 wrote as text."""
    return np.frombuffer(_encode(data) if isinstance(data, str) else data, dtype=kind.dtype)[0]


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> Array:
    """Stand in for NumPy's ``_frombuffer``, which protocol 5 uses."""
    return np.frombuffer(data, dtype=kind.dtype).reshape(shape, order=order).copy(order="K")


def _stand_ins() -> dict[tuple[str, str], object]:
    """Return the names that a pickle may look up, with their stand-ins.

    Every pickle gets new stand-ins, because it can change their attributes. None of them is a
    class of NumPy, because a call of such a class can allocate any amount of memory.

    :return: Stand-ins by module and name
    """
    array_class = object()

    def reconstruct(kind: object, shape: object, code: object) -> Array:
        if kind is not array_class or shape != (0,):
            raise RefusedPickleError("refused: an array that is not rebuilt as NumPy does")
        return np.empty(0, dtype=np.int8).view(_Checked)

    stand_ins: dict[tuple[str, str], object] = {
        ("numpy", "ndarray"): array_class,
        ("numpy", "dtype"): lambda kind, align=False, copy=False: _Kind(kind),
        ("_codecs", "encode"): lambda text, encoding: _encode(text, encoding),
        ("__builtin__", "bytes"): lambda: b"",  # empty bytes in protocol 2
        ("collections", "OrderedDict"): OrderedDict,
    }
    for core in ("numpy.core", "numpy._core"):
        stand_ins |= {
            (f"{core}.multiarray", "_reconstruct"): reconstruct,
            (f"{core}.multiarray", "scalar"): lambda kind, data: _scalar(kind, data),
            (f"{core}.numeric", "_frombuffer"): lambda *args: _from_buffer(*args),
        }
    return stand_ins


def _check_memo(content: bytes) -> None:
    """Check that no memo index exceeds the number of opcodes before it.

    Unpickling allocates memory up to the index, which takes nine bytes to set to 2³².

    :param content: Pickle
    :raises RefusedPickleError: If an index does
    """
    file = io.BytesIO(content)
    for number in itertools.count():
        opcode = _OPCODES[file.read(1)]
        if opcode.name == "STOP":
            return
        if opcode.name == "STRING":  # Python 2's may hold any bytes; the reader takes only ASCII
            file.readline()
        elif opcode.arg is not None:
            index = opcode.arg.reader(file)
            if opcode.name.endswith("PUT") and index > number:
                raise RefusedPickleError(f"refused: the pickle's memo begins at {index}")


class _Unpickler(pickle.Unpickler):
    """Unpickler that looks names up in a short list instead of importing them."""

    def __init__(self, content: bytes) -> None:
        # Latin-1 keeps the bytes of Python 2's strings, which include NumPy's data.
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._stand_ins = _stand_ins()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._stand_ins:
            raise RefusedPickleError(
                f"refused: the pickle asks for {module}.{name}; "
                "only NumPy arrays and plain containers are read"
            )
        return self._stand_ins[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise RefusedPickleError("refused: the pickle refers to objects outside of it")


def load_plain_pickle(path: PathLike) -> Any:
    """Read a pickle of NumPy arrays and plain containers without executing anything in it.

    :param path: Pickle, written by Python 2 or 3 and NumPy 1 or 2
    :return: Content: dicts, lists, tuples, text, numbers and arrays
    :raises RefusedPickleError: If the pickle asks for anything else, which the message names
    :raises UserError: If the file is not a pickle, or is damaged
    :raises FileNotFoundError: If there is no such file
    """
    path = Path(path)
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise RefusedPickleError(f"{path}: refused: {size:,} bytes, more than {MOST_BYTES:,}")
    try:
        content = path.read_bytes()
        _check_memo(content)
        return _plain_copy(_Unpickler(content).load(), {})
    except RefusedPickleError as error:
        raise RefusedPickleError(f"{path}: {error}") from None
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a pickle of NumPy arrays: {error}") from error
    except (IndexError, KeyError, OverflowError, MemoryError, RecursionError) as error:
        raise UserError(f"{path} is a damaged pickle: {error!r}") from error


def _plain_copy(value: Any, done: dict[int, Any]) -> Any:
    """Copy each container once, with NumPy's own arrays in place of the checked ones."""
    if id(value) in done:
        return done[id(value)]
    copy: Any
    if isinstance(value, np.ndarray):
        _plain_dtype(value.dtype)
        copy = value.view(np.ndarray)
    elif isinstance(value, dict):
        copy = {key: _plain_copy(item, done) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        copy = type(value)(_plain_copy(item, done) for item in value)
    elif value is None or isinstance(
        value, (str, bytes, bytearray, int, float, complex, np.generic)
    ):
        return value
    else:
        raise RefusedPickleError(f"refused: the pickle holds a {type(value).__name__}")
    done[id(value)] = copy
    return copy
