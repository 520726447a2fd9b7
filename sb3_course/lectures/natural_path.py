r"""Parameter distance against KL: vanilla and natural gradient in the lecture's example.

The policy :math:`a \sim \mathcal{N}(k s, \sigma^2)` on s' = s + a has two parameters, k and log σ
(CS285 lecture 5, "natural gradient"; Peters and Schaal 2008). Its expected return, gradient and
Fisher information are known exactly, so the whole parameter plane can be drawn:

.. math:: \text{vanilla, choosing } \alpha: \; \Delta\theta = \alpha g \qquad
    \text{natural, choosing } \epsilon: \; \Delta\theta = \beta F^{-1} g, \;
    \beta = \sqrt{2 \epsilon / g^\top F^{-1} g}

The Fisher information and the steps are computed by :mod:`.estimators.natural_gradient`. The exact
paths are compared with those of ``REINFORCE`` (with plain gradient steps) and ``NPG``, which use
samples only.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch as th
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sb3_course import NPG, REINFORCE
from sb3_course.benchmark.reporting.drawing.files import PAGE, style
from sb3_course.common.policy_gradient import PolicyGradientAlgorithm
from sb3_course.envs.lecture_worlds import LectureWorld
from sb3_course.estimators import natural_gradient
from sb3_course.lectures.gradients.gaussian import (
    exact_gradient,
    natural_step,
    policy_on,
    with_theta,
)
from sb3_course.lectures.toolkit import (
    FONT_SCALE,
    Conclusion,
    Note,
    collect,
    colors,
    legend,
    make,
    panel_title,
    silent,
    track,
)

TITLE = "Parameter distance against KL"
CLAIM = (
    "With a chosen step size α, the change of the policy in an update depends strongly on the "
    "current parameters; the natural gradient with a chosen KL ε changes it by nearly the same "
    "amount in every update and reaches the optimum in fewer steps. At a small σ the vanilla "
    "gradient hardly changes σ."
)
EQUATION = (
    r"$\Delta\theta = \alpha\, g \quad\mathrm{against}\quad \Delta\theta = "
    r"\sqrt{2\epsilon / g^\top F^{-1} g}\;F^{-1} g$"
)
CAPTION = (
    "Policy a ~ N(ks, σ²) on s' = s + a, reward −s² − 0.01a². Top: direction of the exact "
    "gradients over the parameter plane (arrows of equal length; shade: expected return, with the "
    "optimum at the cross, σ → 0), exact paths (line) and paths of this library's classes from "
    "samples (dots, one path per seed). Bottom: distance from the optimal return and KL of each "
    "step along the exact paths; its length is chosen by the KL's second order. These numbers are "
    "exact and have no intervals."
)
KINDS = ("vanilla, choosing α", "natural, choosing α", "vanilla, choosing ε", "natural, choosing ε")
VANILLA, NATURAL_ALPHA, VANILLA_KL, NATURAL = KINDS


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Seed of the first sampled path; the others have the following seeds
    :param n_seeds: Number of sampled paths per class
    :param horizon: Number of steps of an episode
    :param start: Initial k and log σ
    :param target_kl: KL ε of a step in nats; α is chosen such that the first step has this KL
    :param n_updates: Number of steps of the exact paths
    :param n_sampled: Number of steps of the sampled paths
    :param n_episodes: Number of episodes in each batch of the sampled paths
    :param grid: Number of arrows along an axis
    """

    seed: int = 0
    n_seeds: int = 3
    horizon: int = 10
    start: tuple[float, float] = (-0.4, -1.5)
    target_kl: float = 0.01
    n_updates: int = 300
    n_sampled: int = 60
    n_episodes: int = 200
    grid: int = 13


QUICK = Config(n_seeds=1, n_updates=200, n_sampled=30)
FLOOR = 1e-2
GAP = 0.1
"""Distance from the best return at which updates are counted."""
K_RANGE, LOG_STD_RANGE = (-1.9, -0.1), (-2.6, 0.2)


