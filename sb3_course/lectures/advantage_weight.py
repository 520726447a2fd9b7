"""A perfect state baseline still leaves variance; subtracting V from Q isolates the action.

Four weights of ∇log π(a_t|s_t) that all have the policy gradient as their expectation (CS285
lectures 5 and 6), on an MDP with known Q and V:

=================  ==============================================================
``Q̂``              reward to go, Σ_{t'≥t} r_t'
``Q̂ − V``          reward to go minus a perfect state baseline
``Q``              expected reward to go of the action, Q(s_t, a_t)
``A = Q − V``      the action's advantage over the state's value
=================  ==============================================================

The variance of the estimate has two parts that no action causes: no baseline can remove what the
random future adds (the difference of Q̂ and Q), and a state baseline removes what the state's value
V adds.

``ExactREINFORCE`` is the library's ``REINFORCE`` with these weights; variances are computed by
:func:`~sb3_course.estimators.baselines.covariance_trace` from its trajectory gradients.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch as th
from matplotlib.figure import Figure

from sb3_course import REINFORCE, estimators
from sb3_course.benchmark.reporting.drawing.files import PAGE, style
from sb3_course.collection.observations import Array
from sb3_course.collection.rollout import Rollout
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
    mean_interval,
    panel_title,
    silent,
    track,
)

TITLE = "The advantage isolates the action"
CLAIM = (
    "A perfect state baseline removes the variance due to the state's value but not that due to "
    "the random future; the advantage as the weight removes both and learns fastest."
)
EQUATION = (
    r"$\nabla J = \mathrm{E}\,[\nabla \log\pi(a|s)\,Q(s,a)] = "
    r"\mathrm{E}\,[\nabla \log\pi(a|s)\,(Q(s,a) - V(s))]$"
)
CAPTION = (
    "Tabular MDP with exact Q and V. Left: variance of the policy gradient at the start of "
    "learning, summed over the parameters, relative to that with Q̂ as the weight. Right: exact "
    "expected return while REINFORCE learns with each weight, at the step size with the highest "
    "mean return among the same candidates; dashed: optimum of policies that may depend on the "
    "time, too. Means over seeds with 95% bootstrap intervals over seeds."
)
WEIGHTS = ("Q̂", "Q̂ − V", "Q", "A = Q − V")


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Seed of the first run; the others have the following seeds
    :param n_seeds: Number of runs for each weight and step size
    :param n_updates: Number of updates of a run
    :param n_episodes: Number of episodes of an update
    :param n_variance: Number of episodes from which a variance is computed
    :param learning_rates: Step sizes from which the best is chosen for each weight
    :param horizon: Number of steps of an episode
    :param n_states: Number of states of the MDP
    :param n_actions: Number of actions
    :param reward_offset: Mean reward of a step, which no action influences
    :param state_spread: Standard deviation of the part of a state's reward that is the same for all
        actions; with it, the next states matter more than the action
    """

    seed: int = 0
    n_seeds: int = 20
    n_updates: int = 60
    n_episodes: int = 1
    n_variance: int = 2000
    learning_rates: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)
    horizon: int = 10
    n_states: int = 5
    n_actions: int = 3
    reward_offset: float = 1.0
    state_spread: float = 2.0


QUICK = Config(n_seeds=6, n_variance=1000, learning_rates=(0.3, 1.0, 3.0))


class ExactREINFORCE(REINFORCE):
    """REINFORCE with exact Q and V of the current policy.

    :cvar weight: One of :data:`WEIGHTS`
    """

    weight: str = WEIGHTS[0]

    def _values(self, rollout: Rollout) -> tuple[Array, Array]:
        assert self.env is not None
        world = self.env.unwrapped
        assert isinstance(world, TabularMDP)
        q, v = world.action_values(world.probs(self.policy))
        states, time = rollout.obs, rollout.time
        assert not isinstance(states, dict)
        return q[time, states, rollout.actions], v[time, states]

    def q_hat(self, rollout: Rollout, to_go: Array) -> Array:
        """Return Q̂ as sampled, or Q.

        :param rollout: Batch
        :param to_go: Reward to go, Σ_{t'≥t} r_t'
        :return: Q̂ or Q of each transition
        """
        sampled = self.weight.startswith("Q̂")
        return rollout.flat(to_go if sampled else self._values(rollout)[0])

    def baselines(self, rollout: Rollout, q_hat: Array, to_go: Array) -> Array:
        """Return V, or zeros.

        :param rollout: Batch
        :param q_hat: Result of :meth:`q_hat`
        :param to_go: Reward to go
        :return: Baseline of each transition
        """
        values = rollout.flat(self._values(rollout)[1])
        return values if self.weight.endswith("V") else np.zeros_like(values)


