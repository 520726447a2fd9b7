r"""Compounding error: behavior cloning pays for a mistake to the end of the episode, DAgger once.

The imitator errs with a small probability ε at each place where it has seen the expert. On the
tightrope a mistake falls into the net, which no demonstration shows, so that behavior cloning is
at a loss for the rest of the episode (CS285 lecture 2 and homework 1):

.. math:: J_{BC} \le \sum_{t=1}^{T} \left( 1 - (1 - \epsilon)^t \right) \le
    \epsilon \, \tfrac{T (T + 1)}{2} = O(\epsilon T^2) \qquad J_{DAgger} \le \epsilon T

The imitators are those of the library, ``BC`` and ``DAgger``, with a linear softmax policy: one
logit for each state and action, trained until it is close to the policy of maximum likelihood.
Where ε comes from: the expert walks without a mistake, but one label in ``1 / label_error`` names
another action, as an inattentive labeller would. Costs are expectations, solved exactly for the
probabilities of the policy that was learned.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from stable_baselines3.common.logger import Logger

from sb3_course import BC, DAgger
from sb3_course.benchmark.reporting.figures import style
from sb3_course.collection.observations import Array
from sb3_course.envs.lecture_worlds import Tightrope
from sb3_course.lectures.toolkit import (
    DOUBLE,
    FONT_SCALE,
    Conclusion,
    Note,
    colors,
    curve,
    legend,
    letter,
    mean_interval,
    silent,
    track,
)

TITLE = "Compounding error"
CLAIM = (
    "The cost of behavior cloning grows as the square of the horizon, since a mistake leads to "
    "states that no demonstration shows; the cost of DAgger, which asks the expert there, grows as "
    "the horizon."
)
EQUATION = r"$J_{BC} \leq \epsilon\, T(T+1)/2 = O(\epsilon T^2) \qquad J_{DAgger} \leq \epsilon\,T$"
CAPTION = (
    "Tightrope walker of CS285 homework 1. Left: expected cost of an episode, mean over seeds with "
    "95% bootstrap interval over seeds; dashed, the two bounds at the rate at which labels err. "
    "Right: the exponent p of cost ∝ T^p, fitted for each seed (dots), mean with 95% bootstrap "
    "interval over seeds. This library's BC and DAgger with a linear softmax policy."
)
METHODS = ("behavior cloning", "DAgger")


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Of the first repetition; the others follow
    :param n_seeds: Repetitions
    :param horizons: T
    :param label_error: ε, how often a label is wrong
    :param n_rounds: Rounds of DAgger; behavior cloning gets as many demonstrations in one
    :param n_walks: Walks a round
    :param gradient_steps: Of behavior cloning, and of each round of DAgger
    :param batch_size: Labels of a gradient step
    :param learning_rate: Of Adam at the first step, falling to 0 at the last
    """

    seed: int = 0
    n_seeds: int = 8
    horizons: tuple[int, ...] = (10, 16, 25, 40, 63, 100)
    label_error: float = 0.004
    n_rounds: int = 4
    n_walks: int = 800
    gradient_steps: int = 400
    batch_size: int = 2048
    learning_rate: float = 0.2


QUICK = Config(n_seeds=3, horizons=(10, 32, 100))


def label(world: Tightrope, states: Array, error: float, generator: np.random.Generator) -> Array:
    """Ask the expert for its action, which one time in ``1 / error`` is put down wrongly.

    :param world: Knows the expert
    :param states: Of any shape
    :param error: How often a label is wrong
    :param generator: Decides where
    :return: Actions, of the same shape
    """
    shift = generator.integers(1, world.n_actions, size=states.shape)
    wrong = generator.random(states.shape) < error
    labels: Array = (world.expert[states] + wrong * shift) % world.n_actions
    return labels


def demonstrate(
    world: Tightrope, n_rounds: int, error: float, generator: np.random.Generator
) -> dict[str, Array]:
    """Have the expert walk, and put its actions down as :func:`label` does.

    :param world: N copies: walks of a round
    :param n_rounds: Rounds of N walks
    :param error: How often a label is wrong
    :param generator: Decides where
    :return: What ``BC(demonstrations=…)`` takes: ``obs`` and ``acts``, of shape (n_rounds T N,)
    """
    walked, obs = [], world.reset()
    for _ in range(n_rounds * world.horizon):
        walked.append(obs)
        world.step_async(world.expert[obs])
        obs = world.step_wait()[0]
    states = np.concatenate(walked)
    return {"obs": states, "acts": label(world, states, error, generator)}


def imitate(world: Tightrope, config: Config, dagger: bool, generator: np.random.Generator) -> BC:
    """Learn from the expert's labels: along its own walks, or (DAgger) along the imitator's.

    :param world: N copies: walks of a round
    :param config: Settings; the first round's walks are the expert's in either case
    :param dagger: Whether the imitator walks in the others
    :param generator: Draws everything random
    :return: The imitator, with its labels in ``dataset``
    """
    error, steps = config.label_error, config.gradient_steps
    settings: dict[str, Any] = {
        "demonstrations": demonstrate(world, 1 if dagger else config.n_rounds, error, generator),
        "learning_rate": lambda remaining: config.learning_rate * remaining,
        "batch_size": config.batch_size,
        "ent_coef": 0.0,
        "policy_kwargs": {"net_arch": []},
        "seed": int(generator.integers(2**31)),
        "device": "cpu",
    }
    if dagger:
        model: BC = DAgger(
            "MlpPolicy", world, lambda states: label(world, states, error, generator),
            n_steps=world.horizon, gradient_steps=steps, n_eval_episodes=0, **settings,
        )  # fmt: skip
        total = (config.n_rounds - 1) * world.horizon * world.num_envs
    else:
        model = BC("MlpPolicy", world, **settings)
        total = steps * min(config.batch_size, model.dataset.size)
    model.set_logger(Logger(None, []))
    return model.learn(total)


