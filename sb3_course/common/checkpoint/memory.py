"""Memory that several attributes of an environment share, in one pickle.

Pickle keeps what is the same object, and copies each array: a view, such as ``pos = state[:2]``,
would no longer follow the array that it was taken of. Here a view is written as its owner and its
place in it, MuJoCo's arrays by their names, and other memory that two objects share is refused.
"""

import copy
from collections.abc import Container
from typing import Any

import numpy as np
import torch as th

from sb3_course.common.checkpoint.resources import is_simulation

References = dict[int, tuple[Any, tuple[int | str, ...]]]
"""By id: the object, and the layer and attributes that lead to it in the layers that go on."""


class NotKeptError(Exception):
    """The state of an environment cannot be kept; says why."""


class Memory:
    """Memory that the objects of one pickle lie in."""

    def __init__(self) -> None:
        self._owners: dict[int, Any] = {}  # by address; holds them, so that ids stay theirs

    def reduced(self, value: Any, found: Container[int]) -> Any:
        """Return how an object is pickled, as pickle's ``reducer_override`` does.

        :param value: Object
        :param found: Ids of what is found by name in the layers that go on
        :return: Function and arguments for a view, else that it is pickled as usual
        :raises NotKeptError: It shares memory with an object of another kind, or with no object
        """
        if isinstance(value, th.Tensor):
            is_whole = not isinstance(value, th.nn.Parameter)  # which is pickled as its tensor
            if is_whole and value.device.type == "cpu" and value.layout == th.strided:
                self._check_alone(value, value.untyped_storage().data_ptr(), value.numel())
        elif type(value) is np.ndarray:
            owner = _owner(value)
            if id(owner) not in found:
                # An action that was kept lies in the policy's tensor, into which nobody writes.
                lies_in = None if isinstance(owner.base, th.Tensor) else owner.base
                if lies_in is not None and owner.flags.writeable:
                    raise NotKeptError(
                        f"an array lies in the memory of a {type(lies_in).__name__}, and would "
                        "have a copy"
                    )
                self._check_alone(owner, _address(owner), owner.size)
            if owner is not value:
                if owner.dtype.hasobject or not owner.flags.forc:
                    raise NotKeptError("an array is a view of one of objects, or of one with gaps")
                place = _address(value) - _address(owner)
                return _view, (owner, place, value.shape, value.strides, value.dtype)
        return NotImplemented

    def _check_alone(self, value: Any, address: int, size: int) -> None:
        if size and self._owners.setdefault(address, value) is not value:
            raise NotKeptError("arrays or tensors share memory, and would have copies")


def simulations_apart(layers: list[Any], states: list[tuple[str, dict[str, Any]]]) -> References:
    """Replace MuJoCo's ``data`` by a copy, and refer everything else to the one that goes on.

    :param layers: Layers
    :param states: Name and attributes of each, changed in place
    :return: The simulations, their models, and the arrays of both
    """
    references: References = {}
    for i, (layer, (_, attributes)) in enumerate(zip(layers, states, strict=True)):
        if is_simulation(attributes.get("data")) and "model" in vars(layer):
            for name in ("data", "model"):
                part = vars(layer)[name]
                references[id(part)] = part, (i, name)
                arrays = ((n, getattr(part, n)) for n in dir(part) if not n.startswith("_"))
                for n, array in arrays:
                    if isinstance(array, np.ndarray):
                        references[id(array)] = array, (i, name, n)
            attributes["data"] = copy.copy(attributes["data"])
    return references


def _owner(array: np.ndarray) -> np.ndarray:
    """Return the array that a view was taken of, or the array itself."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _view(
    owner: np.ndarray, place: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    """Return the part of an array's memory that begins at one of its bytes."""
    memory = owner.ravel(order="K").view(np.uint8)
    return np.ndarray(shape, dtype, memory, place, strides)
