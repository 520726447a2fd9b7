r"""Bias against variance of the critic, on an MDP whose advantages are known.

With a critic V̂ and its errors δ_t = r_t + γ V̂(s_{t+1}) - V̂(s_t) (CS285 lecture 6):

=====================  ===================================================================
Monte Carlo            Â_t = Σ_{t'≥t} γ^{t'-t} r_t' - V̂(s_t)
n steps                Â_t = Σ_{l<n} γ^l δ_{t+l}
GAE(λ)                 Â_t = Σ_l (γλ)^l δ_{t+l}
one step (TD)          Â_t = δ_t: n = 1, and λ = 0
=====================  ===================================================================

All are computed by :mod:`sb3_course.estimators` from batches that ``REINFORCE`` collects. The error
of an estimate at (t, s, a) may contain a part that is the same for every action. This part is a
baseline, which biases no policy gradient, so it is subtracted:

.. math:: b(t, s, a) = E[\hat A_t | s, a] - A_t(s, a) \qquad
    \text{bias}^2 = E \left[ \left( b - E_{a \sim \pi} b \right)^2 \right] \qquad
    \text{variance} = E \left[ \operatorname{Var}[\hat A_t | s, a] \right]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch as th
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sb3_course import REINFORCE, estimators
from sb3_course.benchmark.reporting.drawing.files import PAGE, style
from sb3_course.collection.observations import Array
from sb3_course.collection.rollout import Rollout
from sb3_course.common.validation import check
from sb3_course.envs.enumerable import TabularMDP
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

TITLE = "Bias against variance of the critic"
CLAIM = (
    "A Monte Carlo advantage has no bias and a high variance; a one-step advantage has a low "
    "variance and the critic's bias. n steps and GAE(λ) lie in between, and the worse the critic, "
    "the larger the best λ."
)
EQUATION = (
    r"$\hat{A}_t = \sum_{l \geq 0} (\gamma\lambda)^l\, \delta_{t+l} \qquad "
    r"\delta_t = r_t + \gamma \hat{V}(s_{t+1}) - \hat{V}(s_t)$"
)
CAPTION = (
    "Errors of advantage estimates on a tabular MDP. The critic is the true value function plus a "
    "random error for each state, whose size is given in standard deviations of the values. Left: "
    "bias and standard deviation, means over seeds (of critic errors and of episodes); an offset "
    "that is equal for all actions of a state biases no gradient and is not counted. Right: root "
    "mean square (RMS) of both against λ, mean over seeds with 95% bootstrap interval over seeds; "
    "dots mark the best λ."
)
GAE, N_STEP, MONTE_CARLO = "GAE(λ)", "n steps", "Monte Carlo"


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Seed of the first repetition; the others have the following seeds
    :param n_seeds: Number of repetitions, each with new critic errors and episodes
    :param levels: Errors of the critic, in standard deviations of the values
    :param lambdas: Values of λ for GAE
    :param steps: Values of n
    :param n_episodes: Number of episodes of a repetition
    :param horizon: Number of steps of an episode
    :param n_states: Number of states of the MDP
    :param concentration: Concentration of the transition probabilities; the smaller, the more
        deterministic
    :param gamma: Discount factor γ
    """

    seed: int = 0
    n_seeds: int = 20
    levels: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)
    lambdas: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
    steps: tuple[int, ...] = (1, 2, 3, 5, 8, 12, 20)
    n_episodes: int = 4000
    horizon: int = 20
    n_states: int = 8
    concentration: float = 0.15
    gamma: float = 0.95


QUICK = Config(n_seeds=6, n_episodes=2000)


def n_step_advantage(deltas: Array, ends: Array, gamma: float, n: int) -> Array:
    r"""Compute the advantage from n steps and the critic's value after them (lecture 6).

    .. math:: \hat A_t = \sum_{l=0}^{n-1} \gamma^l \delta_{t+l} =
        \sum_{l=0}^{n-1} \gamma^l r_{t+l} + \gamma^n \hat V(s_{t+n}) - \hat V(s_t)

    :param deltas: Errors δ_t of episodes that all start in the first row, of shape (T, N)
    :param ends: Whether an episode ended after each step, of shape (T, N)
    :param gamma: Discount factor γ
    :param n: Number of steps
    :return: Advantages, of shape (T, N)
    """
    sums = estimators.reward_to_go(deltas, ends, gamma)
    remaining = np.zeros_like(sums)
    remaining[:-n] = sums[n:]
    return sums - gamma**n * remaining


