r"""What F⁻¹ itself does: the same policies in well-scaled and in badly scaled parameters.

A policy with parameters θ = Sψ is the same policy whatever the scales S are, but its gradient in ψ
is not the same direction (Amari 1998; Kakade 2002; CS285 lecture 5, "natural gradient"):

.. math:: \Delta\theta_{vanilla} \propto S S^\top g \qquad
    \Delta\theta_{natural} \propto S (S^\top F S)^{-1} S^\top g = F^{-1} g

Both climb here with steps of the same KL, along exact gradients with exact Fisher matrices: those
of the lecture's Gaussian policy, whose k is measured in another unit, and those of softmax policies
on tabular MDPs, whose features have scales from 1 to c.
"""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import pandas as pd
import torch as th
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sb3_course.benchmark.reporting.drawing.files import PAGE, style
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.envs.lecture_worlds import LectureWorld
from sb3_course.estimators import natural_gradient
from sb3_course.lectures.gradients.gaussian import exact_gradient
from sb3_course.lectures.toolkit import (
    FONT_SCALE,
    Conclusion,
    Note,
    Palette,
    colors,
    legend,
    panel_title,
    silent,
    track,
)

TITLE = "What the inverse Fisher matrix itself does"
CLAIM = (
    "At an equal KL per step the natural gradient takes the same path whatever the parameters' "
    "scales are; the vanilla gradient is as fast where they are alike, and many times slower where "
    "they differ."
)
EQUATION = (
    r"$\theta = S\psi: \quad S\,F_\psi^{-1} g_\psi = F_\theta^{-1} g_\theta "
    r"\quad\mathrm{but}\quad S\,g_\psi = S S^T g_\theta$"
)
CAPTION = (
    "Updates until nine tenths of the possible gain are reached, by the scale of the parameters, "
    "with the same KL in every step; at the top, not within the updates that were made. Left: the "
    "lecture's policy a ~ N(ks, σ²), with k = cκ and κ as the parameter. Middle: softmax policies "
    "on tabular MDPs whose features have scales from 1 to c; median and range over MDPs. Right: "
    "distance from the best return of the left policy at c = 1 (solid) and the largest c (dashed). "
    "Exact gradients and Fisher matrices: there are no samples and no intervals. Damping adds λ to "
    "the Fisher matrix's diagonal, as NPG does."
)
KINDS = ("vanilla", "natural", "natural, damped")
VANILLA, NATURAL, DAMPED = KINDS
GAUSSIAN, SOFTMAX = "Gaussian", "softmax"


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Seed of the first MDP and its features; the others have the following seeds
    :param n_mdps: Number of tabular MDPs
    :param scales: Scales c
    :param target_kl: KL ε of every step, in nats
    :param damping: Damping λ of the damped natural gradient
    :param gain: Fraction of the possible gain at which updates are counted
    :param n_updates: Number of steps of each path
    :param start: Initial k and log σ
    :param horizon: Number of steps of an episode
    :param n_states: Number of states of an MDP, and of features
    :param n_actions: Number of actions of an MDP
    """

    seed: int = 0
    n_mdps: int = 10
    scales: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0, 100.0)
    target_kl: float = 0.01
    damping: float = 0.1
    gain: float = 0.9
    n_updates: int = 300
    start: tuple[float, float] = (-0.4, -1.5)
    horizon: int = 10
    n_states: int = 5
    n_actions: int = 3


QUICK = Config(n_mdps=2, n_updates=150)
COLUMNS = ["part", "problem", "mdp", "scale", "kind", "update", "value"]


class Problem(Protocol):
    """A policy with parameters ψ of length P, all of whose expectations are known."""

    def start(self) -> th.Tensor:
        """Return the initial ψ, of shape (P,)."""
        ...

    def at(self, psi: th.Tensor) -> tuple[float, th.Tensor, th.Tensor]:
        """Return J, its gradient of shape (P,) and the Fisher matrix of shape (P, P)."""
        ...


class Gaussian:
    """The lecture's policy N(k s, σ²) with ψ = (k / c, log σ).

    :param config: Settings
    :param scale: Scale c
    """

    def __init__(self, config: Config, scale: float) -> None:
        self._world = LectureWorld(1, config.horizon)
        self._scales = th.tensor([scale, 1.0], dtype=th.float64)
        self._start = th.tensor(config.start, dtype=th.float64)

    def start(self) -> th.Tensor:
        """Return the initial ψ, which stands for the same policy at every scale."""
        return self._start / self._scales

    def at(self, psi: th.Tensor) -> tuple[float, th.Tensor, th.Tensor]:
        """Return J, S g and S F S at θ = Sψ."""
        theta = self._scales * psi
        objective, gradient = exact_gradient(self._world, theta)
        fisher = self._world.fisher(theta[0], theta[1])
        return objective, self._scales * gradient, self._scales * fisher * self._scales[:, None]


class Softmax:
    r"""A softmax policy on a tabular MDP, with logits Φψ, ψ of shape (S, A).

    The features Φ are the columns of an orthogonal matrix, with scales from 1 to c.

    .. math:: \frac{\partial J}{\partial z_{sa}} = \sum_t p_t(s) \pi(a|s) (Q_t(s, a) - V_t(s))
        \qquad F_z = \bar p(s) (\operatorname{diag} \pi_s - \pi_s \pi_s^\top)

    :param config: Settings
    :param scale: Scale c
    :param mdp: Number of the MDP
    """

    def __init__(self, config: Config, scale: float, mdp: int) -> None:
        seed, n = config.seed + mdp, config.n_states
        self._world = TabularMDP(1, seed, config.horizon, n, config.n_actions)
        directions, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))
        self._features = directions * np.geomspace(1.0, scale, n)
        self._shape = n, config.n_actions

    def start(self) -> th.Tensor:
        """Return ψ = 0, the uniform policy."""
        return th.zeros(np.prod(self._shape).item(), dtype=th.float64)

    def at(self, psi: th.Tensor) -> tuple[float, th.Tensor, th.Tensor]:
        """Return J, Φᵀ ∂J/∂z and Φᵀ F_z Φ."""
        logits = th.from_numpy(self._features) @ psi.view(self._shape)
        p = logits.softmax(dim=1).numpy()
        q, v = self._world.action_values(p)
        visits, eye = self._world.visits(p), np.eye(self._shape[1])
        of_logits = (visits[:, :, None] * p * (q - v[:-1, :, None])).sum(axis=0)
        blocks = p[:, None, :] * eye - p[:, :, None] * p[:, None, :]
        blocks *= visits.mean(axis=0)[:, None, None]
        fisher = np.einsum("si,sab,sj->iajb", self._features, blocks, self._features)
        gradient = (self._features.T @ of_logits).ravel()
        size = len(gradient)
        matrix = th.from_numpy(fisher.reshape(size, size))
        return float(self._world.start @ v[0]), th.from_numpy(gradient), matrix


def path(problem: Problem, kind: str, config: Config) -> list[float]:
    """Climb with steps of the same KL.

    :param problem: Policy
    :param kind: One of :data:`KINDS`
    :param config: Settings
    :return: J before each step
    """
    psi, objectives = problem.start(), []
    for _ in range(config.n_updates):
        objective, gradient, fisher = problem.at(psi)
        objectives.append(objective)
        direction = gradient
        if kind != VANILLA:
            damping = config.damping if kind == DAMPED else 0.0
            product = partial(th.mv, fisher + damping * th.eye(len(psi), dtype=th.float64))
            steps = 5 * len(psi)  # more than P, as rounding costs some
            direction = natural_gradient.conjugate_gradient(product, gradient, steps, 1e-9).x
        curvature = (direction @ fisher @ direction).item()
        psi = psi + natural_gradient.step_length(config.target_kl, curvature) * direction
    return objectives


def measure(config: Config, note: Note = silent) -> pd.DataFrame:
    """Climb in every problem, at every scale, by every kind of step.

    :param config: Settings
    :param note: Function that is called with the progress
    :return: Table with :data:`COLUMNS`; ``value`` is the number of updates (``count``) or the
        distance from the best return (``path``, of the Gaussian policy at two scales)
    :raises ValueError: The scales lack 1, with which the others are compared
    """
    if 1.0 not in config.scales:
        raise ValueError(f"scales: given {config.scales}; allowed: those with 1.0 among them")
    rows = []
    problems = [(GAUSSIAN, 0), *((SOFTMAX, mdp) for mdp in range(config.n_mdps))]
    for name, mdp in track(problems, note, lambda item: f"{item[0]} policy"):
        paths = {}
        for scale in config.scales:
            problem = Gaussian(config, scale) if name == GAUSSIAN else Softmax(config, scale, mdp)
            for kind in KINDS:
                paths[scale, kind] = np.array(path(problem, kind, config))
        best = max(objectives.max() for objectives in paths.values())
        for (scale, kind), objectives in paths.items():
            regrets = best - objectives
            far = regrets > (1 - config.gain) * regrets[0]
            count = len(far) if far.all() else int(far.argmin())
            rows.append(("count", name, mdp, scale, kind, count, float(count)))
            if name == GAUSSIAN and scale in (1.0, max(config.scales)):
                rows += [
                    ("path", name, mdp, scale, kind, update, float(regret))
                    for update, regret in enumerate(regrets)
                ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _counts(axes: Axes, rows: pd.DataFrame, palette: Palette, title: str) -> None:
    for kind, color in palette.items():
        by_scale = rows[rows["kind"] == kind].groupby("scale")["value"]
        order = 3 if kind == NATURAL else 2  # above the damped one, which is often the same
        axes.plot(by_scale.median(), color=color, marker="o", ms=3, zorder=order)
        axes.fill_between(
            by_scale.min().index, by_scale.min(), by_scale.max(), color=color, alpha=0.12
        )
    axes.set(xscale="log", yscale="log", xlabel="Scale c", ylabel="Updates")
    panel_title(axes, title)


def draw(table: pd.DataFrame) -> Figure:
    """Draw the updates by scale of both problems, and the paths of one.

    :param table: Table of :func:`measure`
    :return: Figure
    """
    palette = colors(KINDS)
    counts, paths = (table[table["part"] == part] for part in ("count", "path"))
    with style(FONT_SCALE):
        figure = Figure(figsize=(PAGE, 2.9), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        _counts(left, counts[counts["problem"] == GAUSSIAN], palette, "Gaussian policy")
        _counts(middle, counts[counts["problem"] == SOFTMAX], palette, "Softmax policies")
        for scale, line in ((1.0, "-"), (paths["scale"].max(), "--")):
            for kind, color in palette.items():
                mine = paths[(paths["scale"] == scale) & (paths["kind"] == kind)]
                right.plot(mine["update"], mine["value"], color=color, linestyle=line)
        right.set(xscale="symlog", yscale="log", xlabel="Update", ylabel="Best return − return")
        right.set_ylim(1e-3, None)
        panel_title(right, "Gaussian policy")
        dashed = Line2D([], [], color="0.3", linestyle="--", label="at right: the largest c")
        legend(figure, palette, 4, [dashed])
    return figure


def conclude(table: pd.DataFrame) -> Conclusion:
    """Conclude how the number of updates depends on the parameters' scales.

    :param table: Table of :func:`measure`
    :return: Sentence, whether the claim holds, and its numbers
    """
    counts = table[table["part"] == "count"]
    cap = table.loc[table["part"] == "path", "update"].max() + 1
    groups = counts.groupby(["problem", "scale", "kind"])["value"]
    median, unfinished = groups.median(), groups.agg(lambda updates: int((updates >= cap).sum()))
    scales = sorted(counts["scale"].unique())
    low, high = scales[0], scales[-1]

    def said(problem: str, kind: str, scale: float) -> str:
        at = (problem, scale, kind)
        if median[at] >= cap:
            return f"more than {cap:.0f}"
        late = f" ({unfinished[at]} of them more than {cap:.0f})" if unfinished[at] else ""
        return f"{median[at]:.3g}{late}"

    problems = (GAUSSIAN, SOFTMAX)
    natural = {p: [median[p, c, NATURAL] for c in scales] for p in problems}
    ill = {p: max(median[p, low, VANILLA], median[p, high, VANILLA]) for p in problems}
    alike = all(median[p, 1.0, VANILLA] < 1.25 * median[p, 1.0, NATURAL] for p in problems)
    slower = any(median[p, low, DAMPED] > 1.25 * median[p, low, NATURAL] for p in problems)
    cost = "gives some of it away" if slower else "gives little of it away"
    return Conclusion(
        f"With parameters of one scale it takes {said(GAUSSIAN, NATURAL, 1.0)} natural and "
        f"{said(GAUSSIAN, VANILLA, 1.0)} vanilla updates of the Gaussian policy, and "
        f"{said(SOFTMAX, NATURAL, 1.0)} and {said(SOFTMAX, VANILLA, 1.0)} of the softmax policies "
        f"(medians over MDPs): F⁻¹ gains {'nothing' if alike else 'something'} there. "
        f"At a scale of {high:g} it takes "
        f"{said(GAUSSIAN, NATURAL, high)} and {said(GAUSSIAN, VANILLA, high)}, and "
        f"{said(SOFTMAX, NATURAL, high)} and {said(SOFTMAX, VANILLA, high)}; at {low:g}, "
        f"{said(GAUSSIAN, NATURAL, low)} and {said(GAUSSIAN, VANILLA, low)}, and "
        f"{said(SOFTMAX, NATURAL, low)} and {said(SOFTMAX, VANILLA, low)}. Damping {cost} "
        f"where parameters are small: at {low:g} the damped steps are "
        f"{said(GAUSSIAN, DAMPED, low)} and {said(SOFTMAX, DAMPED, low)}.",
        all(
            max(natural[p]) - min(natural[p]) <= 1 and ill[p] > 3 * max(natural[p])
            for p in problems
        )
        and alike,
        {
            f"updates, {problem}, scale {scale:g}, {kind}": float(median[problem, scale, kind])
            for problem in problems
            for scale in scales
            for kind in KINDS
        },
    )