def field(config: Config, world: LectureWorld) -> pd.DataFrame:
    """Compute both gradients over the parameter plane.

    :param config: Settings
    :param world: World
    :return: Rows of :func:`measure`'s table
    """
    rows = []
    model = policy_on(world, th.tensor(config.start))
    for k in np.linspace(*K_RANGE, config.grid):
        for log_std in np.linspace(*LOG_STD_RANGE, config.grid):
            theta = th.tensor([k, log_std], dtype=th.float64)
            objective, gradient = exact_gradient(world, theta)
            natural = natural_step(model, world, theta, gradient)
            for kind, arrow in ((VANILLA, gradient), (NATURAL, natural)):
                rows.append(("field", kind, 0, 0, k, log_std, objective, 0.0, *arrow.tolist()))
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = ["part", "kind", "seed", "update", "k", "log_std", "objective", "kl", "dk", "dlog_std"]


def exact_path(config: Config, world: LectureWorld, kind: str) -> pd.DataFrame:
    """Climb along an exact gradient by one of four rules.

    :param config: Settings
    :param world: World
    :param kind: One of :data:`KINDS`
    :return: Rows of :func:`measure`'s table
    """
    theta, rows, alpha = th.tensor(config.start, dtype=th.float64), [], 0.0
    model = policy_on(world, theta)
    for update in range(config.n_updates):
        objective, gradient = exact_gradient(world, theta)
        direction = gradient
        if kind in (NATURAL, NATURAL_ALPHA):
            direction = natural_step(model, world, theta, gradient).double()
        curvature = (direction @ world.fisher(theta[0], theta[1]) @ direction).item()
        length = natural_gradient.step_length(config.target_kl, curvature)
        if kind in (VANILLA, NATURAL_ALPHA):
            alpha = length = alpha or length
        step = length * direction
        kl = kl_of_step(world, theta, step)
        rows.append(("path", kind, 0, update, *theta.tolist(), objective, kl, *step.tolist()))
        theta = theta + step
    return pd.DataFrame(rows, columns=COLUMNS)


def kl_of_step(world: LectureWorld, theta: th.Tensor, step: th.Tensor) -> float:
    r"""Compute the mean KL from the policy to that after a step, over the policy's own states.

    .. math:: \log \frac{\sigma'}{\sigma} + \frac{\sigma^2 + (k' - k)^2 \bar m}{2 \sigma'^2}
        - \frac{1}{2}

    :param world: World
    :param theta: k and log σ
    :param step: Their change
    :return: KL in nats
    """
    k, log_std = theta.detach()
    dk, dlog_std = step.tolist()
    variance = (2 * log_std).exp()
    moment = world.second_moments(k, log_std).mean()
    after = variance * np.exp(2 * dlog_std)
    return float(dlog_std + (variance + dk**2 * moment) / (2 * after) - 0.5)


def sampled_path(config: Config, kind: str, seed: int, alpha: float) -> pd.DataFrame:
    """Climb with one of the library's classes, which uses samples only.

    :param config: Settings
    :param kind: :data:`VANILLA` for ``REINFORCE`` with plain gradient steps, :data:`NATURAL` for
        ``NPG``
    :param seed: Seed of the run
    :param alpha: Step size of the vanilla gradient
    :return: Rows of :func:`measure`'s table
    """
    world = LectureWorld(config.n_episodes, config.horizon)
    nets = {"net_arch": {"pi": [], "vf": [32]}}
    model: PolicyGradientAlgorithm
    if kind == VANILLA:  # its gradient is per step, J is per episode
        plain = nets | {"optimizer_class": th.optim.SGD}
        model = make(
            REINFORCE, world, seed, n_episodes=config.n_episodes, baseline="mean",
            learning_rate=alpha * config.horizon, policy_kwargs=plain,
        )  # fmt: skip
    else:
        model = make(
            NPG, world, seed, n_steps=config.horizon, target_kl=config.target_kl, gae_lambda=1.0,
            cg_damping=1e-3, learning_rate=1e-2, policy_kwargs=nets,
        )  # fmt: skip
    with_theta(model, th.tensor(config.start))
    rows = []
    for update in range(config.n_sampled):
        theta = natural_gradient.flatten(model.actor_parameters).detach().double()
        objective, gradient = exact_gradient(world, theta)
        rows.append(
            ("sampled", kind, seed, update, *theta.tolist(), objective, 0.0, *gradient.tolist())
        )
        collect(model)
        model.train()
    return pd.DataFrame(rows, columns=COLUMNS)


