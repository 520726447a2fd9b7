r"""Variance of the policy gradient's estimators.

The estimate from K trajectories with each of lecture 5's weights (CS285, "reducing variance"):

.. math:: \hat g = \frac{1}{K} \sum_{i=1}^{K} \sum_t \nabla \log \pi_\theta(a_{i,t}|s_{i,t})
    \left( \hat Q_{i,t} - b \right) \qquad
    \text{SNR} = \frac{\|E[\hat g]\|^2}{\operatorname{tr} \operatorname{Cov}[\hat g]}

=================  =================================================  ========================
kind               Q̂                                                  b
=================  =================================================  ========================
``total return``   R(τ), sum of all rewards                           0
``reward to go``   Σ_{t'≥t} r_t'                                      0
``mean``           Σ_{t'≥t} r_t'                                      mean of the others' Q̂
``optimal``        Σ_{t'≥t} r_t'                                      E[A∘S] / E[S∘S]
``value``          Σ_{t'≥t} r_t'                                      V(s_t), of past episodes
=================  =================================================  ========================

All have the same expectation, because nothing is discounted and no value is bootstrapped after time
limits. Weights, baselines and trajectory gradients are computed by ``REINFORCE``'s own methods. On
the tabular MDP the exact variance is also computed, by enumerating all trajectories.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from stable_baselines3.common.vec_env import VecNormalize

from sb3_course import NPG, REINFORCE, estimators, make_vec_env
from sb3_course.benchmark.reporting.drawing.files import PAGE, style
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.lectures.gradients.sampled import (
    KINDS,
    MEAN,
    OPTIMAL,
    TO_GO,
    TOTAL,
    VALUE,
    batch_gradients,
    exact_variances,
    variances,
)
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

TITLE = "Variance of the estimators"
CLAIM = (
    "The variance of the policy gradient is inversely proportional to the number of trajectories; "
    "reward to go reduces it, and baselines reduce it further."
)
EQUATION = (
    r"$\hat{g} = \frac{1}{K} \sum_{i,t} \nabla \log \pi_\theta(a_{i,t}|s_{i,t})\, "
    r"(\hat{Q}_{i,t} - b) \qquad \mathrm{SNR} = "
    r"\|\mathrm{E}\,\hat{g}\|^2 \,/\, \mathrm{tr\,Cov}\,\hat{g}$"
)
CAPTION = (
    "Variance, summed over the parameters (upper three rows), and signal-to-noise ratio (lower "
    "three) of the gradient against the number of trajectories, for policies before, halfway "
    "through and after training. Mean over seeds with 95% bootstrap interval over seeds. Black "
    "dashes on the tabular MDP: exact variance, with mean and optimal baselines computed from "
    "exact expectations. Returns are undiscounted."
)

EXACT = "exact"
STAGES = ("fresh", "half-trained", "trained")
TABULAR = "tabular MDP"
FEWEST_BATCHES = 16
"""Fewest batches that a variance is computed from."""


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Seed of the first policy; the others have the following seeds
    :param n_seeds: Number of policies per environment
    :param environments: Environments in addition to the tabular MDP
    :param trained: For each environment, environment steps after which its policy is half-trained
        and trained
    :param n_trajectories: Numbers of trajectories, K
    :param pool: Number of episodes per policy, a multiple of every K, and so many times the largest
        that the variance over its batches is known: its logarithm is biased by about -1 / batches
    :param tabular_pool: Number of episodes per policy on the tabular MDP
    """

    seed: int = 0
    n_seeds: int = 3
    environments: tuple[str, ...] = ("CartPole-v1", "Hopper-v4")
    trained: tuple[tuple[int, int], ...] = ((5_000, 10_000), (60_000, 200_000))
    n_trajectories: tuple[int, ...] = (4, 8, 16, 32)
    pool: int = 1024
    tabular_pool: int = 4096


