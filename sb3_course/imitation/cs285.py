"""Files of CS285's first homework: pickles, read without executing anything.

A pickle is a program. This module reads pickles that build NumPy arrays and plain containers, as
the homework's files do, and refuses any other before it has done anything.
"""

import io
import itertools
import math
import pickle
import pickletools
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from imitation.data.types import TrajectoryWithRew

from sb3_course.collection.observations import Array
from sb3_course.common.errors import UserError

PathLike: TypeAlias = str | Path

MOST_BYTES = 2**30
"""Maximum size of a file. No array is larger than its file, from whose bytes it is built."""

PATH = ("observation", "action", "reward", "next_observation", "terminal")
"""Keys of a demonstrated path."""

_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}

SLOPE = 0.01
"""Slope of the homework's leaky ReLU below 0."""

_NONLINEAR: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "lrelu": lambda x: np.where(x > 0, x, SLOPE * x),
}


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


class CS285Expert:
    r"""Expert of the homework: an MLP on standardized observations.

    .. math:: a = W_n^\top h_n + b_n, \qquad h_{i+1} = \varphi(W_i^\top h_i + b_i), \qquad
        h_0 = \frac{s - \mu}{\sigma + 10^{-6}}, \quad \sigma^2 = \max(0, m_2 - \mu^2)

    with the mean μ and the mean square m₂ of observations from the file, and φ = tanh or a leaky
    ReLU. The action of a Gaussian policy is its mean. Observations of another length are padded
    with zeros or cut, as by the homework's own loader: its expert for Ant was trained on the 111
    numbers that include contact forces, of which Ant-v4 observes 27.

    :param mean: Mean μ, of shape (D,)
    :param std: Standard deviation σ, of shape (D,)
    :param layers: Weights W and biases b of each layer, in order
    :param nonlinearity: Activation function φ, ``"tanh"`` or ``"lrelu"``
    """

    def __init__(
        self, mean: Array, std: Array, layers: list[tuple[Array, Array]], nonlinearity: str
    ) -> None:
        self.mean, self.std, self.layers = mean, std, layers
        self.nonlinearity = nonlinearity
        self._warned = False

    @property
    def observation_size(self) -> int:
        """Length of an observation, D."""
        return len(self.mean)

    def __call__(self, obs: Array) -> Array:
        """Return float32 actions, of shape (M, A), for observations of shape (M, D)."""
        activate = _NONLINEAR[self.nonlinearity]
        hidden = (self._fit(np.asarray(obs)) - self.mean) / (self.std + 1e-6)
        for weight, bias in self.layers[:-1]:
            hidden = activate(hidden @ weight + bias)
        weight, bias = self.layers[-1]
        actions: Array = (hidden @ weight + bias).astype(np.float32)
        return actions

    def predict(
        self,
        observation: Array,
        state: Any = None,
        episode_start: Array | None = None,
        deterministic: bool = True,
    ) -> tuple[Array, Any]:
        """Return actions as SB3's ``predict`` does, so that ``evaluate_policy`` takes the expert.

        :param observation: Observations, of shape (M, D) or (D,)
        :param state: Returned unchanged; the expert has no memory
        :param episode_start: Not used
        :param deterministic: Not used; the action is always the mean
        :return: Actions, of shape (M, A) or (A,), and ``state``
        """
        return self(observation), state

    def _fit(self, obs: Array) -> Array:
        """Pad or cut observations to the expert's length, with a warning the first time."""
        given, wanted = obs.shape[-1], self.observation_size
        if given == wanted:
            return obs
        if not self._warned:
            self._warned = True
            how = "padded with zeros" if given < wanted else "cut"
            warnings.warn(
                f"the expert takes {wanted} numbers, observations have {given}: they are {how}, as "
                "by the homework's own loader",
                stacklevel=3,
            )
        if given > wanted:
            return obs[..., :wanted]
        return np.pad(obs, [(0, 0)] * (obs.ndim - 1) + [(0, wanted - given)])


