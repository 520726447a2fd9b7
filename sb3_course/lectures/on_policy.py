r"""Why policy gradient must be on-policy, and what importance sampling costs.

The gradient is an expectation under the policy itself. After the first step on a batch it no longer
is, unless the samples from π' are reweighted by ρ_t = π_θ(a_t|s_t) / π'(a_t|s_t) (CS285 lecture 5,
"off-policy policy gradients"):

.. math:: \nabla J(\theta) = E_{\tau \sim \pi'} \left[ \sum_t \nabla \log \pi_\theta(a_t|s_t)
    \left( \prod_{t' \le t} \rho_{t'} \right) \sum_{t' \ge t} r_{t'}
    \prod_{t''=t+1}^{t'} \rho_{t''} \right]

The cost is the variance of the weights, which for products grows exponentially with their length:

.. math:: E[w] = 1 \qquad \frac{ESS}{n} = \frac{(\sum w)^2}{n \sum w^2} \to
    \frac{1}{1 + \operatorname{Var} w}

Without weights the steps maximize :math:`E_{\pi'} [\sum_t \log \pi_\theta(a_t|s_t) \hat Q_t]`, a
likelihood weighted by the returns of π'. If rewards are positive, its maximum is π' itself, moved
slightly towards actions with high returns, however large the batch is. (No baseline is used here,
because it would change where these steps end: without the correct weights a baseline is biased.)

``REINFORCE`` (without weights) and ``ISPG`` (with each of its ratios) take the steps; the weights
are :func:`~sb3_course.estimators.importance_weights.log_importance_weights`. Returns are exact.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch as th
from matplotlib.figure import Figure

from sb3_course import ISPG, REINFORCE, estimators
from sb3_course.benchmark.reporting.drawing.files import PAGE, style
from sb3_course.collection.observations import Array
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.estimators import natural_gradient
from sb3_course.ispg import RATIOS
from sb3_course.lectures.toolkit import (
    FONT_SCALE,
    Conclusion,
    Note,
    collect,
    colors,
    curve,
    legend,
    make,
    panel_title,
    silent,
    track,
)

TITLE = "Why policy gradient must be on-policy"
CLAIM = (
    "Steps on a batch that another policy collected maximize the wrong objective; importance "
    "weights correct this at the cost of a variance that grows with the horizon and with the KL "
    "between the policies: fastest for the product over the trajectory, slowest for a single "
    "step's ratio."
)
EQUATION = (
    r"$\rho_t = \pi_\theta(a_t|s_t) \,/\, \pi^{\prime}(a_t|s_t) \qquad "
    r"ESS/n \rightarrow 1 \,/\, (1 + \mathrm{Var}\, w)$"
)
CAPTION = (
    "Tabular MDP. Left: exact expected return after k steps on the same batch, and with a new "
    "batch for each step; mean over seeds with 95% bootstrap interval over seeds. Middle and "
    "right: effective sample size (fraction of the sample) and variance of the weights, from "
    "samples, against the horizon and against the KL per step; mean over seeds with 95% bootstrap "
    "interval over seeds; for per-decision weights the mean over the steps of an episode. No "
    "baseline."
)
UNCORRECTED, FRESH = "no weight", "fresh batches"
REUSE = (UNCORRECTED, *RATIOS, FRESH)
WEIGHTED = ("trajectory", "per_decision", "step")


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Seed of the first repetition; the others have the following seeds
    :param n_seeds: Number of repetitions
    :param n_steps: Largest number of steps k on a batch
    :param n_episodes: Number of episodes of a batch
    :param horizon: Number of steps of an episode when batches are reused
    :param learning_rate: Step size of plain gradient steps
    :param n_weights: Number of episodes from which weights are computed
    :param horizons: Horizons of the middle panels
    :param kl: Mean KL per step in the middle panels, in nats
    :param kls: KLs of the right panels
    :param kl_horizon: Horizon of the right panels
    """

    seed: int = 0
    n_seeds: int = 20
    n_steps: int = 40
    n_episodes: int = 400
    horizon: int = 5
    learning_rate: float = 0.3
    n_weights: int = 5000
    horizons: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    kl: float = 0.03
    kls: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    kl_horizon: int = 8


QUICK = Config(n_seeds=6, n_weights=2000, horizons=(1, 2, 4, 8, 16))


class WatchedISPG(ISPG):
    """ISPG with a callback after each step.

    :cvar watch: Function that is called after each step
    """

    watch: Callable[[], None]

    def ascend(self, gradient: th.Tensor) -> None:
        """See :class:`~sb3_course.common.policy_gradient.PolicyGradientAlgorithm`."""
        super().ascend(gradient)
        self.watch()


