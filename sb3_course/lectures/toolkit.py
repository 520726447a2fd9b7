"""Helpers that the figures share: models on small worlds, batches, intervals and drawing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from stable_baselines3.common.logger import Logger

from sb3_course.collection.observations import Array
from sb3_course.collection.rollout import Rollout
from sb3_course.common.policy_gradient import PolicyGradientAlgorithm
from sb3_course.envs.enumerable import VectorWorld

Item = TypeVar("Item")
Model = TypeVar("Model", bound=PolicyGradientAlgorithm)

Note: TypeAlias = Callable[[int, int, str], None]
"""Callback with the number of steps done, the number of all steps, and the current step's name."""

FONT_SCALE = 1.0
"""Font scale of all figures, relative to seaborn's ``paper`` context."""

N_BOOT = 500

Palette: TypeAlias = Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Conclusion:
    """The conclusion of a figure.

    :param sentence: Conclusion in words, with its numbers
    :param holds: Whether the direction of the claim holds in these numbers
    :param numbers: Numbers that the sentence and the verdict are based on
    """

    sentence: str
    holds: bool
    numbers: dict[str, float]


def silent(done: int, total: int, what: str) -> None:
    """Ignore progress."""


def track(items: Iterable[Item], note: Note, what: Callable[[Item], str]) -> Iterator[Item]:
    """Yield items and report the progress before each one.

    :param items: Items to process
    :param note: Function that is called with the progress
    :param what: Function that returns an item's name
    :yield: Each item
    """
    pending = list(items)
    for done, item in enumerate(pending):
        note(done, len(pending), what(item))
        yield item
    note(len(pending), len(pending), "")


def make(kind: type[Model], world: VectorWorld | Any, seed: int, **kwargs: Any) -> Model:
    """Make a model that prints and logs nothing, with a linear policy by default.

    :param kind: Algorithm class of this library
    :param world: Environment
    :param seed: Seed of the model and of the environment
    :param **kwargs: Arguments of the constructor
    :return: Model
    """
    defaults: dict[str, Any] = {"policy_kwargs": {"net_arch": []}, "gamma": 1.0, "device": "cpu"}
    model = kind("MlpPolicy", world, seed=seed, **(defaults | kwargs))
    model.set_logger(Logger(None, []))
    return model


def collect(model: PolicyGradientAlgorithm) -> Rollout:
    """Collect one batch with a model without learning from it.

    :param model: Model, which also keeps the batch as its ``rollout``
    :return: Batch
    """
    _, callback = model._setup_learn(0, reset_num_timesteps=False)
    assert model.env is not None
    model.collect_rollouts(model.env, callback)
    return model.rollout


def select_environments(rollout: Rollout, which: slice) -> Rollout:
    """Return the part of a batch that comes from some of its environments.

    :param rollout: Batch
    :param which: Range of environments
    :return: Batch of these environments
    """
    assert not isinstance(rollout.obs, dict)
    assert not isinstance(rollout.last_obs, dict)
    first, last, _ = which.indices(rollout.mask.shape[1])
    inside = {(t, n - first): o for (t, n), o in rollout.terminal_obs.items() if first <= n < last}
    return Rollout(
        obs=rollout.obs[:, which],
        actions=rollout.actions[:, which],
        rewards=rollout.rewards[:, which],
        terminated=rollout.terminated[:, which],
        truncated=rollout.truncated[:, which],
        mask=rollout.mask[:, which],
        last_obs=rollout.last_obs[which],
        terminal_obs=inside,
    )


def check_finite(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Check that all numbers of a table are finite.

    :param table: Measured numbers
    :param name: Name of the figure, for the message
    :return: The same table
    :raises FloatingPointError: If a number is NaN or infinite; the message names its row and column
    """
    numbers = table.select_dtypes("number")
    bad = np.argwhere(~np.isfinite(numbers.to_numpy(dtype=float)))
    if len(bad):
        row, column = bad[0]
        rest = ", ".join(f"{k}={v}" for k, v in table.iloc[row].items())
        raise FloatingPointError(
            f"{name}: {numbers.columns[column]} is {numbers.iat[row, column]} in row {row} ({rest})"
        )
    return table


def mean_interval(values: Sequence[float] | Array | pd.Series) -> tuple[float, float, float]:
    """Compute the mean and its 95% bootstrap interval.

    :param values: Independent numbers, one per seed
    :return: Mean, and lower and upper end of the interval
    """
    array = np.asarray(values, dtype=float)
    draws = np.random.default_rng(0).choice(array, size=(2000, len(array))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(array.mean()), float(low), float(high)


def curve(axes: Axes, table: pd.DataFrame, x: str, y: str, **kwargs: Any) -> Axes:
    """Draw a mean over seeds with its 95% bootstrap interval, without a legend.

    :param axes: Axes to draw on
    :param table: Tidy table with one row per seed and position
    :param x: Column along the horizontal axis
    :param y: Column along the vertical axis
    :param **kwargs: Arguments of ``seaborn.lineplot``
    :return: The same axes
    """
    defaults: dict[str, Any] = {
        "errorbar": ("ci", 95),
        "n_boot": N_BOOT,
        "seed": 0,
        "legend": False,
        "linewidth": 1.3,
        "err_kws": {"alpha": 0.15, "linewidth": 0},
    }
    sns.lineplot(table, x=x, y=y, ax=axes, **(defaults | kwargs))
    return axes


def colors(names: Sequence[str]) -> Palette:
    """Assign each name a color that color-blind readers can distinguish from the others.

    :param names: At most ten names
    :return: Color of each name
    """
    return dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))


def legend(figure: Figure, palette: Palette, ncols: int, extra: Sequence[Line2D] = ()) -> None:
    """Add one legend of lines below a figure.

    :param figure: Figure with constrained layout
    :param palette: Names and colors
    :param ncols: Number of columns
    :param extra: Additional handles with their own labels
    """
    lines = [Line2D([], [], color=c, linewidth=1.8, label=n) for n, c in palette.items()]
    handles = [*lines, *extra]
    figure.legend(handles=handles, loc="outside lower center", ncols=ncols, frameon=False)


def panel_title(axes: Axes, text: str) -> None:
    """Set the title of a panel, aligned left.

    :param axes: Panel
    :param text: Title
    """
    axes.set_title(text, loc="left", fontsize="medium")
