r"""A perfect state baseline still leaves variance; subtracting V from Q isolates the action.

Four weights of ∇log π(a_t|s_t) that all have the policy gradient as their expectation (CS285
lectures 5 and 6), on an MDP where Q and V are known:

=================  ==============================================================
``Q̂``              the reward to go, Σ_{t'≥t} r_t'
``Q̂ − V``          the same with a perfect state baseline
``Q``              the expected reward to go of the action, Q(s_t, a_t)
``A = Q − V``      what the action adds to the state
=================  ==============================================================

The variance of the gradient's estimate splits: what the future adds by chance (Q̂ against Q) is no
baseline's to take away, and what the state promises (V) is nothing that the action has done.

``ExactREINFORCE`` is the library's ``REINFORCE`` with these weights put in; variances are from
:func:`~sb3_course.estimators.baselines.covariance_trace` of its trajectory gradients.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch as th
from matplotlib.figure import Figure

from sb3_course import REINFORCE, estimators
from sb3_course.benchmark.reporting.figures import style
from sb3_course.collection.observations import Array
from sb3_course.collection.rollout import Rollout
from sb3_course.envs.enumerable import TabularMDP
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
    mean_interval,
    silent,
    track,
)

TITLE = "The advantage isolates the action"
CLAIM = (
    "A perfect state baseline takes away what the state promises and leaves the chance of the "
    "future; the advantage as the weight leaves neither, and learns fastest."
)
EQUATION = (
    r"$\nabla J = \mathrm{E}\,[\nabla \log\pi(a|s)\,Q(s,a)] = "
    r"\mathrm{E}\,[\nabla \log\pi(a|s)\,(Q(s,a) - V(s))]$"
)
CAPTION = (
    "Tabular MDP with exact Q and V. Left: variance of the policy gradient at the start of "
    "learning, summed over its parameters, relative to that of Q̂ as the weight. Right: exact "
    "expected return while REINFORCE learns with each weight, each at that step size, of the same "
    "list, at which it learned most; dashed, the optimum. Means over seeds with 95% bootstrap "
    "intervals over seeds."
)
WEIGHTS = ("Q̂", "Q̂ − V", "Q", "A = Q − V")


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Of the first run; the others follow
    :param n_seeds: Runs of each weight and step size
    :param n_updates: Updates of a run
    :param n_episodes: Episodes of an update
    :param n_variance: Episodes from which a variance is taken
    :param learning_rates: Step sizes that each weight may choose from
    :param horizon: Steps of an episode
    :param n_states: States of the MDP
    :param n_actions: Actions
    :param reward_offset: Mean reward of a step: what the state promises whatever one does
    :param state_spread: Standard deviation of what a state itself pays, whatever one does there:
        with it, where chance leads matters more than the action
    """

    seed: int = 0
    n_seeds: int = 20
    n_updates: int = 60
    n_episodes: int = 1
    n_variance: int = 2000
    learning_rates: tuple[float, ...] = (0.1, 0.3, 1.0)
    horizon: int = 10
    n_states: int = 5
    n_actions: int = 3
    reward_offset: float = 1.0
    state_spread: float = 2.0


QUICK = Config(n_seeds=6, n_variance=1000)


