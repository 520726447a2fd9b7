r"""Variance of the policy gradient's estimators.

The estimate from K trajectories, with each of lecture 5's weights (CS285, "reducing variance"):

.. math:: \hat g = \frac{1}{K} \sum_{i=1}^{K} \sum_t \nabla \log \pi_\theta(a_{i,t}|s_{i,t})
    \left( \hat Q_{i,t} - b \right) \qquad
    \text{SNR} = \frac{\|E[\hat g]\|^2}{\operatorname{tr} \operatorname{Cov}[\hat g]}

=================  =================================================  =======================
kind               Q̂                                                  b
=================  =================================================  =======================
``total return``   R(τ), all rewards                                  0
``reward to go``   Σ_{t'≥t} r_t'                                      0
``mean``           the same                                           its mean over the others
``optimal``        the same                                           E[A∘S] / E[S∘S]
``value``          the same                                           V(s_t), of past episodes
=================  =================================================  =======================

All have the same expectation, since nothing is discounted and no value stands behind time limits.
Weights, baselines and trajectory gradients are ``REINFORCE``'s own methods. On the tabular MDP the
variance is also known exactly, by writing down every trajectory.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch as th
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from stable_baselines3.common.vec_env import VecNormalize

from sb3_course import NPG, REINFORCE, estimators, make_vec_env
from sb3_course.benchmark.reporting.figures import style
from sb3_course.collection.observations import Array
from sb3_course.collection.rollout import Rollout
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.estimators import natural_gradient
from sb3_course.lectures.toolkit import (
    DOUBLE,
    FONT_SCALE,
    Conclusion,
    Note,
    collect,
    colors,
    columns,
    curve,
    legend,
    letter,
    make,
    silent,
    track,
)

TITLE = "Variance of the estimators"
CLAIM = (
    "The variance of the policy gradient falls as one over the number of trajectories; reward to "
    "go reduces it, and baselines reduce it further."
)
EQUATION = (
    r"$\hat{g} = \frac{1}{K} \sum_{i,t} \nabla \log \pi_\theta(a_{i,t}|s_{i,t})\, "
    r"(\hat{Q}_{i,t} - b) \qquad \mathrm{SNR} = "
    r"\|\mathrm{E}\,\hat{g}\|^2 \,/\, \mathrm{tr\,Cov}\,\hat{g}$"
)
CAPTION = (
    "Variance, summed over the parameters (upper three rows), and signal-to-noise ratio (lower "
    "three) of the gradient against the number of trajectories, for policies before, amid and "
    "after training. Mean over seeds with 95% bootstrap interval over seeds; black dashes, where "
    "the MDP is tabular, the exact variance with the expectations themselves as mean and optimal "
    "baselines. Returns are undiscounted."
)

SWITCHES: dict[str, tuple[bool, Any]] = {
    "total return": (False, None),
    "reward to go": (True, None),
    "mean": (True, "mean"),
    "optimal": (True, "optimal"),
    "value": (True, "value"),
}
"""``reward_to_go`` and ``baseline`` of each kind."""

KINDS = tuple(SWITCHES)
TOTAL, TO_GO, MEAN, OPTIMAL, VALUE = KINDS
EXACT = "exact"
STAGES = ("fresh", "half-trained", "trained")
TABULAR = "tabular MDP"


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Of the first policy; the others follow
    :param n_seeds: Policies for each environment
    :param environments: Where, beside the tabular MDP
    :param trained: Environment steps after which each one's policy is half-trained and trained
    :param n_trajectories: K
    :param pool: Episodes for each policy; K divides it
    :param tabular_pool: The same on the tabular MDP
    """

    seed: int = 0
    n_seeds: int = 3
    environments: tuple[str, ...] = ("CartPole-v1", "Hopper-v4")
    trained: tuple[tuple[int, int], ...] = ((5_000, 10_000), (60_000, 200_000))
    n_trajectories: tuple[int, ...] = (4, 8, 16, 32, 64)
    pool: int = 256
    tabular_pool: int = 4096


QUICK = Config(
    n_seeds=2,
    trained=((4_000, 8_000), (20_000, 60_000)),
    n_trajectories=(4, 8, 16, 32),
    pool=128,
    tabular_pool=2048,
)
NETS = {"policy_kwargs": {"net_arch": [32, 32]}, "gamma": 1.0}


def step_weights(model: REINFORCE, rollout: Rollout, kind: str) -> Array:
    """Give what multiplies each step's ∇log π, by REINFORCE's own methods.

    :param model: Its switches are set to the kind's
    :param rollout: A batch
    :param kind: One of :data:`KINDS`; the optimal baseline is not one number a step, so that its
        weights are the reward to go
    :return: Of shape (T, N)
    """
    model.reward_to_go, model.baseline = SWITCHES[kind]
    to_go = estimators.reward_to_go(rollout.rewards, rollout.ends, model.gamma)
    q_hat = model.q_hat(rollout, to_go)
    return rollout.spread(q_hat - model.baselines(rollout, q_hat))