def model_of(
    config: Config, weight: str, seed: int, n_episodes: int, learning_rate: float = 0.0
) -> tuple[TabularMDP, ExactREINFORCE]:
    """Make an MDP and a model with a uniform policy on it.

    :param config: Settings
    :param weight: One of :data:`WEIGHTS`
    :param seed: Seed of the episodes
    :param n_episodes: Number of episodes of a batch
    :param learning_rate: Step size of plain gradient steps
    :return: MDP and model
    """
    world = TabularMDP(
        n_episodes,
        horizon=config.horizon,
        n_states=config.n_states,
        n_actions=config.n_actions,
        reward_offset=config.reward_offset,
    )
    offsets = np.random.default_rng(0).normal(size=(config.n_states, 1))
    world.reward += config.state_spread * offsets
    policy = {"net_arch": [], "optimizer_class": th.optim.SGD}
    model = make(
        ExactREINFORCE,
        world,
        seed,
        n_episodes=n_episodes,
        baseline=None,
        learning_rate=learning_rate,
        policy_kwargs=policy,
    )
    with th.no_grad():
        for parameter in model.actor_parameters:
            parameter.zero_()
    model.weight = weight
    return world, model


def variance(model: ExactREINFORCE) -> float:
    """Compute the variance of the gradient estimated from one episode, summed over the parameters.

    :param model: Model
    :return: Variance
    """
    rollout = collect(model)
    to_go = model.returns_to_go(rollout)
    q_hat = model.q_hat(rollout, to_go)
    weights = model.to_tensor(q_hat - model.baselines(rollout, q_hat, to_go))
    (gradients,) = model.trajectory_gradients(rollout, weights[:, None])
    lengths = th.from_numpy(rollout.lengths)
    return estimators.covariance_trace(gradients, lengths) * rollout.n_trajectories


def learn(config: Config, weight: str, seed: int, rate: float) -> list[float]:
    """Train and compute the exact expected return before each update and after the last one.

    :param config: Settings
    :param weight: One of :data:`WEIGHTS`
    :param seed: Seed of the episodes
    :param rate: Step size
    :return: Expected returns
    """
    world, model = model_of(config, weight, seed, config.n_episodes, rate)
    returns = [world.objective(world.probs(model.policy))]
    for _ in range(config.n_updates):
        collect(model)
        model.train()
        returns.append(world.objective(world.probs(model.policy)))
    return returns


def optimum(world: TabularMDP) -> float:
    """Compute the highest expected return, by dynamic programming over greedy actions.

    The horizon is finite, so the best action depends on the time that is left as well: a policy of
    the state alone comes close, and no closer.

    :param world: MDP
    :return: Optimal expected return
    """
    v = np.zeros(world.n_states)
    for _ in range(world.horizon):
        v = (world.reward + world.transition @ v).max(axis=1)
    return float(world.start @ v)


def measure(config: Config, note: Note = silent) -> pd.DataFrame:
    """Compute variances and learning curves with each weight.

    :param config: Settings
    :param note: Function that is called with the progress
    :return: Table with ``part, weight, seed, learning_rate, update, value``; ``part`` is
        ``variance``, ``return`` or ``optimum``
    """
    rows: list[tuple[str, str, int, float, int, float]] = []
    seeds = range(config.seed, config.seed + config.n_seeds)
    best = optimum(model_of(config, WEIGHTS[0], 0, 1)[0])
    rows.append(("optimum", "", 0, 0.0, 0, best))
    runs = [(weight, seed) for weight in WEIGHTS for seed in seeds]
    for weight, seed in track(runs, note, lambda run: f"{run[0]}, seed {run[1]}"):
        _, model = model_of(config, weight, seed, config.n_variance)
        rows.append(("variance", weight, seed, 0.0, 0, variance(model)))
        for rate in config.learning_rates:
            for update, value in enumerate(learn(config, weight, seed, rate)):
                rows.append(("return", weight, seed, rate, update, value))
    names = ["part", "weight", "seed", "learning_rate", "update", "value"]
    return pd.DataFrame(rows, columns=names)