def reuse(config: Config, kind: str, seed: int) -> list[float]:
    """Take k steps on one batch and compute the exact expected return before and after each.

    :param config: Settings
    :param kind: One of :data:`REUSE`
    :param seed: Seed of the batch
    :return: Expected returns
    """
    world = TabularMDP(config.n_episodes, horizon=config.horizon, n_states=5, n_actions=3)
    corrected = {"ratio": kind, "n_epochs": config.n_steps, "min_ess": 0.0}
    policy = {"net_arch": [], "optimizer_class": th.optim.SGD}
    model = make(
        WatchedISPG if kind in RATIOS else REINFORCE,
        world,
        seed,
        n_episodes=config.n_episodes,
        learning_rate=config.learning_rate,
        baseline=None,
        policy_kwargs=policy,
        **(corrected if kind in RATIOS else {}),
    )
    natural_gradient.assign(model.actor_parameters, th.zeros(5 * 3 + 3))
    returns = [world.objective(world.probs(model.policy))]

    def watch() -> None:
        returns.append(world.objective(world.probs(model.policy)))

    collect(model)
    if isinstance(model, WatchedISPG):
        model.watch = watch
        model.train()
        return returns
    for _ in range(config.n_steps):
        model.train()
        watch()
        if kind == FRESH:
            collect(model)
    return returns


def apart(world: TabularMDP, model: REINFORCE, kl: float, seed: int) -> th.Tensor:
    """Find parameters θ with a given mean KL from the model's policy, in a random direction.

    :param world: MDP
    :param model: Model with the policy π'
    :param kl: Mean KL(π' ‖ π_θ) over the steps of an episode, in nats
    :param seed: Seed of the direction
    :return: Parameters θ, of shape (P,)
    """
    start = natural_gradient.flatten(model.actor_parameters).detach().clone()
    direction = th.randn(len(start), generator=th.Generator().manual_seed(seed))
    probs = world.probs(model.policy)
    visits = world.visits(probs).mean(axis=0)

    def distance(length: float) -> float:
        natural_gradient.assign(model.actor_parameters, start + length * direction)
        log_ratio = np.log(probs / world.probs(model.policy))
        return float((visits[:, None] * probs * log_ratio).sum())

    low, high = 0.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if distance(middle) < kl else (low, middle)
    natural_gradient.assign(model.actor_parameters, start)
    return start + low * direction


def weights(horizon: int, kl: float, n_episodes: int, seed: int) -> dict[str, list[Array]]:
    """Sample importance weights of each kind.

    :param horizon: Number of steps of an episode
    :param kl: Mean KL per step, in nats
    :param n_episodes: Number of episodes
    :param seed: Seed of episodes and policies
    :return: For each of :data:`WEIGHTED`, samples of the weight: of the trajectory, of each step's
        prefix, or of all steps
    """
    world = TabularMDP(n_episodes, horizon=horizon, n_states=5, n_actions=3)
    model = make(ISPG, world, seed, n_episodes=n_episodes, baseline=None)
    theta = apart(world, model, kl, seed)
    rollout = collect(model)
    behavior = rollout.spread(model.log_probs(*model.tensors(rollout)).numpy())
    natural_gradient.assign(model.actor_parameters, theta)
    target = rollout.spread(model.log_probs(*model.tensors(rollout)).numpy())
    found = {}
    for ratio in WEIGHTED:
        new, old = (estimators.log_products(ratio, p, rollout) for p in (target, behavior))
        found[ratio] = np.exp(estimators.log_importance_weights(ratio, new, old, rollout))
    return {
        "trajectory": [found["trajectory"][0]],
        "per_decision": list(found["per_decision"]),
        "step": [found["step"].ravel()],
    }