def advantages(config: Config, rollout: Rollout, critic: Array) -> dict[tuple[str, float], Array]:
    """Estimate advantages with every method.

    :param config: Settings
    :param rollout: Whole episodes, one from each environment
    :param critic: Values V̂_t(s), of shape (H, S)
    :return: Advantages by kind and parameter (λ or n), each of shape (H, N)
    """
    assert not isinstance(rollout.obs, dict)
    rewards, ends, gamma = rollout.rewards, rollout.ends, config.gamma
    values = critic[np.arange(len(critic))[:, None], rollout.obs]
    following = estimators.next_values(values, ends, np.zeros_like(values))
    deltas = estimators.td_errors(rewards, values, following, gamma)
    found = {(GAE, lam): estimators.gae(deltas, ends, gamma, lam) for lam in config.lambdas}
    for n in config.steps:
        found[N_STEP, n] = n_step_advantage(deltas, ends, gamma, n)
    found[MONTE_CARLO, 1.0] = estimators.reward_to_go(rewards, ends, gamma) - values
    return found


def bias_and_deviation(
    estimate: Array, truth: Array, rollout: Rollout, probs: Array
) -> tuple[float, float]:
    """Compare estimates with the true advantages.

    The mean over the n samples of a group also deviates by chance; the known contribution of this
    to the squared bias is subtracted.

    :param estimate: Estimates Â_t, of shape (H, N)
    :param truth: True advantages A_t(s, a), of shape (H, S, A)
    :param rollout: Steps at which the estimates were made
    :param probs: Probabilities π(a|s), of shape (S, A)
    :return: Root mean square of the bias, and standard deviation
    """
    shape, size = truth.shape, truth.size
    time = np.arange(shape[0])[:, None]
    group = ((time * shape[1] + rollout.obs) * shape[2] + rollout.actions).ravel()
    count = np.bincount(group, minlength=size)
    n = np.maximum(count, 1)
    mean = np.bincount(group, weights=estimate.ravel(), minlength=size) / n
    squares = np.bincount(group, weights=(estimate.ravel() - mean[group]) ** 2, minlength=size)
    variance = np.where(count > 1, squares / np.maximum(count - 1, 1), 0.0)
    full = np.all(count.reshape(shape) > 1, axis=2)  # every action occurred at (t, s)
    bias, chance = mean.reshape(shape) - truth, (variance / n).reshape(shape)
    bias = bias - (probs * bias).sum(axis=2, keepdims=True)
    chance = chance * (1 - 2 * probs) + (probs**2 * chance).sum(axis=2, keepdims=True)
    weight = count.reshape(shape) * full[..., None]
    squared = (weight * (bias**2 - chance)).sum() / weight.sum()
    return float(np.sqrt(max(squared, 0.0))), float(np.sqrt((count * variance).sum() / count.sum()))


def world_of(config: Config) -> tuple[TabularMDP, REINFORCE]:
    """Make the MDP and a policy that is not uniform.

    :param config: Settings
    :return: MDP and model with the policy
    """
    world = TabularMDP(
        config.n_episodes,
        horizon=config.horizon,
        n_states=config.n_states,
        concentration=config.concentration,
        reward_offset=0.0,
    )
    model = make(REINFORCE, world, config.seed, n_episodes=config.n_episodes, gamma=config.gamma)
    with th.no_grad():
        generator = th.Generator().manual_seed(config.seed)
        assert isinstance(model.policy.action_net, th.nn.Linear)
        model.policy.action_net.weight.normal_(generator=generator)
    return world, model


def measure(config: Config, note: Note = silent) -> pd.DataFrame:
    """Compute bias and standard deviation of each estimate with each critic.

    :param config: Settings
    :param note: Function that is called with the progress
    :return: Table with ``seed, level, kind, parameter, bias, deviation, error`` in units of reward;
        ``error`` is the square root of bias² + deviation²
    :raises ValueError: The steps lack 1, the other end of Monte Carlo
    """
    check("steps", config.steps, 1 in config.steps, "numbers with 1 among them, the one-step error")
    world, model = world_of(config)
    probs = world.probs(model.policy)
    q, v = world.action_values(probs, config.gamma)
    truth = q - v[:-1, :, None]
    scale = float(np.sqrt((world.visits(probs) * (v[:-1] - v[:-1].mean()) ** 2).sum(1).mean()))
    rows = []
    seeds = range(config.seed, config.seed + config.n_seeds)
    for seed in track(seeds, note, lambda seed: f"seed {seed}"):
        rollout = collect(model)
        noise = np.random.default_rng(seed).normal(size=config.n_states)
        for level in config.levels:
            critic = v[:-1] + level * scale * noise
            for (kind, parameter), estimate in advantages(config, rollout, critic).items():
                bias, deviation = bias_and_deviation(estimate, truth, rollout, probs)
                error = float(np.hypot(bias, deviation))
                rows.append((seed, level, kind, float(parameter), bias, deviation, error))
    names = ["seed", "level", "kind", "parameter", "bias", "deviation", "error"]
    return pd.DataFrame(rows, columns=names)


