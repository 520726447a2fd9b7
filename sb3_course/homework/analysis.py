"""The analysis of the second homework: exact and sampled gradients of a policy of one parameter.

The exact moments are those of :mod:`.one_parameter_mdp`. On top of them are gradients that this
library's own estimators compute from sampled trajectories.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sb3_course import estimators
from sb3_course.benchmark.reporting.drawing import figures, files
from sb3_course.benchmark.reporting.drawing.figures import Panel
from sb3_course.benchmark.reporting.drawing.styles import Style, Styles, styles
from sb3_course.benchmark.storage.provenance import machine
from sb3_course.collection.collector import WholeEpisodes, collect
from sb3_course.collection.observations import Array, Obs
from sb3_course.collection.rollout import Rollout
from sb3_course.common.files import check_can_write_into, write_whole
from sb3_course.common.tracking import code
from sb3_course.estimators import importance_weights
from sb3_course.homework.one_parameter_mdp import (
    IMPORTANCE,
    KINDS,
    TO_GO,
    TOTAL,
    Moments,
    OneParameterMDP,
    exact_moments,
)

NAME = "homework_analysis"
TABLE = ("process", "estimator", "θ", "gradient", "sampled", "variance", "sampled")
"""Columns of the printed table."""
LEAST = 1e-5
"""Least variance that is drawn."""
STANDARD_ERRORS = 4.5
"""Most standard errors that a sampled mean is off; chance exceeds them once in 100,000 times."""


@dataclass(frozen=True)
class Config:
    """Setting of the analysis.

    :param thetas: Parameters θ at which gradients are sampled
    :param behavior: Parameter θ' of the policy that acts for importance sampling
    :param horizon: Number of steps H of the chain
    :param trajectories: Number of sampled trajectories
    :param seed: Seed of the samples
    """

    thetas: tuple[float, ...] = tuple(round(0.05 * i, 2) for i in range(1, 20))
    behavior: float = 0.6
    horizon: int = 5
    trajectories: int = 20_000
    seed: int = 0

    @property
    def processes(self) -> dict[str, int | None]:
        """The horizon of each process by its name."""
        return {"infinite": None, f"chain of {self.horizon} steps": self.horizon}


def measure(config: Config) -> pd.DataFrame:
    """Compute exact and sampled moments of every estimator.

    :param config: Setting
    :return: Table with one row per process, estimator and θ: ``process, kind, theta, mean,
        variance, sampled_mean, sampled_variance``
    """
    rows = []
    rng = np.random.default_rng(config.seed)
    for process, horizon in config.processes.items():
        shared = list(_batches(config.behavior, horizon, config.trajectories, rng))
        for theta in config.thetas:
            own = list(_batches(theta, horizon, config.trajectories, rng))
            for kind in KINDS:
                batches, acts = (shared, config.behavior) if kind == IMPORTANCE else (own, theta)
                gradients = np.concatenate(
                    [sampled_gradients(kind, batch, theta, acts) for batch in batches]
                )
                exact = exact_moments(kind, theta, acts, horizon)
                rows.append((process, kind, theta, *exact, *_sampled(gradients)))
    columns = ["process", "kind", "theta", "mean", "variance", "sampled_mean", "sampled_variance"]
    return pd.DataFrame(rows, columns=columns)


def _sampled(gradients: Array) -> Moments:
    return Moments(float(gradients.mean()), float(gradients.var(ddof=1)))


def _batches(
    theta: float, horizon: int | None, trajectories: int, rng: np.random.Generator, size: int = 2000
) -> Iterator[Rollout]:
    """Yield batches of whole episodes of the policy π(a₁) = θ."""

    def act(obs: Obs) -> tuple[Array, Array]:
        actions = (rng.random(len(obs)) >= theta).astype(np.int64)
        return actions, actions

    for first in range(0, trajectories, size):
        world = OneParameterMDP(min(size, trajectories - first), horizon)
        n = world.num_envs
        collected = collect(
            world, world.reset(), act, WholeEpisodes(n, n_episodes=n), lambda _: True
        )
        assert collected is not None, "nothing stops it"
        yield collected[0]


def sampled_gradients(kind: str, rollout: Rollout, theta: float, behavior: float) -> Array:
    r"""Estimate ∇J from each trajectory of a batch, by this library's estimators.

    .. math:: g_i = \sum_t \nabla_\theta \log \pi_\theta(a_t) \, [w \hat Q]_t

    :param kind: ``"total return"``, ``"reward to go"`` or ``"importance-sampled"``
    :param rollout: Whole episodes
    :param theta: Parameter θ of the policy whose gradient is estimated
    :param behavior: Parameter θ' of the policy that acted
    :return: Estimates, of shape (K,)
    """
    stays = rollout.actions == 0
    to_go = estimators.reward_to_go(rollout.rewards, rollout.ends, gamma=1.0)
    if kind == TO_GO:
        q_hat = to_go
    elif kind == TOTAL:
        q_hat = estimators.total_return(to_go, rollout.trajectory)
    else:
        new, old = (
            importance_weights.log_products("trajectory", _log_pi(stays, x), rollout)
            for x in (theta, behavior)
        )
        log_weights = estimators.log_importance_weights("trajectory", new, old, rollout)
        weights = importance_weights.truncated_weights(log_weights)
        q_hat = importance_weights.weighted_returns(
            "trajectory", weights, to_go, rollout, gamma=1.0, reward_to_go_only=False
        )
    score = np.where(stays, 1 / theta, -1 / (1 - theta))
    gradients = np.zeros(rollout.n_trajectories)
    np.add.at(gradients, rollout.flat(rollout.trajectory), rollout.flat(score * q_hat))
    return gradients


def _log_pi(stays: Array, theta: float) -> Array:
    log_pi: Array = np.array([np.log1p(-theta), np.log(theta)])[stays.astype(int)]
    return log_pi


def disagreements(table: pd.DataFrame, trajectories: int) -> pd.DataFrame:
    """Return the rows whose sampled mean is too far from the exact gradient to be chance.

    :param table: Table of :func:`measure`
    :param trajectories: Number of sampled trajectories
    :return: Rows; those of infinite variance are left out
    """
    error = np.sqrt(table["variance"] / trajectories)
    off = (table["sampled_mean"] - table["mean"]).abs()
    far: pd.DataFrame = table[np.isfinite(table["variance"]) & (off > STANDARD_ERRORS * error)]
    return far


def draw(table: pd.DataFrame, config: Config) -> Figure:
    """Draw exact gradients and variances as lines and the sampled ones as points.

    :param table: Table of :func:`measure`
    :param config: Setting that it was measured in
    :return: Figure
    """
    look = styles(KINDS)
    panels = [_gradient_panel(table, config, look)]
    for process, horizon in config.processes.items():
        drawn = partial(_draw, table[table["process"] == process], config, look, horizon)
        panels.append(Panel(f"Variance, {process}", partial(drawn, "variance"), "θ", "", 2.2))
    return figures.together(panels, look)


def _gradient_panel(table: pd.DataFrame, config: Config, look: Styles) -> Panel:
    (process, horizon), *_ = config.processes.items()
    rows = table[table["process"] == process]
    draw = partial(_draw, rows, config, look, horizon, "mean")
    return Panel(f"Gradient, {process}", draw, "θ", "", 2.2)


def _draw(
    rows: pd.DataFrame,
    config: Config,
    look: Styles,
    horizon: int | None,
    column: str,
    axes: Axes,
) -> Axes:
    at = np.linspace(0.01, 0.99, 197)
    low, high = rows["theta"].min(), rows["theta"].max()
    shown = (at >= low - 0.04) & (at <= high + 0.04)
    for kind, style in look.items():
        exact = [
            getattr(exact_moments(kind, float(x), config.behavior, horizon), column) for x in at
        ]
        _line(axes, at[shown], np.array(exact)[shown], style)
        mine = rows[rows["kind"] == kind]
        finite = mine[np.isfinite(mine["variance"])]
        axes.scatter(finite["theta"], finite[f"sampled_{column}"], s=9, color=style.color, zorder=4)
    axes.set(yscale="log", xlim=(0, 1))
    axes.set_ylim(bottom=max(axes.get_ylim()[0], LEAST))
    return axes


def _line(axes: Axes, x: Array, y: Array, style: Style) -> None:
    known = np.isfinite(y) & (y > 0)
    (line,) = axes.plot(x[known], y[known], color=style.color, linewidth=1.3)
    if style.dash:
        line.set_dashes(style.dash)


def rows_of(table: pd.DataFrame, every: int = 4) -> list[tuple[str, ...]]:
    """Return the cells of the printed table :data:`TABLE`.

    :param table: Table of :func:`measure`
    :param every: Of how many θ one is shown
    :return: Rows
    """
    thetas = sorted(set(table["theta"]))[1::every]
    shown = table[table["theta"].isin(thetas)]
    return [
        (
            row["process"],
            row["kind"],
            f"{row['theta']:g}",
            *(f"{row[name]:.4g}" for name in ("mean", "sampled_mean", "variance")),
            f"{row['sampled_variance']:.4g}" if np.isfinite(row["variance"]) else "—",
        )
        for row in shown.to_dict("records")
    ]


def analyze(
    folder: Path, config: Config | None = None, note: Callable[[str], None] = lambda _: None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure, and write table and figure.

    :param folder: Folder of the results
    :param config: Setting; None for the default one
    :param note: Function that is told what is done
    :return: Table of :func:`measure`, and :func:`disagreements` in it
    :raises UserError: If the folder cannot be written
    """
    config = config or Config()
    check_can_write_into("--results", folder)
    note(f"{config.trajectories:,} trajectories at each of {len(config.thetas)} θ")
    table = measure(config)
    write_whole(folder / "analysis.csv", table.to_csv(index=False, float_format="%.8g"))
    facts = {
        "config": asdict(config),
        "git_commit": code.git_commit(),
        "machine": machine(),
        "versions": code.versions(),
    }
    write_whole(folder / "manifest.json", json.dumps(facts, indent=1) + "\n")
    files.save(draw(table, config), folder / "figures", "analysis")
    return table, disagreements(table, config.trajectories)
