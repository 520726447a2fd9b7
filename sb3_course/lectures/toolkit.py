"""What the figures share: models on small worlds, batches, intervals, looks."""

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
"""Takes the number of steps done, of all steps, and what is being done."""

SINGLE, DOUBLE = 3.4, 7.0
"""Widths of one and of two columns of print, in inches."""

FONT_SCALE = 1.0
"""Of seaborn's ``paper``."""

N_BOOT = 500

Palette: TypeAlias = Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Conclusion:
    """What a figure shows.

    :param sentence: In words, with the numbers
    :param holds: Whether the claim's direction holds in these numbers
    :param numbers: Those that the sentence and the verdict rest on
    """

    sentence: str
    holds: bool
    numbers: dict[str, float]


def silent(done: int, total: int, what: str) -> None:
    """Take note of nothing: the default where nobody watches."""


def track(items: Iterable[Item], note: Note, what: Callable[[Item], str]) -> Iterator[Item]:
    """Yield items, and tell before each how far that is.

    :param items: What there is to do
    :param note: Told of each
    :param what: Describes one
    """
    todo = list(items)
    for done, item in enumerate(todo):
        note(done, len(todo), what(item))
        yield item
    note(len(todo), len(todo), "")


def make(kind: type[Model], world: VectorWorld | Any, seed: int, **kwargs: Any) -> Model:
    """Make a model that prints and logs nothing, with a linear policy unless told otherwise.

    :param kind: A class of this library
    :param world: The environment
    :param seed: Of the model, and of the environment
    :param kwargs: For the constructor
    """
    defaults: dict[str, Any] = {"policy_kwargs": {"net_arch": []}, "gamma": 1.0, "device": "cpu"}
    model = kind("MlpPolicy", world, seed=seed, **(defaults | kwargs))
    model.set_logger(Logger(None, []))
    return model


def collect(model: PolicyGradientAlgorithm) -> Rollout:
    """Let a model collect one batch, without learning from it.

    :param model: The model; the batch is its ``rollout`` too
    """
    _, callback = model._setup_learn(0, reset_num_timesteps=False)
    assert model.env is not None
    model.collect_rollouts(model.env, callback)
    return model.rollout


def columns(rollout: Rollout, which: slice) -> Rollout:
    """Take some environments' part of a batch.

    :param rollout: A batch
    :param which: Environments
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
    """Refuse a table with a number that is none.

    :param table: Measured numbers
    :param name: The figure's name, for the message
    :return: The table
    :raises FloatingPointError: NaN or infinity; says in which row and column
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
    """Mean, and the ends of its 95% bootstrap interval.

    :param values: Independent numbers, one a seed
    """
    array = np.asarray(values, dtype=float)
    draws = np.random.default_rng(0).choice(array, size=(2000, len(array))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(array.mean()), float(low), float(high)


def curve(axes: Axes, table: pd.DataFrame, x: str, y: str, **kwargs: Any) -> Axes:
    """Draw a mean over seeds with its 95% bootstrap interval, and no legend.

    :param axes: Where to draw
    :param table: Tidy, a row for each seed
    :param x: Column
    :param y: Column
    :param kwargs: For ``seaborn.lineplot``
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
    """Give each name a color that color-blind readers can tell from the others.

    :param names: At most ten
    """
    return dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))


def legend(figure: Figure, palette: Palette, ncols: int, extra: Sequence[Line2D] = ()) -> None:
    """Put one legend of lines under a figure.

    :param figure: The figure, laid out as constrained
    :param palette: Names and colors
    :param ncols: Columns
    :param extra: More handles, which bring their own labels
    """
    lines = [Line2D([], [], color=c, linewidth=1.8, label=n) for n, c in palette.items()]
    handles = [*lines, *extra]
    figure.legend(handles=handles, loc="outside lower center", ncols=ncols, frameon=False)


def letter(axes: Axes, text: str) -> None:
    """Give a panel its title, flush left.

    :param axes: The panel
    :param text: The title
    """
    axes.set_title(text, loc="left", fontsize="medium")