def draw(table: pd.DataFrame) -> Figure:
    """Draw bias against deviation, and the error against λ.

    :param table: Table of :func:`measure`
    :return: Figure
    """
    levels = sorted(table["level"].unique())
    palette = colors([f"error {level:g}" for level in levels])
    mean = table.groupby(["level", "kind", "parameter"])[["bias", "deviation", "error"]].mean()
    with style(FONT_SCALE):
        figure = Figure(figsize=(PAGE, 3.1), layout="constrained")
        left, right = figure.subplots(1, 2)
        for level, color in zip(levels, palette.values(), strict=True):
            gae, steps = mean.loc[level, GAE], mean.loc[level, N_STEP]
            left.plot(gae["bias"], gae["deviation"], color=color, linewidth=1.5)
            left.plot(steps["bias"], steps["deviation"], color=color, linewidth=1, dashes=(3, 2))
            ends = ((steps.loc[1.0], "^"), (mean.loc[level, MONTE_CARLO].iloc[0], "s"))
            for end, mark in ends:
                left.plot(end["bias"], end["deviation"], marker=mark, ms=5, color=color)
            part = table[(table["level"] == level) & (table["kind"] == GAE)]
            curve(right, part, "parameter", "error", color=color)
            best = gae["error"].idxmin()
            right.plot(best, gae["error"][best], "o", ms=5, color=color, mec="white")
        left.set(xlabel="Bias (reward)", ylabel="Standard deviation (reward)")
        left.set_ylim(bottom=0)
        right.set(xlabel="λ", ylabel="RMS error (reward)")
        panel_title(left, "From one step to Monte Carlo")
        panel_title(right, "The best λ depends on the critic")
        marks = [
            Line2D([], [], color="0.3", linewidth=1.5, label=GAE),
            Line2D([], [], color="0.3", linewidth=1, dashes=(3, 2), label=N_STEP),
            Line2D([], [], color="0.3", marker="^", linewidth=0, ms=5, label="one step"),
            Line2D([], [], color="0.3", marker="s", linewidth=0, ms=5, label=MONTE_CARLO),
        ]
        legend(figure, palette, 4, marks)
    return figure


def cell(table: pd.DataFrame, level: float, kind: str, parameter: float) -> dict[str, float]:
    """Compute the means over seeds of one estimate's numbers.

    :param table: Table of :func:`measure`
    :param level: Error of the critic
    :param kind: Kind of the estimate
    :param parameter: Parameter of the estimate, λ or n
    :return: Mean bias, deviation and error
    """
    chosen = table[(table["level"] == level) & (table["kind"] == kind)]
    chosen = chosen[chosen["parameter"] == parameter]
    return {name: float(chosen[name].mean()) for name in ("bias", "deviation", "error")}


def best_lambda(table: pd.DataFrame, level: float) -> float:
    """Return the λ of GAE with the lowest error.

    :param table: Table of :func:`measure`
    :param level: Error of the critic
    :return: Value of λ
    """
    lambdas = sorted(table.loc[table["kind"] == GAE, "parameter"].unique())
    return float(min(lambdas, key=lambda lam: cell(table, level, GAE, lam)["error"]))


def conclude(table: pd.DataFrame) -> Conclusion:
    """Conclude which error each end of the scale has, and which λ is best.

    :param table: Table of :func:`measure`
    :return: Sentence, whether the claim holds, and its numbers
    """
    best, worst = float(table["level"].min()), float(table["level"].max())
    td, mc = cell(table, worst, N_STEP, 1.0), cell(table, worst, MONTE_CARLO, 1.0)
    of_best, of_worst = best_lambda(table, best), best_lambda(table, worst)
    other = f"an error of {best:g}" if best else "a perfect critic"
    return Conclusion(
        f"With a critic error of {worst:g} standard deviations of the values, the one-step "
        f"advantage has a bias of {td['bias']:.2f} and a standard deviation of "
        f"{td['deviation']:.2f}, the Monte Carlo advantage {mc['bias']:.2f} and "
        f"{mc['deviation']:.2f}. The λ with the lowest error is {of_best:g} with {other} "
        f"and {of_worst:g} with this one.",
        td["bias"] > 2 * mc["bias"]
        and mc["deviation"] > 1.2 * td["deviation"]
        and of_worst > of_best,
        {
            "bias_one_step": td["bias"],
            "deviation_one_step": td["deviation"],
            "bias_monte_carlo": mc["bias"],
            "deviation_monte_carlo": mc["deviation"],
            "best_lambda_best_critic": of_best,
            "best_lambda_worst_critic": of_worst,
        },
    )