def at_best_rate(table: pd.DataFrame) -> pd.DataFrame:
    """Select each weight's learning curves at the step size with the highest mean return.

    :param table: Table of :func:`measure`
    :return: Rows of the selected curves
    """
    returns = table[table["part"] == "return"]
    mean = returns.groupby(["weight", "learning_rate"])["value"].mean()
    best = {weight: mean[weight].idxmax() for weight in WEIGHTS}
    return returns[returns["learning_rate"] == returns["weight"].map(best)]


def draw(table: pd.DataFrame) -> Figure:
    """Draw variances and learning curves.

    :param table: Table of :func:`measure`
    :return: Figure
    """
    palette = colors(WEIGHTS)
    with style(FONT_SCALE):
        figure = Figure(figsize=(PAGE, 2.8), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
        variances = table[table["part"] == "variance"]
        reference = variances.loc[variances["weight"] == WEIGHTS[0], "value"].mean()
        for i, weight in enumerate(WEIGHTS):
            values = variances.loc[variances["weight"] == weight, "value"] / reference
            mean, low, high = mean_interval(values)
            left.bar(i, mean, width=0.65, color=palette[weight])
            left.errorbar(i, mean, [[mean - low], [high - mean]], color="0.15", capsize=3)
            left.annotate(f"{mean:.2g}", (i, high), (0, 3), textcoords="offset points", ha="center")
        left.set_xticks(range(len(WEIGHTS)), WEIGHTS)
        left.set(ylabel="Variance (Q̂: 1)", ylim=(0, 1.25))
        left.grid(visible=False, axis="x")
        panel_title(left, "Variance of the gradient")
        options = {"hue": "weight", "hue_order": WEIGHTS, "palette": palette}
        curve(right, at_best_rate(table), "update", "value", **options)
        best = table.loc[table["part"] == "optimum", "value"].iloc[0]
        right.axhline(best, color="0.3", linewidth=0.9, dashes=(4, 2))
        right.set(xlabel="Update", ylabel="Expected return")
        panel_title(right, "Learning")
        legend(figure, palette, 4)
    return figure


def conclude(table: pd.DataFrame) -> Conclusion:
    """Conclude how much variance each weight leaves, and how fast each one learns.

    :param table: Table of :func:`measure`
    :return: Sentence, whether the claim holds, and its numbers
    """
    variances = table[table["part"] == "variance"].groupby("weight")["value"].mean()
    relative = [float(variances[weight] / variances[WEIGHTS[0]]) for weight in WEIGHTS]
    curves = at_best_rate(table)
    start = float(curves.loc[curves["update"] == 0, "value"].mean())
    best = float(table.loc[table["part"] == "optimum", "value"].iloc[0])
    mean = curves.groupby("weight")["value"].mean()
    speed = [float((mean[weight] - start) / (best - start)) for weight in WEIGHTS]
    rates = curves.groupby("weight")["learning_rate"].first()
    largest = table["learning_rate"].max()
    edge = [weight for weight in WEIGHTS if rates[weight] == largest]
    more = (
        f" The best of {' and '.join(edge)} is the largest step size that was tried."
        if edge
        else ""
    )
    return Conclusion(
        f"Relative to Q̂ as the weight, the variance is {relative[1]:.0%} with the perfect state "
        f"baseline, {relative[3]:.0%} with the exact advantage and {relative[2]:.0%} with Q and no "
        "baseline. At its best step size, the mean gain over the run as a fraction of the "
        f"largest possible one is {speed[0]:.0%} with Q̂, {speed[1]:.0%} with Q̂ − V, "
        f"{speed[2]:.0%} with Q and {speed[3]:.0%} with A.{more}",
        relative[3] < relative[1] < relative[0]
        and relative[3] < relative[2]
        and speed[3] > max(speed[:3]),
        {
            **{f"variance, {w}": r for w, r in zip(WEIGHTS, relative, strict=True)},
            **{f"gain, {w}": s for w, s in zip(WEIGHTS, speed, strict=True)},
        },
    )