QUICK = Config(
    n_seeds=2,
    trained=((4_000, 8_000), (20_000, 60_000)),
    n_trajectories=(4, 8, 16),
    pool=256,
    tabular_pool=2048,
)
NETS = {"policy_kwargs": {"net_arch": [32, 32]}, "gamma": 1.0}


def tabular_policies(config: Config, seed: int) -> tuple[TabularMDP, list[dict[str, Any]]]:
    """Train on the tabular MDP and keep the policy at each stage.

    :param config: Settings
    :param seed: Seed of the training
    :return: MDP of the pool, and the policy of each stage
    """
    world = TabularMDP(100)
    model = make(REINFORCE, world, seed, n_episodes=100, baseline="mean", learning_rate=0.03)
    states = []
    for updates in (0, 15, 60):
        for _ in range(updates):
            collect(model)
            model.train()
        states.append({k: v.clone() for k, v in model.policy.state_dict().items()})
    return TabularMDP(config.tabular_pool), states


def trained_policies(
    config: Config, environment: str, seed: int
) -> tuple[Any, list[dict[str, Any]], list[Any]]:
    """Train with NPG on normalized observations and keep the policy at each stage.

    :param config: Settings
    :param environment: Name of the environment
    :param seed: Seed of the training
    :return: Environments of the pool, and the policy and the observation statistics of each stage
    """
    env = make_vec_env(environment, n_envs=8, seed=seed, normalize=True, verbose=0)
    assert isinstance(env, VecNormalize)
    kwargs = NETS | {"gamma": 0.99, "n_steps": 128, "target_kl": 0.05, "learning_rate": 3e-3}
    kwargs["n_critic_updates"] = 20
    model = make(NPG, env, seed, **kwargs)
    states, statistics = [], []
    half, whole = config.trained[config.environments.index(environment)]
    for timesteps in (0, half, whole - half):
        if timesteps:
            model.learn(timesteps, reset_num_timesteps=False)
        states.append({k: v.clone() for k, v in model.policy.state_dict().items()})
        statistics.append(env.obs_rms.copy())
    env.close()
    pool = make_vec_env(environment, n_envs=config.pool, seed=seed + 1000, verbose=0)
    return VecNormalize(pool, training=False, norm_reward=False), states, statistics


def measure_one(config: Config, environment: str, seed: int) -> list[tuple[Any, ...]]:
    """Measure the policies of one training run.

    :param config: Settings
    :param environment: Name of the environment
    :param seed: Seed of the training
    :return: Rows of :func:`measure`'s table
    """
    env: Any
    statistics: list[Any] = [None] * 3
    if environment == TABULAR:
        env, states = tabular_policies(config, seed)
        kwargs: dict[str, Any] = {}
    else:
        env, states, statistics = trained_policies(config, environment, seed)
        kwargs = NETS
    rows: list[tuple[Any, ...]] = []
    for stage, state, moments in zip(STAGES, states, statistics, strict=True):
        if moments is not None:
            env.obs_rms = moments
        model = make(
            REINFORCE, env, seed, n_episodes=env.num_envs, n_critic_updates=400,
            batch_size=1024, critic_learning_rate=0.03, **kwargs,
        )  # fmt: skip
        model.policy.load_state_dict(state)
        past = collect(model)
        to_go = estimators.reward_to_go(past.rewards, past.ends, model.gamma)
        model.fit_critic(model.to_tensor(past.flat_obs), model.to_tensor(past.flat(to_go)))
        where = (environment, stage, seed)
        found = batch_gradients(model, collect(model), config.n_trajectories)
        rows += [(*where, "sampled", *row) for row in variances(found)]
        if environment == TABULAR:
            for kind, variance in exact_variances(env, model).items():
                sizes = config.n_trajectories
                rows += [(*where, EXACT, kind, k, variance / k, 0.0) for k in sizes]
    env.close()
    return rows