def measure(config: Config, note: Note = silent) -> pd.DataFrame:
    """Give the expected cost of each imitator at each horizon.

    :param config: Settings
    :param note: Told of progress
    :return: ``seed, method, horizon, cost, label_error``
    """
    rows = []
    seeds = range(config.seed, config.seed + config.n_seeds)
    for seed in track(seeds, note, lambda seed: f"seed {seed}"):
        for horizon in config.horizons:
            for method in METHODS:
                world = Tightrope(config.n_walks, horizon)
                generator = np.random.default_rng([seed, horizon, METHODS.index(method)])
                model = imitate(world, config, method == "DAgger", generator)
                cost = -world.objective(world.probs(model.policy))
                rows.append((seed, method, horizon, cost, config.label_error))
    return pd.DataFrame(rows, columns=["seed", "method", "horizon", "cost", "label_error"])


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Fit cost ∝ T^p for each seed, by least squares in logarithms.

    :param table: Of :func:`measure`
    :return: ``method, seed, exponent``
    """
    rows = [
        (method, seed, np.polyfit(np.log(part["horizon"]), np.log(part["cost"]), 1)[0])
        for (method, seed), part in table.groupby(["method", "seed"])
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "exponent"])


def draw(table: pd.DataFrame) -> Figure:
    """Draw cost against horizon, and the exponents.

    :param table: Of :func:`measure`
    """
    palette = colors(METHODS)
    with style(FONT_SCALE):
        figure = Figure(figsize=(DOUBLE, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
        curve(left, table, "horizon", "cost", hue="method", palette=palette, marker="o", ms=4)
        horizon, epsilon = np.unique(table["horizon"]), table["label_error"].iloc[0]
        for bound in (epsilon * horizon * (horizon + 1) / 2, epsilon * horizon):
            left.plot(horizon, bound, color="0.2", linewidth=0.9, dashes=(4, 2))
        left.set(xscale="log", yscale="log", xlabel="Horizon T (steps)")
        left.set_ylabel("Cost (steps)")
        left.set_xticks(horizon, [str(h) for h in horizon])
        left.minorticks_off()
        letter(left, "Cost of an episode")
        fitted = exponents(table)
        for i, method in enumerate(METHODS):
            values = fitted.loc[fitted["method"] == method, "exponent"]
            mean, low, high = mean_interval(values)
            spread = i + np.linspace(-0.2, 0.2, len(values))
            right.scatter(spread, values, s=6, color=palette[method], alpha=0.5, linewidth=0)
            right.errorbar(
                i, mean, [[mean - low], [high - mean]], fmt="_", ms=16, capsize=3, color="0.15"
            )
        right.set(ylabel="Fitted exponent p", xlim=(-0.5, 1.5), ylim=(0.7, 2.3))
        right.set_xticks([0, 1], ["behavior\ncloning", "DAgger"])
        right.grid(visible=False, axis="x")
        letter(right, r"cost $\propto T^{\,p}$")
        bound = Line2D([], [], color="0.2", linewidth=0.9, dashes=(4, 2), label="bound")
        legend(figure, palette, 3, [bound])
    return figure


def conclude(table: pd.DataFrame) -> Conclusion:
    """Say how the costs grow; the claim is exponents of 2 and 1, each to 0.2.

    :param table: Of :func:`measure`
    """
    fitted = exponents(table).groupby("method")["exponent"]
    bc, bc_low, bc_high = mean_interval(fitted.get_group(METHODS[0]))
    dagger, dagger_low, dagger_high = mean_interval(fitted.get_group(METHODS[1]))
    longest = table["horizon"].max()
    at = table[table["horizon"] == longest].groupby("method")["cost"].mean()
    return Conclusion(
        f"The cost of behavior cloning grows as T^{bc:.2f} (95% interval {bc_low:.2f} to "
        f"{bc_high:.2f}), that of DAgger as T^{dagger:.2f} ({dagger_low:.2f} to "
        f"{dagger_high:.2f}); at T = {longest} it is {at[METHODS[0]]:.1f} against "
        f"{at[METHODS[1]]:.2f} steps.",
        abs(bc - 2) <= 0.2 and abs(dagger - 1) <= 0.2,
        {
            "exponent_bc": bc, "exponent_bc_low": bc_low, "exponent_bc_high": bc_high,
            "exponent_dagger": dagger, "exponent_dagger_low": dagger_low,
            "exponent_dagger_high": dagger_high,
            "cost_bc": at[METHODS[0]], "cost_dagger": at[METHODS[1]],
        },
    )  # fmt: skip
