r"""Why policy gradient must be on-policy, and what importance sampling costs.

The gradient is an expectation under the policy itself. After the first step of a batch it is not
that any more, unless what was sampled from π' is reweighed by ρ_t = π_θ(a_t|s_t) / π'(a_t|s_t)
(CS285 lecture 5, "off-policy policy gradients"):

.. math:: \nabla J(\theta) = E_{\tau \sim \pi'} \left[ \sum_t \nabla \log \pi_\theta(a_t|s_t)
    \left( \prod_{t' \le t} \rho_{t'} \right) \sum_{t' \ge t} r_{t'}
    \prod_{t''=t+1}^{t'} \rho_{t''} \right]

The price is the variance of the weights, which for products grows exponentially with their length:

.. math:: E[w] = 1 \qquad \frac{ESS}{n} = \frac{(\sum w)^2}{n \sum w^2} \to
    \frac{1}{1 + \operatorname{Var} w}

Without a weight the steps climb :math:`E_{\pi'} [\sum_t \log \pi_\theta(a_t|s_t) \hat Q_t]`, a
likelihood weighted by the returns of π': where rewards are positive, its maximum is π' itself
moved a little towards what paid, however large the batch. (No baseline is used here. One would
change where those steps end, since without the right weights a baseline is not free of bias.)

``REINFORCE`` (without a weight) and ``ISPG`` (with each of its ratios) take the steps; the weights
are :func:`~sb3_course.estimators.importance_weights.log_importance_weights`. Returns are exact.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch as th
from matplotlib.figure import Figure

from sb3_course import ISPG, REINFORCE, estimators
from sb3_course.benchmark.reporting.figures import style
from sb3_course.collection.observations import Array
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.estimators import natural_gradient
from sb3_course.ispg import RATIOS
from sb3_course.lectures.toolkit import (
    DOUBLE,
    FONT_SCALE,
    Conclusion,
    Note,
    collect,
    colors,
    curve,
    legend,
    letter,
    make,
    silent,
    track,
)

TITLE = "Why policy gradient must be on-policy"
CLAIM = (
    "Steps on a batch that another policy collected lead astray; importance weights mend that, at "
    "the price of a variance that grows with the horizon and with the KL between the policies: "
    "fastest for the product over the trajectory, slowest for a single step's ratio."
)
EQUATION = (
    r"$\rho_t = \pi_\theta(a_t|s_t) \,/\, \pi^{\prime}(a_t|s_t) \qquad "
    r"ESS/n \rightarrow 1 \,/\, (1 + \mathrm{Var}\, w)$"
)
CAPTION = (
    "Tabular MDP. Left: exact expected return after k steps on one and the same batch, and with a "
    "fresh batch for each step; mean over seeds with 95% bootstrap interval over seeds. Middle and "
    "right: effective sample size (share of the sample) and variance of the weights, from samples, "
    "against the horizon and against the KL of a step; mean over seeds with 95% bootstrap interval "
    "over seeds; for per-decision weights the mean over the steps of an episode. No baseline."
)
UNCORRECTED, FRESH = "no weight", "fresh batches"
REUSE = (UNCORRECTED, *RATIOS, FRESH)
PRICED = ("trajectory", "per_decision", "step")


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Of the first repetition; the others follow
    :param n_seeds: Repetitions
    :param n_steps: k at most
    :param n_episodes: Episodes of a batch
    :param horizon: Steps of an episode, for the reuse
    :param learning_rate: Of plain gradient steps
    :param n_weights: Episodes from which weights are taken
    :param horizons: Horizons of the middle panels
    :param kl: Mean KL of a step there, in nats
    :param kls: KLs of the right panels
    :param kl_horizon: Horizon there
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
    """ISPG that tells of each step.

    :cvar watch: Called after it
    """

    watch: Callable[[], None]

    def step_actor(self, loss: th.Tensor, gradient: th.Tensor | None = None) -> None:
        """See :class:`~sb3_course.common.policy_gradient.PolicyGradientAlgorithm`."""
        super().step_actor(loss, gradient)
        self.watch()


def reuse(config: Config, kind: str, seed: int) -> list[float]:
    """Take k steps on one batch, and give the exact expected return before and after each.

    :param config: Settings
    :param kind: One of :data:`REUSE`
    :param seed: Of the batch
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
    """Find a θ whose mean KL from the model's policy is as asked, in a random direction.

    :param world: The MDP
    :param model: Its policy is π'
    :param kl: Mean KL(π' ‖ π_θ) over the steps of an episode, in nats
    :param seed: Of the direction
    :return: θ, of shape (P,)
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

    :param horizon: Steps of an episode
    :param kl: Mean KL of a step, in nats
    :param n_episodes: Episodes
    :param seed: Of episodes and policies
    :return: For each of :data:`PRICED` samples of the weight: of the trajectory; of each step's
        prefix; of all steps
    """
    world = TabularMDP(n_episodes, horizon=horizon, n_states=5, n_actions=3)
    model = make(ISPG, world, seed, n_episodes=n_episodes, baseline=None)
    theta = apart(world, model, kl, seed)
    rollout = collect(model)
    behavior = model._log_prob(rollout)
    natural_gradient.assign(model.actor_parameters, theta)
    target = model._log_prob(rollout)
    found = {
        ratio: np.exp(
            estimators.log_importance_weights(ratio, target, behavior[None], np.ones(1), rollout)
        )
        for ratio in PRICED
    }
    return {
        "trajectory": [found["trajectory"][0]],
        "per_decision": list(found["per_decision"]),
        "step": [found["step"].ravel()],
    }


