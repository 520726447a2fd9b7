"""Pickles of plain data, read without executing anything.

A pickle is a program. This module reads pickles that build NumPy arrays and plain containers, as
the homework's files do, by an interpreter of its own, and refuses any other. Time and memory are
bounded by the size of the file: no instruction takes longer than its own bytes in the file, and
what is built from data that the pickle repeats is counted.
"""

import codecs
import io
import math
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sb3_course.collection.observations import Array
from sb3_course.common.errors import UserError, in_words
from sb3_course.common.files import read_whole

PathLike: TypeAlias = str | Path


MOST_BYTES = 2**30
"""Maximum size of a file. No array is larger than its file, from whose bytes it is built."""

_SPARE_INSTRUCTIONS, _BYTES_PER_INSTRUCTION = 100_000, 4
"""Paths of ten steps have more bytes an instruction, a bomb of empty lists has 1."""

_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}


class RefusedPickleError(UserError):
    """Error for a pickle that needs more than NumPy arrays and plain containers."""


class _Name:
    """Name of a class or a function, which is never imported."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Kind:
    """Stand-in for a dtype, whose byte order a pickle sets after it has made the dtype."""

    def __init__(self, kind: Any, align: Any = None, copy: Any = None) -> None:
        if not re.fullmatch(r"[<>=|]?[biufcSU][1-9][0-9]{0,8}", _text(kind)):
            raise RefusedPickleError(
                f"refused: an array of {_brief(kind)}; only numbers and text are read, no objects"
            )
        self.dtype: np.dtype[Any] = np.dtype(kind)

    def build(self, order: Any) -> None:
        if _text(order) not in ("<", ">", "=", "|"):
            raise RefusedPickleError(f"refused: the byte order {_brief(order)}")
        self.dtype = self.dtype.newbyteorder(order)


def _brief(value: Any) -> str:
    """Describe a value in one short line; the text of a container could be of any length."""
    return ascii(value[:80]) if isinstance(value, str) else f"a value of type {_type(value)}"


def _type(value: Any) -> str:
    return value.name if isinstance(value, _Name) else type(value).__name__.strip("_")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise RefusedPickleError(f"refused: {_brief(value)} where text is expected")
    return value


def _instructions(content: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the instructions of a pickle, each with its argument, up to STOP."""
    file = io.BytesIO(content)
    for _ in range(_SPARE_INSTRUCTIONS + len(content) // _BYTES_PER_INSTRUCTION):
        code = file.read(1)
        if code not in _OPCODES:
            raise ValueError(f"no instruction at byte {file.tell()}")
        opcode = _OPCODES[code]
        if opcode.name == "STOP":
            return
        if opcode.name == "STRING":  # Python 2's may hold any bytes; pickletools takes only ASCII
            quoted = file.readline().strip()
            yield "STRING", codecs.escape_decode(quoted[1:-1])[0].decode("latin1")
        else:
            yield opcode.name, opcode.arg.reader(file) if opcode.arg else None
    raise RefusedPickleError(
        f"refused: more than {_SPARE_INSTRUCTIONS:,} instructions and one in "
        f"{_BYTES_PER_INSTRUCTION} bytes; arrays need fewer"
    )


class _Interpreter:
    """Interpreter of the instructions that plain data needs.

    Keys of dicts are text, because the hashes of numbers and tuples can be made to collide.

    :param content: Pickle
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        """Stacks below the marks."""
        self._memo: dict[int, Any] = {}
        self._bytes_left = 2 * len(content)  # text becomes bytes, and bytes become an array

    def load(self) -> Any:
        """Return the value that the pickle builds."""
        for name, argument in _instructions(self._content):
            if name not in _ACTIONS:
                raise RefusedPickleError(f"refused: the pickle needs {name}, which is not for data")
            _ACTIONS[name](self, argument)
        (value,) = self.pop(1)
        _check_plain(value)
        return value

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError("too few values")
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def mark(self, _: None) -> None:
        self._below.append(self._stack)
        self._stack = []

    def pop_to_mark(self) -> list[Any]:
        values = self._stack
        self._stack = self._below.pop()
        return values

    def drop(self, _: None) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self.pop_to_mark()

    def put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def memoize(self, _: None) -> None:
        self.put(len(self._memo))

    def get(self, index: int) -> None:
        self.push(self._memo[index])

    def extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise RefusedPickleError(f"refused: {_brief(target)} where a list is expected")
        target.extend(values)

    def update(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise RefusedPickleError(f"refused: {_brief(target)} where a dict is expected")
        target.update(zip(map(_text, values[::2]), values[1::2], strict=True))

    def push_dict(self, values: list[Any]) -> None:
        self.push({})
        self.update(values)

    def push_name(self, module: str, name: str) -> None:
        known = f"{module}.{name}".replace("numpy._core.", "numpy.core.")
        if known not in _CALLS and known != "numpy.ndarray":
            raise RefusedPickleError(
                f"refused: the pickle asks for {_brief(f'{module}.{name}')[1:-1]}; "
                "only NumPy arrays and plain containers are read"
            )
        self.push(_Name(known))

    def call(self, _: None) -> None:
        function, arguments = self.pop(2)
        if not (isinstance(function, _Name) and function.name in _CALLS):
            raise RefusedPickleError(f"refused: a call of {_brief(function)}")
        if not (isinstance(arguments, tuple) and len(arguments) <= 4):
            raise RefusedPickleError(f"refused: a call of {function.name} with other arguments")
        self.push(_CALLS[function.name](self, *arguments))

    def build(self, _: None) -> None:
        (state,), target = self.pop(1), self._stack[-1]
        if not (isinstance(state, tuple) and 4 <= len(state) <= 9):
            raise RefusedPickleError("refused: a state that is neither an array's nor a dtype's")
        if isinstance(target, _Kind):
            target.build(state[1])  # the rest describes dtypes that are refused
        elif isinstance(target, np.ndarray):
            self._fill(target, *state[-4:])
        else:
            raise RefusedPickleError(f"refused: {_brief(target)} with a state")

    def encode(self, text: Any, encoding: Any = "latin1") -> bytes:
        """Stand in for ``_codecs.encode``, which old protocols use for bytes."""
        if _text(encoding) != "latin1":
            raise RefusedPickleError(f"refused: text in the encoding {_brief(encoding)}")
        self._spend(len(_text(text)))
        return _text(text).encode("latin1")

    def reconstruct(self, kind: Any, shape: Any, code: Any) -> Array:
        """Stand in for NumPy's ``_reconstruct``, which leaves the content to the state."""
        if not (isinstance(kind, _Name) and kind.name == "numpy.ndarray") or _sizes(shape) != (0,):
            raise RefusedPickleError("refused: an array that is not rebuilt as NumPy does")
        return np.empty(0, dtype=np.int8)

    def from_buffer(self, data: Any, kind: Any, shape: Any, order: Any) -> Array:
        """Stand in for NumPy's ``_frombuffer``, which protocol 5 uses."""
        array = np.empty(0, dtype=np.int8)
        self._fill(array, shape, kind, _text(order) == "F", data)
        return array

    def scalar(self, kind: Any, data: Any) -> Any:
        """Stand in for NumPy's ``scalar``."""
        return self.from_buffer(data, kind, (), "C")[()]

    def _fill(self, array: Array, shape: Any, kind: Any, by_columns: Any, data: Any) -> None:
        if isinstance(data, str):  # Python 2's bytes
            data = self.encode(data)
        if not (isinstance(data, (bytes, bytearray)) and isinstance(kind, _Kind)):
            raise RefusedPickleError(
                f"refused: an array with {_brief(kind)} as its dtype, from {_brief(data)}"
            )
        sizes = _sizes(shape)
        if math.prod(sizes) * kind.dtype.itemsize != len(data):
            raise RefusedPickleError(f"refused: an array of shape {sizes} in {len(data)} bytes")
        self._spend(len(data))
        by_columns = isinstance(by_columns, int) and bool(by_columns)
        array.__setstate__((1, sizes, kind.dtype, by_columns, bytes(data)))

    def _spend(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise RefusedPickleError("refused: arrays with more bytes than the pickle")


def _sizes(shape: Any) -> tuple[int, ...]:
    plain = isinstance(shape, tuple) and len(shape) <= 32
    if not plain or not all(isinstance(n, int) and 0 <= n <= MOST_BYTES for n in shape):
        raise RefusedPickleError("refused: an array whose shape is not up to 32 whole numbers")
    sizes = tuple(map(int, shape))
    if math.prod(n or 1 for n in sizes) > MOST_BYTES:
        raise RefusedPickleError(f"refused: an array of shape {sizes}")
    return sizes


def _check_plain(value: Any) -> None:
    """Check that no name or dtype is left; each container is looked through once."""
    waiting, seen = [value], {id(value)}
    while waiting:
        value = waiting.pop()
        inside: Iterable[Any] = ()
        if isinstance(value, (list, tuple)):
            inside = value
        elif isinstance(value, dict):
            inside = value.values()
        elif isinstance(value, (_Name, _Kind)):
            raise RefusedPickleError(f"refused: the pickle holds {_brief(value)}")
        for item in inside:
            if id(item) not in seen:
                seen.add(id(item))
                waiting.append(item)


_CALLS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": lambda _, *arguments: _Kind(*arguments),
    "numpy.core.multiarray._reconstruct": _Interpreter.reconstruct,
    "numpy.core.multiarray.scalar": _Interpreter.scalar,
    "numpy.core.numeric._frombuffer": _Interpreter.from_buffer,
    "_codecs.encode": _Interpreter.encode,
    "__builtin__.bytes": lambda _: b"",  # empty bytes in protocol 2
    "collections.OrderedDict": lambda _: OrderedDict(),
}

_VALUES = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE"),
    *("BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_ACTIONS: dict[str, Callable[[_Interpreter, Any], None]] = {
    **dict.fromkeys(_VALUES, _Interpreter.push),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Interpreter.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Interpreter.get),
    **dict.fromkeys(("PROTO", "FRAME"), lambda machine, _: None),
    "MEMOIZE": _Interpreter.memoize,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "MARK": _Interpreter.mark,
    "POP": _Interpreter.drop,
    "LIST": lambda machine, _: machine.push(machine.pop_to_mark()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop(3))),
    "DICT": lambda machine, _: machine.push_dict(machine.pop_to_mark()),
    "APPEND": lambda machine, _: machine.extend(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.update(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.pop_to_mark()),
    "GLOBAL": lambda machine, words: machine.push_name(*words.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.push_name(*map(_text, machine.pop(2))),
    "REDUCE": _Interpreter.call,
    "BUILD": _Interpreter.build,
}


def load_plain_pickle(path: PathLike) -> Any:
    """Read a pickle of NumPy arrays and plain containers without executing anything in it.

    :param path: Pickle, written by Python 2 or 3 and NumPy 1 or 2
    :return: Content: dicts with text as keys, lists, tuples, text, numbers and arrays
    :raises RefusedPickleError: If the pickle asks for anything else, which the message names
    :raises UserError: If the file is not a pickle, or is damaged
    :raises FileNotFoundError: If there is no such file
    """
    content = read_whole(Path(path), MOST_BYTES)
    try:
        return _Interpreter(content).load()
    except RefusedPickleError as error:
        raise RefusedPickleError(f"{path}: {error}") from None
    except (ValueError, TypeError, LookupError) as error:
        raise UserError(
            f"{path} is not a pickle of NumPy arrays: {in_words(error)[:200]}"
        ) from error