def batch_gradients(
    model: REINFORCE, rollout: Rollout, sizes: tuple[int, ...]
) -> dict[tuple[str, int], th.Tensor]:
    """Estimate the gradient from every K trajectories of a batch, in every way.

    :param model: Whose gradient it is
    :param rollout: One episode of each of N environments
    :param sizes: Each K; divides N
    :return: By kind and K, of shape (N / K, P)
    """
    n = rollout.mask.shape[1]
    alone = {kind: step_weights(model, rollout, kind) for kind in (TOTAL, TO_GO, VALUE)}
    means = {k: np.zeros(rollout.mask.shape) for k in sizes}  # it depends on who the others are
    for k, weights in means.items():
        for first in range(0, n, k):
            part = slice(first, first + k)
            weights[:, part] = step_weights(model, columns(rollout, part), MEAN)
    ones = np.ones(rollout.mask.shape)
    stacked = [rollout.flat(w) for w in (ones, *alone.values(), *means.values())]
    scores, total, to_go, value, *mean = model.trajectory_gradients(
        rollout, th.as_tensor(np.stack(stacked, axis=1), dtype=th.float32)
    )
    found = {}
    for k, of_mean in zip(sizes, mean, strict=True):
        parts = {TOTAL: total, TO_GO: to_go, VALUE: value, MEAN: of_mean}
        for kind, gradients in parts.items():
            found[kind, k] = _mean_of_each(gradients, k)
        batches = zip(th.split(scores, k), th.split(to_go, k), strict=True)
        optimal = [a - estimators.optimal_baseline(s, a) * s for s, a in batches]
        found[OPTIMAL, k] = _mean_of_each(th.cat(optimal), k)
    return found


def _mean_of_each(gradients: th.Tensor, k: int) -> th.Tensor:
    """Average the gradients of every k trajectories."""
    return gradients.double().reshape(-1, k, gradients.shape[1]).mean(dim=1)


def variances(gradients: dict[tuple[str, int], th.Tensor]) -> list[tuple[str, int, float, float]]:
    """Give variance and signal-to-noise ratio of each estimate.

    The signal is the squared norm of the mean over all batches, less what chance adds to it, of the
    kind whose variance is least.

    :param gradients: Of :func:`batch_gradients`
    :return: Kind, K, variance (summed over the parameters), ratio
    """
    spread = {key: g.var(dim=0).sum().item() for key, g in gradients.items()}
    least = min(spread, key=lambda key: spread[key] * key[1])
    mean = gradients[least].mean(dim=0).square().sum().item()
    signal = max(mean - spread[least] / len(gradients[least]), 0.0)
    return [(kind, k, v, signal / v) for (kind, k), v in spread.items()]


def exact_variances(world: TabularMDP, model: REINFORCE) -> dict[str, float]:
    r"""Variance of one trajectory's estimate, over all trajectories there can be.

    .. math:: \sum_\tau p(\tau) \|g(\tau)\|^2 - \Big\| \sum_\tau p(\tau) g(\tau) \Big\|^2

    :param world: An MDP small enough
    :param model: Its policy, and its critic for the value baseline
    :return: By kind
    """
    log_pi = world.log_probs(model.policy)
    table = th.stack(
        [
            natural_gradient.flatten(
                th.autograd.grad(entry, model.actor_parameters, retain_graph=True)
            ).double()
            for entry in log_pi.flatten()
        ]
    ).reshape(*log_pi.shape, -1)
    values = th.as_tensor(model.predict_values(np.arange(world.n_states)))
    everything = list(world.trajectories())
    states, actions = (th.tensor([path[i] for path in everything]) for i in (1, 2))
    rewards = th.tensor([path[3] for path in everything])
    p = th.tensor([path[0] for path in everything])
    p = p * log_pi.detach()[states, actions].sum(dim=1).exp()
    steps = table[states, actions]
    to_go = rewards.flip(1).cumsum(dim=1).flip(1)
    weights = {
        TOTAL: to_go[:, :1].expand_as(to_go),
        TO_GO: to_go,
        MEAN: to_go - (p[:, None] * to_go).sum(dim=0),
        VALUE: to_go - values[states],
    }
    gradients = {kind: (w[..., None] * steps).sum(dim=1) for kind, w in weights.items()}
    scores, estimates = steps.sum(dim=1), gradients[TO_GO]
    best = (p @ (estimates * scores)) / (p @ scores**2).clamp_min(1e-12)
    gradients[OPTIMAL] = estimates - best * scores
    return {kind: ((p @ g**2) - (p @ g) ** 2).sum().item() for kind, g in sorted(gradients.items())}