def measure(config: Config, note: Note = silent) -> pd.DataFrame:
    """Measure variances in every environment at every stage.

    :param config: Settings
    :param note: Function that is called with the progress
    :return: Table with ``environment, stage, seed, source, kind, trajectories, variance, snr``;
        ``source`` is ``sampled`` or ``exact``
    :raises ValueError: There are fewer than two numbers of trajectories to compare, or the
        episodes are too few, or no multiple of one
    """
    sizes = config.n_trajectories
    if len(set(sizes)) < 2:
        raise ValueError(f"n_trajectories: given {sizes}; allowed: two or more")
    for name in ("pool", "tabular_pool"):
        pool = getattr(config, name)
        if any(pool % k for k in sizes) or pool < FEWEST_BATCHES * max(sizes):
            raise ValueError(
                f"{name}: given {pool}; allowed: a multiple of each of {sizes}, at least "
                f"{FEWEST_BATCHES} times the largest"
            )
    seeds = range(config.seed, config.seed + config.n_seeds)
    runs = [(where, seed) for seed in seeds for where in (TABULAR, *config.environments)]
    rows = []
    for where, seed in track(runs, note, lambda run: f"{run[0]}, seed {run[1]}"):
        rows += measure_one(config, where, seed)
    names = ["environment", "stage", "seed", "source", "kind", "trajectories", "variance", "snr"]
    return pd.DataFrame(rows, columns=names)


def draw(table: pd.DataFrame) -> Figure:
    """Draw variances and signal-to-noise ratios.

    :param table: Table of :func:`measure`
    :return: Figure
    """
    palette = colors(KINDS)
    environments = list(dict.fromkeys(table["environment"]))
    sizes = np.unique(table["trajectories"])
    options = {"hue": "kind", "hue_order": KINDS, "palette": palette}
    with style(FONT_SCALE):
        figure = Figure(figsize=(PAGE, 9), layout="constrained")
        panels = figure.subplots(6, len(environments), squeeze=False, sharex=True)
        for (i, stage), (j, environment) in (
            (row, column) for row in enumerate(STAGES) for column in enumerate(environments)
        ):
            chosen = (table["environment"] == environment) & (table["stage"] == stage)
            sampled = table[chosen & (table["source"] != EXACT)]
            exact = table[chosen & (table["source"] == EXACT)]
            for axes, y in ((panels[i, j], "variance"), (panels[3 + i, j], "snr")):
                curve(axes, sampled, "trajectories", y, **options)
                axes.set(xscale="log", yscale="log", xlabel="", ylabel="")
                axes.set_xticks(sizes, [str(k) for k in sizes])
                axes.xaxis.set_minor_locator(NullLocator())
            for _, part in exact.groupby("kind"):
                mean = part.groupby("trajectories")["variance"].mean()
                panels[i, j].plot(mean.index, mean, color="black", linewidth=0.7, dashes=(3, 2))
            panels[i, 0].set_ylabel(f"Variance,\n{stage}")
            panels[3 + i, 0].set_ylabel(f"SNR,\n{stage}")
            panels[3 + i, j].set_ylim(bottom=1e-4)
        for j, environment in enumerate(environments):
            panel_title(panels[0, j], environment)
            panels[5, j].set_xlabel("Trajectories K")
        line = Line2D([], [], color="black", linewidth=0.7, dashes=(3, 2), label=EXACT)
        legend(figure, palette, 6, [line])
    return figure


def relative(table: pd.DataFrame, trajectories: int) -> "pd.Series[float]":
    """Compute each kind's variance relative to the total return's, as geometric mean over seeds.

    :param table: Table of :func:`measure`
    :param trajectories: Number of trajectories, K
    :return: Ratios by environment, stage and kind
    """
    chosen = table[(table["source"] != EXACT) & (table["trajectories"] == trajectories)]
    chosen = chosen.assign(log=np.log(chosen["variance"]))
    mean = chosen.groupby(["environment", "stage", "kind"])["log"].mean()
    total = mean.xs(TOTAL, level="kind")
    ratio: pd.Series[float] = np.exp(mean - total.reindex(mean.index.droplevel("kind")).to_numpy())
    return ratio