def measure(config: Config, note: Note = silent) -> pd.DataFrame:
    """Compute the field, the exact paths and the sampled paths.

    :param config: Settings
    :param note: Function that is called with the progress
    :return: Table with ``part, kind, seed, update, k, log_std, objective, kl, dk, dlog_std``; the
        last two are the gradient (``field``, ``sampled``) or the step (``path``)
    """
    world = LectureWorld(1, config.horizon)
    note(0, 1, "field and exact paths")
    paths = {kind: exact_path(config, world, kind) for kind in KINDS}
    first = paths[VANILLA].iloc[0]
    _, gradient = exact_gradient(world, th.tensor(config.start))
    alpha = float(np.hypot(first["dk"], first["dlog_std"]) / gradient.norm())
    runs = [(kind, config.seed + i) for i in range(config.n_seeds) for kind in (VANILLA, NATURAL)]
    sampled = [
        sampled_path(config, kind, seed, alpha)
        for kind, seed in track(runs, note, lambda run: f"{run[0]}, seed {run[1]}")
    ]
    return pd.concat([field(config, world), *paths.values(), *sampled], ignore_index=True)


def regret(path: pd.DataFrame) -> "pd.Series[float]":
    """Compute each point's distance from the highest expected return on any path.

    :param path: Rows of the exact paths
    :return: Differences of expected returns
    """
    distance: pd.Series[float] = path["objective"].max() - path["objective"]
    return distance


def _plane(axes: Axes, table: pd.DataFrame, kind: str, color: tuple[float, float, float]) -> None:
    part = table[table["kind"] == kind]
    grid = part[part["part"] == "field"]
    size = int(np.sqrt(len(grid)))
    k, log_std, objective, dk, dl = (
        grid[name].to_numpy().reshape(size, size)
        for name in ("k", "log_std", "objective", "dk", "dlog_std")
    )
    axes.contourf(k, log_std, -np.log(-objective), levels=12, cmap="Greys_r", alpha=0.45)
    norm = np.hypot(dk, dl)
    axes.quiver(k, log_std, dk / norm, dl / norm, angles="xy", scale=22, width=0.004, color="0.25")
    path = part[part["part"] == "path"]
    axes.plot(path["k"], path["log_std"], color=color, linewidth=1.8)
    dots = part[part["part"] == "sampled"]
    axes.scatter(dots["k"], dots["log_std"], s=5, color=color, linewidth=0, alpha=0.7)
    axes.plot(path["k"].iloc[0], path["log_std"].iloc[0], "o", ms=5, color=color, mec="white")
    axes.plot(-1 / 1.01, LOG_STD_RANGE[0] + 0.08, "x", ms=6, color="black")
    axes.set(xlim=K_RANGE, ylim=LOG_STD_RANGE, xlabel="k", ylabel="log σ")
    axes.grid(visible=False)