def tabular_policies(config: Config, seed: int) -> tuple[TabularMDP, list[dict[str, Any]]]:
    """Train on the tabular MDP, and keep the policy at each stage.

    :param config: Settings
    :param seed: Of the training
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
    """Train with NPG on normalized observations, and keep the policy at each stage.

    :param config: Settings
    :param environment: Where
    :param seed: Of the training
    :return: Environments for the pool, and of each stage the policy and the statistics
    """
    env = make_vec_env(environment, n_envs=8, seed=seed, normalize=True, verbose=0)
    assert isinstance(env, VecNormalize)
    kwargs = NETS | {"gamma": 0.99, "n_steps": 128, "target_kl": 0.05, "learning_rate": 3e-3}
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
    """Measure the policies of one training.

    :param config: Settings
    :param environment: Where
    :param seed: Of the training
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
    """Measure variances in every environment, at every stage.

    :param config: Settings
    :param note: Told of progress
    :return: ``environment, stage, seed, source, kind, trajectories, variance, snr``; ``source`` is
        ``sampled`` or ``exact``
    """
    seeds = range(config.seed, config.seed + config.n_seeds)
    runs = [(where, seed) for seed in seeds for where in (TABULAR, *config.environments)]
    rows = []
    for where, seed in track(runs, note, lambda run: f"{run[0]}, seed {run[1]}"):
        rows += measure_one(config, where, seed)
    names = ["environment", "stage", "seed", "source", "kind", "trajectories", "variance", "snr"]
    return pd.DataFrame(rows, columns=names)


def draw(table: pd.DataFrame) -> Figure:
    """Draw variances and signal-to-noise ratios.

    :param table: Of :func:`measure`
    """
    palette = colors(KINDS)
    environments = list(dict.fromkeys(table["environment"]))
    sizes = np.unique(table["trajectories"])
    options = {"hue": "kind", "hue_order": KINDS, "palette": palette}
    with style(FONT_SCALE):
        figure = Figure(figsize=(DOUBLE, 9), layout="constrained")
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
            letter(panels[0, j], environment)
            panels[5, j].set_xlabel("Trajectories K")
        line = Line2D([], [], color="black", linewidth=0.7, dashes=(3, 2), label=EXACT)
        legend(figure, palette, 6, [line])
    return figure


def relative(table: pd.DataFrame, trajectories: int) -> "pd.Series[float]":
    """Give each kind's variance relative to the total return's, geometric mean over seeds.

    :param table: Of :func:`measure`
    :param trajectories: K
    :return: By environment, stage and kind
    """
    chosen = table[(table["source"] != EXACT) & (table["trajectories"] == trajectories)]
    chosen = chosen.assign(log=np.log(chosen["variance"]))
    mean = chosen.groupby(["environment", "stage", "kind"])["log"].mean()
    total = mean.xs(TOTAL, level="kind")
    ratio: pd.Series[float] = np.exp(mean - total.reindex(mean.index.droplevel("kind")).to_numpy())
    return ratio


def overall(table: pd.DataFrame, trajectories: int) -> "pd.Series[float]":
    """Give the geometric mean of :func:`relative` over environments and stages.

    :param table: Of :func:`measure`
    :param trajectories: K
    :return: By kind
    """
    ratio = relative(table, trajectories).map(np.log).groupby("kind").mean()
    mean: pd.Series[float] = ratio.map(np.exp)
    return mean


def sampled_over_exact(table: pd.DataFrame) -> float:
    """Give the ratio of sampled to exact variance, where no baseline is estimated from others.

    :param table: Of :func:`measure`
    """
    by = ["stage", "seed", "kind", "trajectories"]
    table = table[(table["environment"] == TABULAR) & table["kind"].isin([TOTAL, TO_GO, VALUE])]
    exact = table[table["source"] == EXACT].groupby(by)["variance"].mean()
    return float((table[table["source"] != EXACT].groupby(by)["variance"].mean() / exact).mean())


def conclude(table: pd.DataFrame) -> Conclusion:
    """Say by how much each way reduces the variance.

    :param table: Of :func:`measure`
    """
    few, many = table["trajectories"].min(), table["trajectories"].max()
    at_few, at_many = overall(table, few), overall(table, many)
    off = sampled_over_exact(table)
    optimal = relative(table, few).xs(OPTIMAL, level="kind")
    where, stage = list(optimal.index)[int(optimal.argmax())]
    at_worst = float(optimal.max())
    return Conclusion(
        f"With {many} trajectories and relative to the total return as the weight, reward to go "
        f"leaves {at_many[TO_GO]:.0%} of the variance, the optimal baseline "
        f"{at_many[OPTIMAL]:.0%}, the value baseline {at_many[VALUE]:.0%} and the mean baseline "
        f"{at_many[MEAN]:.0%} (geometric means over environments, stages and seeds). With {few} "
        f"trajectories the optimal baseline, which has to be estimated from the others, leaves "
        f"{at_few[OPTIMAL]:.0%} and at worst, in the {where} with a {stage} policy, makes it "
        f"{at_worst:.3g} times as large. On the tabular MDP the sampled variance is {off:.2f} "
        f"times the exact one.",
        bool(
            at_many[TO_GO] < 1
            and at_many[[OPTIMAL, VALUE, MEAN]].max() < at_many[TO_GO]
            and abs(off - 1) < 0.15
        ),
        {
            **{f"{kind}, {many} trajectories": float(v) for kind, v in at_many.items()},
            **{f"{kind}, {few} trajectories": float(v) for kind, v in at_few.items()},
            f"{OPTIMAL} at worst, {few} trajectories": at_worst,
            "sampled over exact": off,
        },
    )
