"""Values as JSON and plain arrays, so that reading them executes nothing.

What JSON lacks is a mapping of one key that begins with ``$`` and names the kind:
``{"$tuple": […]}``, ``{"$array": ["3", [0, 1]]}`` for the array of that name and the order of its
axes in memory, ``{"$class":
"torch.nn.modules.activation:Tanh"}``.
Classes are networks, optimizers and buffers in :data:`TRUSTED_MODULES` alone.
"""

import importlib
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common import utils
from stable_baselines3.common.buffers import BaseBuffer
from torch import nn

Arrays: TypeAlias = dict[str, Any]

TRUSTED_MODULES = (
    *("sb3_course", "stable_baselines3", "sb3_contrib"),
    *("torch.nn.modules", "torch.optim"),
)
MAX_DEPTH = 50

# SB3's schedules and DAgger's: their modules, and the attributes that their constructors take.
_BETA = "sb3_course.imitation.beta"
_SCHEDULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "ConstantSchedule": (utils.__name__, ("val",)),
    "FloatSchedule": (utils.__name__, ("value_schedule",)),
    "LinearSchedule": (utils.__name__, ("start", "end", "end_fraction")),
    "LinearBeta": (_BETA, ("n_rounds",)),
    "ExponentialBeta": (_BETA, ("decay",)),
}


_AS_TEXT: dict[type, Callable[[Any], tuple[str, str]]] = {
    bytes: lambda value: ("bytes", value.hex()),
    type(Path()): lambda value: ("path", str(value)),
}


class NotPlainError(TypeError):
    """The value is of a kind that only a pickle could hold; names its type."""


