"""Files of CS285's first homework: its experts and its demonstrations."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from imitation.data.types import TrajectoryWithRew

from sb3_course.collection.observations import Array
from sb3_course.common.errors import UserError
from sb3_course.imitation.plain_pickle import PathLike, RefusedPickleError, load_plain_pickle

PATH = ("observation", "action", "reward", "next_observation", "terminal")
"""Keys of a demonstrated path."""


MOST_TIMES = 10
"""Size of the arrays, each counted as often as it is used, relative to the size of the file."""

SLOPE = 0.01
"""Slope of the homework's leaky ReLU below 0."""

_NONLINEAR: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "lrelu": lambda x: np.where(x > 0, x, SLOPE * x),
}


SUFFIXES = (".pkl", ".pickle")
"""Ends of the names of the homework's files."""


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

    @property
    def action_size(self) -> int:
        """Length of an action, A."""
        return len(self.layers[-1][1])

    def __call__(self, obs: Array) -> Array:
        """Compute the mean actions.

        :param obs: Observations, of shape (M, D) or (D,)
        :return: Actions, float32 of shape (M, A) or (A,)
        :raises UserError: Observations are no rows of numbers
        """
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
        if obs.ndim not in (1, 2) or obs.dtype.kind not in "biuf":
            raise UserError(
                f"the expert takes observations of shape (M, {self.observation_size}), got an "
                f"array of {obs.dtype} of shape {obs.shape}"
            )
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

    :param path: Pickle, which is not executed; see :func:`.load_plain_pickle`
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
        parts = [_affine(layer) for layer in (*(hidden[name] for name in names), policy["out"])]
        moments = _array(standardizer["mean_1_D"]), _array(standardizer["meansq_1_D"])
        _check_repeated(path, [*moments, *(array for part in parts for array in part)])
        layers = [(weight.astype(np.float64), _row(bias)) for weight, bias in parts]
        mean, square = map(_row, moments)
        std = np.sqrt(np.maximum(0.0, square - mean**2))
    except RefusedPickleError:
        raise
    except (LookupError, TypeError, StopIteration, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not an expert of CS285: {_brief(error)}") from error
    if not (isinstance(nonlinearity, str) and nonlinearity in _NONLINEAR):
        given = (
            ascii(nonlinearity[:40])
            if isinstance(nonlinearity, str)
            else f"of type {type(nonlinearity).__name__}"
        )
        raise UserError(f"{path}: unknown nonlin_type {given}; known: {', '.join(_NONLINEAR)}")
    _check_layers(path, mean, layers)
    return CS285Expert(mean, std, layers, nonlinearity)


def _array(values: Any) -> Array:
    """Check that the values are an array: nested lists can repeat each other without bound."""
    if not isinstance(values, (np.ndarray, np.generic)):
        raise TypeError(f"a {type(values).__name__} where an array is expected")
    if values.dtype.kind not in "biuf":
        raise TypeError(f"an array of {values.dtype} where real numbers are expected")
    return np.asarray(values)


def _row(array: Array) -> Array:
    return array.astype(np.float64).reshape(-1)


def _affine(layer: Any) -> tuple[Array, Array]:
    affine = layer["AffineLayer"]
    return _array(affine["W"]), _array(affine["b"])


def _check_repeated(path: PathLike, arrays: Iterable[Array]) -> None:
    """Check that a file does not name its arrays so often that copies of them fill the memory."""
    allowed = max(MOST_TIMES * Path(path).stat().st_size, 2**20)
    # A name has a cost, too: an object of Python, however small the array is.
    if sum(array.nbytes + 128 for array in arrays) > allowed:
        raise RefusedPickleError(
            f"{path}: refused: its repeated arrays have more than {allowed:,} bytes"
        )


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {ascii(str(error)[:200])[1:-1]}"


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

    :param path: Pickle, which is not executed; see :func:`.load_plain_pickle`
    :return: One trajectory per path in the file, with rewards
    :raises UserError: If the file holds no such demonstrations, or is refused
    """
    content = load_plain_pickle(path)
    if not isinstance(content, (list, tuple)) or not content:
        kind = type(content).__name__
        raise UserError(f"{path} must hold a list of paths that is not empty, got {kind}")
    try:
        paths = [{name: _array(item[name]) for name in PATH} for item in content]
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not a list of dicts with the arrays {', '.join(PATH)}: {_brief(error)}"
        ) from error
    _check_repeated(path, (array for item in paths for array in item.values()))
    try:
        return [_trajectory(item) for item in paths]
    except (LookupError, TypeError, ValueError) as error:
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