def measure(config: Config, note: Note = silent) -> pd.DataFrame:
    """Compute returns with reused batches, and the variance of weights.

    :param config: Settings
    :param note: Function that is called with the progress
    :return: Table with ``part, kind, seed, x, value``; ``part`` is ``return`` (x: k),
        ``ess_horizon``, ``variance_horizon`` (x: horizon), ``ess_kl`` or ``variance_kl`` (x: KL per
        step in nats)
    """
    rows: list[tuple[str, str, int, float, float]] = []
    seeds = range(config.seed, config.seed + config.n_seeds)
    for seed in track(seeds, note, lambda seed: f"seed {seed}"):
        for kind in REUSE:
            for k, value in enumerate(reuse(config, kind, seed)):
                rows.append(("return", kind, seed, k, value))
        settings = [("horizon", float(h), h, config.kl) for h in config.horizons]
        settings += [("kl", kl, config.kl_horizon, kl) for kl in config.kls]
        for against, x, horizon, kl in settings:
            for kind, samples in weights(horizon, kl, config.n_weights, seed).items():
                size = float(np.mean([estimators.effective_sample_size(w) for w in samples]))
                variance = float(np.mean([w.var() for w in samples]))
                rows.append((f"ess_{against}", kind, seed, x, size))
                rows.append((f"variance_{against}", kind, seed, x, variance))
    return pd.DataFrame(rows, columns=["part", "kind", "seed", "x", "value"])


def draw(table: pd.DataFrame) -> Figure:
    """Draw returns against k, and effective sample size and variance of each kind of weight.

    :param table: Table of :func:`measure`
    :return: Figure
    """
    palette = colors(REUSE)
    with style(FONT_SCALE):
        figure = Figure(figsize=(PAGE, 3.9), layout="constrained")
        panels = figure.subplot_mosaic(
            [["return", "ess_horizon", "ess_kl"], ["return", "variance_horizon", "variance_kl"]],
            width_ratios=[1.5, 1, 1],
        )
        for part, axes in panels.items():
            chosen = table[table["part"] == part]
            order = [kind for kind in REUSE if kind in set(chosen["kind"])]
            shades = {kind: palette[kind] for kind in order}
            curve(axes, chosen, "x", "value", hue="kind", hue_order=order, palette=shades)
            axes.set(ylabel="")
            if part != "return":
                axes.set(xscale="log", ylabel="ESS / n" if part[0] == "e" else "Var w")
                axes.set_xlabel("Horizon (steps)" if part.endswith("n") else "KL per step (nats)")
            if part.startswith("var"):
                axes.set_yscale("log")
            elif part != "return":
                axes.set_ylim(0, 1.03)
        for name in ("ess_horizon", "variance_horizon"):
            ticks = np.unique(table.loc[table["part"] == name, "x"]).astype(int)
            panels[name].set_xticks(ticks, [str(t) for t in ticks])
            panels[name].minorticks_off()
        panels["return"].set(xlabel="Steps k on the batch", ylabel="Expected return")
        for name, text in (
            ("return", "Reusing a batch"),
            ("ess_horizon", "Effective sample size"),
            ("variance_horizon", "Variance of the weights"),
        ):
            panel_title(panels[name], text)
        legend(figure, palette, 6)
    return figure


def conclude(table: pd.DataFrame) -> Conclusion:
    """Conclude what reusing a batch achieves, and what the weights cost.

    :param table: Table of :func:`measure`
    :return: Sentence, whether the claim holds, and its numbers
    """
    mean = table.groupby(["part", "kind", "x"])["value"].mean()
    last = table.loc[table["part"] == "return", "x"].max()
    start = mean["return", FRESH, 0]
    gain = {kind: float(mean["return", kind, last] - start) for kind in REUSE}
    horizon = table.loc[table["part"] == "ess_horizon", "x"].max()
    ess = {kind: float(mean["ess_horizon", kind, horizon]) for kind in WEIGHTED}
    falls = [
        bool(mean[part, kind].iloc[0] > mean[part, kind].iloc[-1])
        for kind in WEIGHTED
        for part in (("ess_kl",) if kind == "step" else ("ess_horizon", "ess_kl"))
    ]
    return Conclusion(
        f"After {last:.0f} steps on one batch the expected return has increased by "
        f"{gain[UNCORRECTED]:.2f} without weights, {gain['trajectory']:.2f} with the trajectory's "
        f"ratio, {gain['per_decision']:.2f} with per-decision ratios, {gain['prefix']:.2f} with "
        f"the prefix's ratio and {gain['step']:.2f} with the step's ratio; with new batches by "
        f"{gain[FRESH]:.2f}. At horizon {horizon:.0f} the effective sample size is "
        f"{ess['trajectory']:.1%} of the sample for the trajectory's ratio, "
        f"{ess['per_decision']:.1%} for per-decision ratios and {ess['step']:.1%} for the step's.",
        gain[UNCORRECTED] < min(gain[kind] for kind in REUSE[1:])
        and ess["trajectory"] < ess["per_decision"] < ess["step"]
        and all(falls),
        {
            **{f"gain, {kind}": value for kind, value in gain.items()},
            **{f"ess at the longest horizon, {kind}": value for kind, value in ess.items()},
        },
    )