def encode(value: Any, arrays: Arrays) -> Any:
    """Return a value as JSON has it.

    :param value: Numbers, text, bytes, paths, containers, arrays, tensors, spaces, schedules, and
        classes of trusted libraries
    :param arrays: Arrays by name, to which those of ``value`` are added
    :return: What ``json.dumps`` takes, and :func:`decode` turns back
    :raises NotPlainError: If it holds anything else
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is dict and all(type(k) is str and k[:1] != "$" for k in value):
        return {key: encode(item, arrays) for key, item in value.items()}
    if type(value) is list:
        return [encode(item, arrays) for item in value]
    kind, content = _encode_other(value, arrays)
    return {f"${kind}": content}


def decode(value: Any, arrays: Arrays, depth: int = 0) -> Any:
    """Return the value that :func:`encode` was given.

    :param value: Its JSON
    :param arrays: Arrays by name
    :param depth: Containers around it
    :return: The value
    :raises ValueError: If it is not what :func:`encode` returns
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"values are nested more than {MAX_DEPTH} deep")
    if isinstance(value, list):
        return [decode(item, arrays, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (key, content), *_ = value.items()
        if key[:1] == "$":
            if key[1:] not in _DECODERS:
                raise ValueError(f"unknown kind of value {key!r}")
            try:
                return _DECODERS[key[1:]](content, arrays, depth + 1)
            except (KeyError, TypeError, AttributeError, AssertionError, IndexError) as error:
                raise ValueError(f"a value of kind {key!r} is malformed: {error!r}") from error
    return {key: decode(item, arrays, depth + 1) for key, item in value.items()}


def _encode_other(value: Any, arrays: Arrays) -> tuple[str, Any]:
    kind = type(value)
    if kind is tuple:
        return "tuple", encode(list(value), arrays)
    if kind in (dict, OrderedDict):
        return "dict", [[encode(k, arrays), encode(v, arrays)] for k, v in value.items()]
    if kind is deque:
        return "deque", [encode(list(value), arrays), value.maxlen]
    if kind in _AS_TEXT:
        return _AS_TEXT[kind](value)
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufc":
        return _encode_array(value, arrays)
    if isinstance(value, th.Tensor) and value.layout == th.strided:
        return "tensor", _store(_as_array(value), arrays)
    if isinstance(value, spaces.Space):
        return "space", _encode_space(value, arrays)
    module, names = _SCHEDULES.get(kind.__name__, ("", ()))
    if kind.__module__ == module:
        return "schedule", [kind.__name__, [encode(getattr(value, n), arrays) for n in names]]
    if isinstance(value, type) and _is_trusted(value.__module__):
        return "class", f"{value.__module__}:{value.__qualname__}"
    raise NotPlainError(f"{kind.__module__}.{kind.__qualname__}")


def _encode_array(value: Any, arrays: Arrays) -> tuple[str, Any]:
    """Return an array with the order of its axes in memory, of which those of size 1 come last."""
    if isinstance(value, np.generic):
        return "scalar", _store(value, arrays)
    keys = [(-stride, size == 1) for stride, size in zip(value.strides, value.shape, strict=True)]
    order = sorted(range(value.ndim), key=keys.__getitem__)
    return "array", [_store(value.transpose(order), arrays), order]


def _as_array(tensor: th.Tensor) -> Any:
    try:
        return tensor.detach().cpu().numpy()
    except (RuntimeError, TypeError) as error:  # NumPy has no bfloat16, and no conjugate views
        raise NotPlainError(f"a tensor that NumPy does not have: {error}") from error


def _store(value: Any, arrays: Arrays) -> str:
    name = str(len(arrays))
    arrays[name] = np.asarray(value)
    return name


def _encode_space(space: spaces.Space[Any], arrays: Arrays) -> list[Any]:
    def plain(*values: Any) -> list[Any]:
        return [type(space).__name__, *(encode(value, arrays) for value in values)]

    if type(space) is spaces.Box:
        return plain(space.low, space.high, list(space.shape), space.dtype.str)
    if type(space) is spaces.Discrete:
        return plain(int(space.n), int(space.start), space.dtype.str)
    if type(space) is spaces.MultiDiscrete:
        return plain(np.asarray(space.nvec), np.asarray(space.start), space.dtype.str)
    if type(space) is spaces.MultiBinary:
        return plain(space.n if isinstance(space.n, int) else [int(n) for n in space.n])
    if type(space) is spaces.Dict:
        return plain([[key, part] for key, part in space.spaces.items()])
    raise NotPlainError(f"{type(space).__module__}.{type(space).__qualname__}")


def _decode_array(content: Any, arrays: Arrays, depth: int) -> Any:
    if isinstance(content, str):  # the name alone, as it was before the order was kept
        return arrays[content]
    # Images are views with other strides, on which a convolution rounds differently.
    name, order = content
    return arrays[name].transpose(np.argsort(order))


def _decode_space(content: Any, arrays: Arrays, depth: int) -> spaces.Space[Any]:
    kind, *rest = content
    values = [decode(value, arrays, depth) for value in rest]
    if kind in ("Discrete", "MultiDiscrete"):
        number, start, *kept = values  # without the type, as it was before it was kept
        dtype = np.dtype(kept[0] if kept else np.int64)
        given = {} if dtype == np.int64 else {"dtype": dtype.type}  # older Gymnasium takes none
        made: Any = getattr(spaces, kind)
        space: spaces.Space[Any] = made(number, start=start, **given)
        return space
    if kind == "Box":
        low, high, shape, dtype = values
        return spaces.Box(low, high, tuple(shape), np.dtype(dtype).type)
    if kind == "MultiBinary":
        return spaces.MultiBinary(values[0])
    if kind == "Dict":
        return spaces.Dict(OrderedDict(values[0]))  # Gymnasium sorts the keys of a dict
    raise ValueError(f"unknown space {kind!r}")


def _decode_schedule(content: Any, arrays: Arrays, depth: int) -> Any:
    name, values = content
    if name not in _SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}")
    found = getattr(importlib.import_module(_SCHEDULES[name][0]), name)
    return found(*(decode(value, arrays, depth) for value in values))


def _decode_class(content: Any, arrays: Arrays, depth: int) -> type:
    module, _, name = content.partition(":")
    if not _is_trusted(module):
        raise ValueError(f"{module} is not in one of {', '.join(TRUSTED_MODULES)}")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no class {content}") from error
    # A module of these libraries also holds what it imports: the class itself must be theirs.
    kinds = (nn.Module, th.optim.Optimizer, BaseBuffer)
    if not (isinstance(found, type) and found.__module__ == module and issubclass(found, kinds)):
        raise ValueError(f"{content} is not a network, an optimizer or a buffer of that module")
    return found


def _is_trusted(module: str) -> bool:
    return any(f"{module}.".startswith(f"{trusted}.") for trusted in TRUSTED_MODULES)


def _sequence(content: Any, arrays: Arrays, depth: int) -> list[Any]:
    if not isinstance(content, list):
        raise TypeError(f"{content!r} is not a list")
    return [decode(item, arrays, depth) for item in content]


_DECODERS: dict[str, Callable[[Any, Arrays, int], Any]] = {
    "tuple": lambda content, arrays, depth: tuple(_sequence(content, arrays, depth)),
    "dict": lambda content, arrays, depth: {
        decode(k, arrays, depth): decode(v, arrays, depth) for k, v in content
    },
    "deque": lambda content, arrays, depth: deque(_sequence(content[0], arrays, depth), content[1]),
    "bytes": lambda content, arrays, depth: bytes.fromhex(content),
    "path": lambda content, arrays, depth: Path(content),
    "array": _decode_array,
    "scalar": lambda content, arrays, depth: arrays[content][()],
    "tensor": lambda content, arrays, depth: th.from_numpy(arrays[content]),
    "space": _decode_space,
    "schedule": _decode_schedule,
    "class": _decode_class,
}