def measure(config: Config, note: Note = silent) -> pd.DataFrame:
    """Give returns under reuse, and the price of weights.

    :param config: Settings
    :param note: Told of progress
    :return: ``part, kind, seed, x, value``: ``part`` is ``return`` (x: k), ``ess_horizon``,
        ``variance_horizon`` (x: horizon), ``ess_kl`` or ``variance_kl`` (x: KL of a step in nats)
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
                worth = float(np.mean([estimators.effective_sample_size(w) for w in samples]))
                spread = float(np.mean([w.var() for w in samples]))
                rows.append((f"ess_{against}", kind, seed, x, worth))
                rows.append((f"variance_{against}", kind, seed, x, spread))
    return pd.DataFrame(rows, columns=["part", "kind", "seed", "x", "value"])


def draw(table: pd.DataFrame) -> Figure:
    """Draw returns against k, and the price of each kind of weight.

    :param table: Of :func:`measure`
    """
    palette = colors(REUSE)
    with style(FONT_SCALE):
        figure = Figure(figsize=(DOUBLE, 3.9), layout="constrained")
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
                axes.set_xlabel("Horizon (steps)" if part.endswith("n") else "KL of a step (nats)")
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
            letter(panels[name], text)
        legend(figure, palette, 6)
    return figure


def conclude(table: pd.DataFrame) -> Conclusion:
    """Say where reuse leads, and what the weights cost.

    :param table: Of :func:`measure`
    """
    mean = table.groupby(["part", "kind", "x"])["value"].mean()
    last = table.loc[table["part"] == "return", "x"].max()
    start = mean["return", FRESH, 0]
    gain = {kind: float(mean["return", kind, last] - start) for kind in REUSE}
    horizon = table.loc[table["part"] == "ess_horizon", "x"].max()
    ess = {kind: float(mean["ess_horizon", kind, horizon]) for kind in PRICED}
    return Conclusion(
        f"After {last:.0f} steps on one batch the expected return has grown by "
        f"{gain[UNCORRECTED]:.2f} without a weight, by "
        f"{gain['trajectory']:.2f} with the trajectory's ratio, {gain['per_decision']:.2f} per "
        f"decision, {gain['prefix']:.2f} with the prefix's and {gain['step']:.2f} with the step's; "
        f"with fresh batches by {gain[FRESH]:.2f}. At horizon {horizon:.0f} the effective sample "
        f"size is {ess['trajectory']:.1%} of the sample for the full product, "
        f"{ess['per_decision']:.1%} per decision and {ess['step']:.1%} for one step.",
        gain[UNCORRECTED] < min(gain[kind] for kind in REUSE[1:])
        and ess["trajectory"] < ess["per_decision"] < ess["step"],
        {
            **{f"gain, {kind}": value for kind, value in gain.items()},
            **{f"ess at the longest horizon, {kind}": value for kind, value in ess.items()},
        },
    )