def load_cs285_expert(path: PathLike) -> CS285Expert:
    """Read an expert of the homework, such as ``Walker2d.pkl``.

    :param path: Pickle, which is not executed; see :func:`load_plain_pickle`
    :return: Function from observations of shape (M, D) to actions of shape (M, A)
    :raises UserError: If the file is not such an expert, or is refused
    """
    content = load_plain_pickle(path)
    try:
        nonlinearity = content["nonlin_type"]
        policy = content[next(key for key in content if key != "nonlin_type")]
        standardizer = policy["obsnorm"]["Standardizer"]
        hidden = policy["hidden"]["FeedforwardNet"]
        names = sorted(hidden, key=lambda name: int(name.removeprefix("layer_")))
        layers = [_affine(hidden[name]) for name in names] + [_affine(policy["out"])]
        mean = _row(standardizer["mean_1_D"])
        std = np.sqrt(np.maximum(0.0, _row(standardizer["meansq_1_D"]) - mean**2))
    except (KeyError, TypeError, StopIteration, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not an expert of CS285: {error!r}") from error
    if nonlinearity not in _NONLINEAR:
        raise UserError(
            f"{path}: unknown nonlin_type {nonlinearity!r}; known: {', '.join(_NONLINEAR)}"
        )
    _check_layers(path, mean, layers)
    return CS285Expert(mean, std, layers, nonlinearity)


def _array(values: Any) -> Array:
    """Check that the values are an array: nested lists can repeat each other without bound."""
    if not isinstance(values, (np.ndarray, np.generic)):
        raise TypeError(f"a {type(values).__name__} where an array is expected")
    return np.asarray(values)


def _row(values: Any) -> Array:
    return _array(values).astype(np.float64).reshape(-1)


def _affine(layer: Any) -> tuple[Array, Array]:
    affine = layer["AffineLayer"]
    return _array(affine["W"]).astype(np.float64), _row(affine["b"])


def _check_layers(path: PathLike, mean: Array, layers: list[tuple[Array, Array]]) -> None:
    width = len(mean)
    for weight, bias in layers:
        if weight.shape != (width, len(bias)):
            raise UserError(
                f"{path}: a layer of shape {weight.shape} with {len(bias)} biases cannot follow "
                f"{width} values"
            )
        width = len(bias)


def load_cs285_demonstrations(path: PathLike) -> list[TrajectoryWithRew]:
    """Read demonstrations of the homework, such as ``expert_data_Walker2d-v4.pkl``.

    :param path: Pickle, which is not executed; see :func:`load_plain_pickle`
    :return: One trajectory per path in the file, with rewards
    :raises UserError: If the file holds no such demonstrations, or is refused
    """
    content = load_plain_pickle(path)
    if not isinstance(content, (list, tuple)) or not content:
        kind = type(content).__name__
        raise UserError(f"{path} must hold a list of paths that is not empty, got {kind}")
    try:
        paths = [{name: _array(item[name]) for name in PATH} for item in content]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(
            f"{path} is not a list of dicts with the arrays {', '.join(PATH)}: {error!r}"
        ) from error
    if sum(array.nbytes for item in paths for array in item.values()) > MOST_BYTES:
        raise RefusedPickleError(
            f"{path}: refused: its repeated arrays have more than {MOST_BYTES:,} bytes"
        )
    try:
        return [_trajectory(item) for item in paths]
    except (ValueError, IndexError) as error:
        raise UserError(f"{path} holds paths that do not fit together: {error}") from error


def _trajectory(item: Mapping[str, Array]) -> TrajectoryWithRew:
    last = item["next_observation"][-1:]
    return TrajectoryWithRew(
        obs=np.concatenate([item["observation"], last]).astype(np.float32),
        acts=item["action"],
        infos=None,
        terminal=bool(item["terminal"][-1]),
        rews=item["reward"].astype(np.float64),
    )
