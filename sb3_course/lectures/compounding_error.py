r"""Compounding error: a mistake costs behavior cloning the rest of the episode, DAgger one step.

The imitator errs with a small probability ε in each state in which it has seen the expert. On the
tightrope a mistake leads into the net, which no demonstration contains, so behavior cloning does
not know what to do for the rest of the episode (CS285 lecture 2 and homework 1):

.. math:: J_{BC} \le \sum_{t=1}^{T} \left( 1 - (1 - \epsilon)^t \right) \le
    \epsilon \, \tfrac{T (T + 1)}{2} = O(\epsilon T^2) \qquad J_{DAgger} \le \epsilon T

The imitators are the library's ``BC`` and ``DAgger`` with a linear softmax policy: one logit per
state and action, trained until it is close to the maximum-likelihood policy. The error ε comes from
the labels: the expert itself walks without a mistake, but one label in ``1 / label_error`` is
another action, as with an inattentive labeler. Costs are expectations, computed exactly from the
probabilities of the learned policy.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from stable_baselines3.common.logger import Logger

from sb3_course import BC, DAgger
from sb3_course.benchmark.reporting.drawing.files import PAGE, style
from sb3_course.collection.observations import Array
from sb3_course.common.validation import check
from sb3_course.envs.lecture_worlds import Tightrope
from sb3_course.lectures.toolkit import (
    FONT_SCALE,
    Conclusion,
    Note,
    colors,
    curve,
    legend,
    mean_interval,
    panel_title,
    silent,
    track,
)

TITLE = "Compounding error"
CLAIM = (
    "The cost of behavior cloning grows quadratically with the horizon, because a mistake leads to "
    "states that no demonstration contains; the cost of DAgger, which asks the expert there, grows "
    "linearly."
)
EQUATION = r"$J_{BC} \leq \epsilon\, T(T+1)/2 = O(\epsilon T^2) \qquad J_{DAgger} \leq \epsilon\,T$"
CAPTION = (
    "Tightrope walker of CS285 lecture 2. Left: expected cost of an episode, mean over seeds with "
    "95% bootstrap interval over seeds; dashed: the two bounds for a policy that errs as often as "
    "the labels (a learned one errs a little more often, and may lie above). "
    "Right: exponent p of cost ∝ T^p, fitted for each seed (dots), and its mean with 95% bootstrap "
    "interval over seeds. This library's BC and DAgger with a linear softmax policy."
)
METHODS = ("behavior cloning", "DAgger")


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Seed of the first repetition; the others have the following seeds
    :param n_seeds: Number of repetitions
    :param horizons: Horizons T
    :param label_error: Fraction ε of labels that are wrong
    :param n_rounds: Number of rounds of DAgger; behavior cloning gets as many demonstrations in one
    :param n_walks: Number of walks per round
    :param gradient_steps: Number of gradient steps of behavior cloning, and of each round of DAgger
    :param batch_size: Number of labels in a gradient step
    :param learning_rate: Learning rate of Adam at the first step, decreasing linearly to 0
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
    """Return the expert's actions, a fraction of which are replaced by wrong ones.

    :param world: World with the expert
    :param states: States, of any shape
    :param error: Fraction of labels that are wrong
    :param generator: Generator that chooses the wrong labels
    :return: Actions, of the same shape
    """
    shift = generator.integers(1, world.n_actions, size=states.shape)
    wrong = generator.random(states.shape) < error
    labels: Array = (world.expert[states] + wrong * shift) % world.n_actions
    return labels


def demonstrate(
    world: Tightrope, n_rounds: int, error: float, generator: np.random.Generator
) -> dict[str, Array]:
    """Collect walks of the expert, with its actions labeled by :func:`label`.

    :param world: World with N copies, the walks of a round
    :param n_rounds: Number of rounds of N walks
    :param error: Fraction of labels that are wrong
    :param generator: Generator that chooses the wrong labels
    :return: Demonstrations for ``BC(demonstrations=…)``: ``obs`` and ``acts``, of shape (n_rounds T
        N,)
    """
    visited, obs = [], world.reset()
    for _ in range(n_rounds * world.horizon):
        visited.append(obs)
        world.step_async(world.expert[obs])
        obs = world.step_wait()[0]
    states = np.concatenate(visited)
    return {"obs": states, "acts": label(world, states, error, generator)}


def imitate(world: Tightrope, config: Config, dagger: bool, generator: np.random.Generator) -> BC:
    """Learn from the expert's labels along its own walks, or (DAgger) along the imitator's.

    :param world: World with N copies, the walks of a round
    :param config: Settings; the walks of the first round are always the expert's
    :param dagger: Whether the walks of the other rounds are the imitator's
    :param generator: Generator of everything random
    :return: Imitator, with its labels in ``dataset``
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
    """Compute the expected cost of each imitator at each horizon.

    :param config: Settings
    :param note: Function that is called with the progress
    :return: Table with ``seed, method, horizon, cost, label_error``
    :raises ValueError: There is one horizon, from which no exponent can be fitted
    """
    check("horizons", config.horizons, len(set(config.horizons)) > 1, "at least two different ones")
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

    :param table: Table of :func:`measure`
    :return: Table with ``method, seed, exponent``
    """
    rows = [
        (method, seed, np.polyfit(np.log(part["horizon"]), np.log(part["cost"]), 1)[0])
        for (method, seed), part in table.groupby(["method", "seed"])
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "exponent"])


def draw(table: pd.DataFrame) -> Figure:
    """Draw cost against horizon, and the exponents.

    :param table: Table of :func:`measure`
    :return: Figure
    """
    palette = colors(METHODS)
    with style(FONT_SCALE):
        figure = Figure(figsize=(PAGE, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
        curve(left, table, "horizon", "cost", hue="method", palette=palette, marker="o", ms=4)
        dashed: dict[str, Any] = {"color": "0.2", "linewidth": 0.9, "dashes": (4, 2)}
        horizon, epsilon = np.unique(table["horizon"]), table["label_error"].iloc[0]
        for bound in (epsilon * horizon * (horizon + 1) / 2, epsilon * horizon):
            left.plot(horizon, bound, **dashed)
        left.set(xscale="log", yscale="log", xlabel="Horizon T (steps)")
        left.set_ylabel("Cost (steps)")
        left.set_xticks(horizon, [str(h) for h in horizon])
        left.minorticks_off()
        panel_title(left, "Cost of an episode")
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
        panel_title(right, r"cost $\propto T^{\,p}$")
        bound = Line2D([], [], label="bound at the labels' ε", **dashed)
        legend(figure, palette, 3, [bound])
    return figure


def conclude(table: pd.DataFrame) -> Conclusion:
    """Conclude how fast the costs grow; the claim is exponents of 2 and 1, each within 0.2.

    :param table: Table of :func:`measure`
    :return: Sentence, whether the claim holds, and its numbers
    """
    fitted = exponents(table).groupby("method")["exponent"]
    bc, bc_low, bc_high = mean_interval(fitted.get_group(METHODS[0]))
    dagger, dagger_low, dagger_high = mean_interval(fitted.get_group(METHODS[1]))
    longest = table["horizon"].max()
    several = table["seed"].nunique() > 1
    of_bc = f" (95% interval {bc_low:.2f} to {bc_high:.2f})" if several else ""
    of_dagger = f" ({dagger_low:.2f} to {dagger_high:.2f})" if several else ""
    at = table[table["horizon"] == longest].groupby("method")["cost"].mean()
    return Conclusion(
        f"The cost of behavior cloning grows as T^{bc:.2f}{of_bc}, that of DAgger as "
        f"T^{dagger:.2f}{of_dagger}. At T = {longest} the costs are {at[METHODS[0]]:.1f} and "
        f"{at[METHODS[1]]:.2f} steps.",
        abs(bc - 2) <= 0.2 and abs(dagger - 1) <= 0.2,
        {
            "exponent_bc": bc, "exponent_bc_low": bc_low, "exponent_bc_high": bc_high,
            "exponent_dagger": dagger, "exponent_dagger_low": dagger_low,
            "exponent_dagger_high": dagger_high,
            "cost_bc": at[METHODS[0]], "cost_dagger": at[METHODS[1]],
        },
    )  # fmt: skip