def overall(table: pd.DataFrame, trajectories: int) -> "pd.Series[float]":
    """Compute the geometric mean of :func:`relative` over environments and stages.

    :param table: Table of :func:`measure`
    :param trajectories: Number of trajectories, K
    :return: Ratios by kind
    """
    ratio = relative(table, trajectories).map(np.log).groupby("kind").mean()
    mean: pd.Series[float] = ratio.map(np.exp)
    return mean


def exponents(table: pd.DataFrame) -> "pd.Series[float]":
    """Fit the exponent p of a variance proportional to K^p, by least squares of the logarithms.

    :param table: Table of :func:`measure`
    :return: Mean exponent over environments, stages and seeds, by kind
    """
    sampled = table[table["source"] != EXACT]
    log = sampled.assign(k=np.log(sampled["trajectories"]), v=np.log(sampled["variance"]))
    groups = log.groupby(["environment", "stage", "seed", "kind"])[["k", "v"]]
    slopes = groups.apply(lambda run: float(np.polyfit(run["k"], run["v"], 1)[0]))
    mean: pd.Series[float] = slopes.groupby("kind").mean()
    return mean


def sampled_over_exact(table: pd.DataFrame) -> float:
    """Compute the ratio of sampled to exact variance, for kinds without an estimated baseline.

    :param table: Table of :func:`measure`
    :return: Mean ratio on the tabular MDP
    """
    by = ["stage", "seed", "kind", "trajectories"]
    table = table[(table["environment"] == TABULAR) & table["kind"].isin([TOTAL, TO_GO, VALUE])]
    exact = table[table["source"] == EXACT].groupby(by)["variance"].mean()
    return float((table[table["source"] != EXACT].groupby(by)["variance"].mean() / exact).mean())


def conclude(table: pd.DataFrame) -> Conclusion:
    """Conclude by how much each weight reduces the variance.

    :param table: Table of :func:`measure`
    :return: Sentence, whether the claim holds, and its numbers
    """
    few, many = table["trajectories"].min(), table["trajectories"].max()
    at_few, at_many = overall(table, few), overall(table, many)
    off, power = sampled_over_exact(table), exponents(table)
    optimal = relative(table, few).xs(OPTIMAL, level="kind")
    where, stage = list(optimal.index)[int(optimal.argmax())]
    at_worst = float(optimal.max())
    return Conclusion(
        f"With K trajectories the variance goes as K to the power of {power[TOTAL]:.2f} (total "
        f"return), {power[TO_GO]:.2f} (reward to go) and {power[VALUE]:.2f} (value baseline); the "
        f"mean and the optimal baseline, which are better estimated from more, have "
        f"{power[MEAN]:.2f} and {power[OPTIMAL]:.2f}. With {many}, reward to go has "
        f"{at_many[TO_GO]:.0%} of the total return's variance, the optimal baseline "
        f"{at_many[OPTIMAL]:.0%}, the value baseline {at_many[VALUE]:.0%} and the mean baseline "
        f"{at_many[MEAN]:.0%} (geometric means over environments, stages and seeds). With {few} "
        f"the optimal baseline, which has to be estimated from the other trajectories, has "
        f"{at_few[OPTIMAL]:.0%}, and in the worst case ({where}, {stage} policy) {at_worst:.3g} "
        f"times the variance. On the tabular MDP the sampled variance is {off:.2f} times the exact "
        "one.",
        bool(
            (power[[TOTAL, TO_GO, VALUE]] + 1).abs().max() < 0.15
            and at_many[TO_GO] < 1
            and at_many[[OPTIMAL, VALUE, MEAN]].max() < at_many[TO_GO]
            and abs(off - 1) < 0.15
        ),
        {
            **{f"{kind}, {many} trajectories": float(v) for kind, v in at_many.items()},
            **{f"{kind}, {few} trajectories": float(v) for kind, v in at_few.items()},
            f"{OPTIMAL} at worst, {few} trajectories": at_worst,
            "sampled over exact": off,
            **{f"exponent of K, {kind}": float(p) for kind, p in power.items()},
        },
    )
