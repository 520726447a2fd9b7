"""Memory that several arrays of an environment share, in one pickle.

Pickle keeps what is the same object, and copies each array: a view, such as ``pos = state[:2]``,
would no longer follow the array that it was taken of. So a first pass finds the arrays whose
memory overlaps. Those are written as parts of that memory, an array inside a MuJoCo simulation as a
part of that one, and all others as usual.
"""

import ctypes
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th

Path = tuple[int | str, ...]
"""A layer, and the attributes that lead on from it."""


class NotKeptError(Exception):
    """The state of an environment cannot be kept; says why."""


class Memory:
    """Which arrays of a state lie in the same memory.

    :param state: What will be pickled
    :param reference: Pickle's ``persistent_id``
    :param named: Arrays that the layers which go on have, too
    :raises NotKeptError: Memory is shared with a tensor, or by arrays of objects
    """

    def __init__(
        self, state: Any, reference: Callable[[Any], Path | None], named: list[np.ndarray]
    ) -> None:
        survey = _Survey(reference)
        survey.dump(state)
        self._arrays = survey.arrays  # holds them, so that ids stay theirs
        self._parts: dict[int, tuple[np.ndarray, int]] = {}
        for group in _overlapping([*self._arrays, *named]):
            self._put(group, {id(array) for array in named})

    def has(self, array: Any) -> bool:
        """Return whether an array that is not part of the state lies in one that is.

        :param array: Array
        :return: Whether it does
        """
        low, high = _bounds(array)
        bounds = map(_bounds, self._arrays)
        return low < high and any(start <= low and high <= end for start, end in bounds)

    def reduced(self, value: Any) -> Any:
        """Return how an object is pickled, as pickle's ``reducer_override`` does.

        :param value: Object
        :return: Function and arguments for a part of shared memory, else that it is as usual
        """
        if id(value) not in self._parts:
            return NotImplemented
        memory, place = self._parts[id(value)]
        return _part, (memory, place, value.shape, value.strides, value.dtype)

    def _put(self, group: list[Any], named: set[int]) -> None:
        """Find the memory of arrays that overlap: that of a named one, or a copy of all of it."""
        wholes = [array for array in group if id(array) in named]
        parts = [array for array in group if id(array) not in named]
        if not parts:
            return
        if any(type(part) is not np.ndarray or part.dtype.hasobject for part in parts):
            kinds = {f"{type(part).__name__} of {part.dtype}" for part in parts}
            raise NotKeptError(f"{' and '.join(sorted(kinds))} share memory, and would have copies")
        low = min(_bounds(part)[0] for part in parts)
        high = max(_bounds(part)[1] for part in parts)
        memory = next(
            (w for w in wholes if _bounds(w)[0] <= low and high <= _bounds(w)[1]),
            None,
        )
        if memory is None:
            content = (ctypes.c_uint8 * (high - low)).from_address(low)
            memory = np.frombuffer(bytes(content), np.uint8)
        else:
            low = _bounds(memory)[0]
        for part in parts:
            self._parts[id(part)] = memory, _address(part) - low


class _Survey(pickle.Pickler):
    """Finds arrays and tensors, and writes nothing of them."""

    def __init__(self, reference: Callable[[Any], Path | None]) -> None:
        super().__init__(io.BytesIO(), protocol=4)
        self._reference, self.arrays = reference, list[Any]()

    def persistent_id(self, value: Any) -> Path | None:
        return self._reference(value)

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, (np.ndarray, np.void, th.Tensor)):
            return NotImplemented
        self.arrays.append(value)
        return NotImplemented if getattr(value.dtype, "hasobject", False) else (int, ())


def _overlapping(arrays: list[Any]) -> list[list[Any]]:
    """Return the groups of two arrays and more whose memory is connected."""
    bounded = sorted(((_bounds(array), i) for i, array in enumerate(arrays)), key=lambda b: b[0])
    groups: list[list[Any]] = []
    end = -1
    for (low, high), i in bounded:
        if low == high:
            continue
        if low >= end:
            groups.append([])
        groups[-1].append(arrays[i])
        end = max(end, high)
    return [group for group in groups if len(group) > 1]


def _bounds(array: Any) -> tuple[int, int]:
    """Return the first address of an array's memory, and that after the last; equal if none."""
    if isinstance(array, th.Tensor):
        if array.device.type != "cpu" or array.layout != th.strided or not array.numel():
            return 0, 0
        size, strides = array.element_size(), array.stride()
        low = high = array.data_ptr()
        strides = tuple(size * stride for stride in strides)
    else:
        low = high = _address(array)
        size, strides = array.dtype.itemsize, getattr(array, "strides", ())
        if not array.size:
            return low, low
    for length, stride in zip(array.shape, strides, strict=True):
        low, high = low + min(0, (length - 1) * stride), high + max(0, (length - 1) * stride)
    return low, high + size


def _address(array: Any) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _part(
    memory: np.ndarray,
    place: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: np.dtype,
) -> np.ndarray:
    """Return the array that begins at one of the bytes of some memory."""
    return np.ndarray(shape, dtype, memory.ravel(order="K").view(np.uint8), place, strides)