class ExactREINFORCE(REINFORCE):
    """REINFORCE that is told Q and V of the policy as it stands.

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
        """Q̂ as sampled, or Q.

        :param rollout: A batch
        :param to_go: Σ_{t'≥t} r_t'
        """
        sampled = self.weight.startswith("Q̂")
        return rollout.flat(to_go if sampled else self._values(rollout)[0])

    def baselines(self, rollout: Rollout, q_hat: Array) -> Array:
        """V, or nothing.

        :param rollout: A batch
        :param q_hat: Of :meth:`q_hat`
        """
        values = rollout.flat(self._values(rollout)[1])
        return values if self.weight.endswith("V") else np.zeros_like(values)


def model_of(
    config: Config, weight: str, seed: int, n_episodes: int, learning_rate: float = 0.0
) -> tuple[TabularMDP, ExactREINFORCE]:
    """Make an MDP and a model with a uniform policy on it.

    :param config: Settings
    :param weight: One of :data:`WEIGHTS`
    :param seed: Of the episodes
    :param n_episodes: Of a batch
    :param learning_rate: Of plain gradient steps
    """
    world = TabularMDP(
        n_episodes,
        horizon=config.horizon,
        n_states=config.n_states,
        n_actions=config.n_actions,
        reward_offset=config.reward_offset,
    )
    pays = np.random.default_rng(0).normal(size=(config.n_states, 1))
    world.reward += config.state_spread * pays
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
    """Give the variance of the gradient of one episode's mean, summed over the parameters.

    :param model: The model
    """
    rollout = collect(model)
    q_hat = model.q_hat(rollout, model.returns_to_go(rollout))
    weights = model.to_tensor(q_hat - model.baselines(rollout, q_hat))
    (gradients,) = model.trajectory_gradients(rollout, weights[:, None])
    return estimators.covariance_trace(gradients, rollout.n_transitions) * rollout.n_trajectories


def learn(config: Config, weight: str, seed: int, rate: float) -> list[float]:
    """Learn, and give the exact expected return before each update and after the last.

    :param config: Settings
    :param weight: One of :data:`WEIGHTS`
    :param seed: Of the episodes
    :param rate: Step size
    """
    world, model = model_of(config, weight, seed, config.n_episodes, rate)
    returns = [world.objective(world.probs(model.policy))]
    for _ in range(config.n_updates):
        collect(model)
        model.train()
        returns.append(world.objective(world.probs(model.policy)))
    return returns


def optimum(world: TabularMDP) -> float:
    """Give the best expected return, by dynamic programming over greedy actions.

    :param world: The MDP
    """
    v = np.zeros(world.n_states)
    for _ in range(world.horizon):
        v = (world.reward + world.transition @ v).max(axis=1)
    return float(world.start @ v)


def measure(config: Config, note: Note = silent) -> pd.DataFrame:
    """Give variances and learning curves of each weight.

    :param config: Settings
    :param note: Told of progress
    :return: ``part, weight, seed, learning_rate, update, value``: ``part`` is ``variance``,
        ``return`` or ``optimum``
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
    """Keep each weight's learning curves at the step size with the highest mean return.

    :param table: Of :func:`measure`
    """
    returns = table[table["part"] == "return"]
    mean = returns.groupby(["weight", "learning_rate"])["value"].mean()
    best = {weight: mean[weight].idxmax() for weight in WEIGHTS}
    return returns[returns["learning_rate"] == returns["weight"].map(best)]


def draw(table: pd.DataFrame) -> Figure:
    """Draw variances and learning curves.

    :param table: Of :func:`measure`
    """
    palette = colors(WEIGHTS)
    with style(FONT_SCALE):
        figure = Figure(figsize=(DOUBLE, 2.8), layout="constrained")
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
        letter(left, "Variance of the gradient")
        options = {"hue": "weight", "hue_order": WEIGHTS, "palette": palette}
        curve(right, at_best_rate(table), "update", "value", **options)
        best = table.loc[table["part"] == "optimum", "value"].iloc[0]
        right.axhline(best, color="0.3", linewidth=0.9, dashes=(4, 2))
        right.set(xlabel="Update", ylabel="Expected return")
        letter(right, "Learning")
        legend(figure, palette, 4)
    return figure


def conclude(table: pd.DataFrame) -> Conclusion:
    """Say what variance each weight leaves, and how far each has learned.

    :param table: Of :func:`measure`
    """
    variances = table[table["part"] == "variance"].groupby("weight")["value"].mean()
    relative = [float(variances[weight] / variances[WEIGHTS[0]]) for weight in WEIGHTS]
    curves = at_best_rate(table)
    start = float(curves.loc[curves["update"] == 0, "value"].mean())
    best = float(table.loc[table["part"] == "optimum", "value"].iloc[0])
    mean = curves.groupby("weight")["value"].mean()
    speed = [float((mean[weight] - start) / (best - start)) for weight in WEIGHTS]
    return Conclusion(
        f"The perfect state baseline leaves {relative[1]:.0%} of the variance of Q̂ as the weight, "
        f"the exact advantage {relative[3]:.0%} (and Q without the baseline {relative[2]:.0%}). "
        f"Over the run, each at its best step size, learning gains {speed[0]:.0%} of what there is "
        f"to gain with Q̂, {speed[1]:.0%} with Q̂ − V, {speed[2]:.0%} with Q and {speed[3]:.0%} with "
        "A.",
        relative[3] < relative[1] < relative[0]
        and relative[3] < relative[2]
        and speed[3] > max(speed[:3]),
        {
            **{f"variance, {w}": r for w, r in zip(WEIGHTS, relative, strict=True)},
            **{f"gain, {w}": s for w, s in zip(WEIGHTS, speed, strict=True)},
        },
    )