def draw(table: pd.DataFrame) -> Figure:
    """Draw both fields with their paths, and the regret and KL of the steps.

    :param table: Table of :func:`measure`
    :return: Figure
    """
    palette = colors(KINDS)
    with style(FONT_SCALE):
        figure = Figure(figsize=(PAGE, 5.4), layout="constrained")
        panels = figure.subplots(2, 2, height_ratios=[1.25, 1])
        for axes, kind in zip(panels[0], (VANILLA, NATURAL), strict=True):
            _plane(axes, table, kind, palette[kind])
            panel_title(axes, kind.split(",")[0].capitalize() + " gradient")
        path = table[table["part"] == "path"]
        path = path.assign(regret=regret(path))
        for kind in KINDS:
            part = path[path["kind"] == kind]
            for axes, y in zip(panels[1], ("regret", "kl"), strict=True):
                dashes = (4, 2) if kind in (NATURAL, NATURAL_ALPHA) else (1, 0)
                axes.plot(part["update"], part[y], color=palette[kind], dashes=dashes)
                axes.set(yscale="log", xlabel="Update")
        panels[1][0].set(ylabel="Best return − return", ylim=(FLOOR, None))
        panels[1][1].set_ylabel("KL of the step (nats)")
        panel_title(panels[1][0], "Distance from the optimum")
        panel_title(panels[1][1], "Change of the policy in a step")
        dots = Line2D([], [], color="0.3", marker="o", ms=3, linewidth=0, label="from samples")
        legend(figure, palette, 3, [dots])
    return figure


def updates_to(path: pd.DataFrame, gap: float) -> dict[str, float]:
    """Count the updates until the return is within a given distance from the best.

    :param path: Rows of the exact paths
    :param gap: Distance from the best return
    :return: Number of updates by kind; the path's length if the distance is never reached
    """
    path = path.assign(regret=regret(path))
    return {
        str(kind): float((part["regret"] > gap).sum())
        for kind, part in path.groupby("kind", sort=False)
    }


def tilts(table: pd.DataFrame) -> dict[str, float]:
    """Compute the median of |Δ log σ / Δk| of both gradients at the smallest σ.

    :param table: Table of :func:`measure`
    :return: Median over k, by kind
    """
    arrows = table[table["part"] == "field"]
    row = arrows[arrows["log_std"] == arrows["log_std"].min()]
    ratio = (row["dlog_std"] / row["dk"]).abs()
    return {str(kind): float(value) for kind, value in ratio.groupby(row["kind"]).median().items()}


def conclude(table: pd.DataFrame) -> Conclusion:
    """Conclude how many updates each rule needs, and how much its steps change the policy.

    :param table: Table of :func:`measure`
    :return: Sentence, whether the claim holds, and its numbers
    """
    path = table[table["part"] == "path"]
    needed, kl = updates_to(path, GAP), path.groupby("kind")["kl"]
    spread = {kind: kl.get_group(kind).max() / kl.get_group(kind).min() for kind in KINDS}
    length, epsilon = path["update"].max() + 1, kl.get_group(NATURAL).iloc[0]
    tilt = tilts(table)
    counts = [needed[kind] for kind in (NATURAL, VANILLA_KL, NATURAL_ALPHA, VANILLA)]
    shown = [f"{n:.0f}" if n < length else f"more than {length}" for n in counts]
    return Conclusion(
        f"With steps of {epsilon:.2g} nats each, it takes {shown[0]} updates along the natural "
        f"gradient and {shown[1]} along the vanilla gradient to come within {GAP} of the best "
        f"return; with the constant α that makes the first step this large, it takes {shown[2]} "
        f"and {shown[3]}. With this α the KL of a vanilla step varies along the path by a factor "
        f"of {spread[VANILLA]:,.0f}, that of a natural step by a factor of "
        f"{spread[NATURAL_ALPHA]:,.0f}. At log σ = {LOG_STD_RANGE[0]:g} the vanilla gradient "
        f"changes log σ by {tilt[VANILLA]:.2g} per unit of k, the natural gradient by "
        f"{tilt[NATURAL]:.2g} (medians over k).",
        bool(
            needed[NATURAL] <= needed[VANILLA_KL] < 0.5 * needed[VANILLA]
            and spread[VANILLA] > 100 > 1.2 > spread[NATURAL]
            and tilt[NATURAL] > 5 * tilt[VANILLA]
        ),
        {
            **{f"updates, {kind}": needed[kind] for kind in KINDS},
            **{f"spread of the KL, {kind}": float(spread[kind]) for kind in KINDS},
            **{f"move of log σ over that of k at small σ, {kind}": tilt[kind] for kind in tilt},
        },
    )
