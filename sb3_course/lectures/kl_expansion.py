r"""The KL of a step and its Fisher expansion.

For a step Δθ, with F the Fisher information of the policy at θ (CS285 lecture 5):

.. math:: \mathbb{E}_s \left[ KL(\pi_\theta \| \pi_{\theta + \Delta\theta}) \right] =
    \tfrac{1}{2} \Delta\theta^\top F \Delta\theta + O(\|\Delta\theta\|^3)

and from actions a ~ π_θ alone, with ρ = π_{θ+Δθ}(a|s) / π_θ(a|s), two estimates that are unbiased:

.. math:: k_1 = \operatorname{mean}(-\log \rho) \qquad
    k_3 = \operatorname{mean}(\rho - 1 - \log \rho)

(k₃ is what Stable-Baselines3 logs as ``approx_kl``; Schulman 2020.) The step's direction is the one
that ``NPG`` takes; its length is varied. The true KL is :func:`.kl_divergence`, F Δθ is
:func:`.fisher_vector_product`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch as th
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sb3_course import NPG, make_vec_env
from sb3_course.benchmark.reporting.figures import style
from sb3_course.estimators import natural_gradient
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

TITLE = "KL and its Fisher expansion"
CLAIM = (
    "The KL of a small step is half the Fisher quadratic form: the relative error vanishes with "
    "the step's length. The plain sampled estimate of the KL is the noisier the smaller the step."
)
EQUATION = (
    r"$\mathrm{E}_s\,KL(\pi_\theta \,\|\, \pi_{\theta+\Delta\theta}) = "
    r"\frac{1}{2}\, \Delta\theta^\top F\, \Delta\theta + O(\|\Delta\theta\|^3)$"
)
CAPTION = (
    "KL against the length of a step along NPG's direction, in multiples of the step that "
    "½ΔθᵀFΔθ puts at 0.01 nats, for a categorical (left) and a Gaussian policy (right), both "
    "part-trained. Lines are means over seeds, bands 95% bootstrap intervals over seeds. Top: the "
    "sampled estimates are from one action at each of 2,048 states. Bottom: error relative to the "
    "true KL: of ½ΔθᵀFΔθ its size, of the sampled estimates the root of the mean square over fresh "
    "draws of actions."
)
QUADRATIC, TRUE = "½ΔθᵀFΔθ", "true KL"
K1, K3 = "k₁, sampled", "k₃, sampled"
KINDS = (TRUE, QUADRATIC, K1, K3)
REFERENCE_KL = 0.01


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Of the first policy; the others follow
    :param n_seeds: Policies for each environment
    :param environments: Of a categorical and of a Gaussian policy
    :param train_steps: Environment steps that a policy is trained for by ``NPG``
    :param n_draws: Fresh draws of one action at each state
    :param lengths: Step lengths, in multiples of the one that is 0.01 nats to second order
    """

    seed: int = 0
    n_seeds: int = 5
    environments: tuple[str, ...] = ("CartPole-v1", "Hopper-v4")
    train_steps: int = 12_000
    n_draws: int = 50
    lengths: tuple[float, ...] = tuple(np.geomspace(0.2, 12, 13).round(3).tolist())


QUICK = Config(n_seeds=2, train_steps=6_000, n_draws=20)


def sampled_estimates(old_log_prob: th.Tensor, new_log_prob: th.Tensor) -> tuple[float, float]:
    r"""Estimate KL(old ‖ new) from actions of the old policy.

    .. math:: k_1 = \operatorname{mean}(-\log \rho), \quad
        k_3 = \operatorname{mean}(\rho - 1 - \log \rho), \quad \rho = \pi_{new} / \pi_{old}

    :param old_log_prob: log π_old(a|s), of shape (M,)
    :param new_log_prob: log π_new(a|s), of shape (M,)
    :return: k₁ and k₃, in nats
    """
    log_ratio = (new_log_prob - old_log_prob).double()
    return -log_ratio.mean().item(), (log_ratio.exp() - 1 - log_ratio).mean().item()


def npg_step(model: NPG) -> tuple[th.Tensor, th.Tensor]:
    """Let NPG take one step, and give θ before it and the step.

    :param model: The model; it is put back
    :return: θ and Δθ, of shape (P,) each
    """
    before = natural_gradient.flatten(model.actor_parameters).detach().clone()
    collect(model)
    model.train()
    step = natural_gradient.flatten(model.actor_parameters).detach() - before
    natural_gradient.assign(model.actor_parameters, before)
    return before, step


def measure_one(config: Config, environment: str, seed: int) -> pd.DataFrame:
    """Measure one policy.

    :param config: Settings
    :param environment: Its environment
    :param seed: Of its training
    """
    env = make_vec_env(environment, n_envs=8, seed=seed, verbose=0)
    model = make(NPG, env, seed, n_steps=256, gamma=0.99, policy_kwargs={"net_arch": [32, 32]})
    model.learn(config.train_steps)
    theta, step = npg_step(model)
    obs = model.to_tensor(model.rollout.flat_obs)
    old = model.distribution(obs)
    product = natural_gradient.fisher_vector_product(old, model.actor_parameters)
    curvature = step.dot(product(step)).item()
    unit = natural_gradient.step_length(REFERENCE_KL, curvature) * step
    with th.no_grad():
        draws = [old.sample() for _ in range(config.n_draws)]
        old_log_probs = [old.log_prob(actions) for actions in draws]
    rows = []
    for length in config.lengths:
        natural_gradient.assign(model.actor_parameters, theta + length * unit)
        with th.no_grad():
            new = model.distribution(obs)
            true = natural_gradient.kl_divergence(old, new).item()
            sampled = np.array(
                [
                    sampled_estimates(log_prob, new.log_prob(actions))
                    for actions, log_prob in zip(draws, old_log_probs, strict=True)
                ]
            )
        where = (environment, seed, length)
        quadratic = length**2 * REFERENCE_KL
        rows.append((*where, TRUE, true, 0.0))
        rows.append((*where, QUADRATIC, quadratic, abs(quadratic / true - 1)))
        for name, values in ((K1, sampled[:, 0]), (K3, sampled[:, 1])):
            error = float(np.sqrt(np.mean((values / true - 1) ** 2)))
            rows.append((*where, name, values[0], error))
    env.close()
    return pd.DataFrame(rows, columns=["environment", "seed", "length", "kind", "kl", "error"])


def measure(config: Config, note: Note = silent) -> pd.DataFrame:
    """Give the KL of steps of several lengths by each way of telling it.

    :param config: Settings
    :param note: Told of progress
    :return: ``environment, seed, length, kind, kl, error``; KL in nats, errors relative to the true
    """
    seeds = range(config.seed, config.seed + config.n_seeds)
    runs = [(environment, seed) for environment in config.environments for seed in seeds]
    parts = [
        measure_one(config, *run) for run in track(runs, note, lambda r: f"{r[0]}, seed {r[1]}")
    ]
    return pd.concat(parts, ignore_index=True)


def draw(table: pd.DataFrame) -> Figure:
    """Draw KLs and their relative errors.

    :param table: Of :func:`measure`
    """
    palette = colors(KINDS)
    environments = list(dict.fromkeys(table["environment"]))
    with style(FONT_SCALE):
        figure = Figure(figsize=(DOUBLE, 4.4), layout="constrained")
        panels = figure.subplots(2, len(environments), squeeze=False, sharex=True, sharey="row")
        for column, environment in zip(panels.T, environments, strict=True):
            part = table[table["environment"] == environment]
            options = {"hue": "kind", "hue_order": KINDS, "palette": palette}
            widths = {"size": "kind", "sizes": {TRUE: 4.0, QUADRATIC: 1.3, K1: 1.3, K3: 1.3}}
            curve(column[0], part, "length", "kl", **options, **widths)
            curve(column[1], part[part["kind"] != TRUE], "length", "error", **options)
            column[0].set(xscale="log", yscale="log", ylabel="KL (nats)")
            column[1].set(
                yscale="log", ylabel="Relative error", xlabel="Step length (1: 0.01 nats)"
            )
            letter(column[0], environment)
        for axes in panels.flat:
            axes.set_xticks([0.2, 0.5, 1, 2, 5, 10], ["0.2", "0.5", "1", "2", "5", "10"])
            axes.xaxis.set_minor_locator(NullLocator())
        panels[0][0].set_ylim(bottom=1e-4)
        legend(figure, palette, 4)
    return figure


def conclude(table: pd.DataFrame) -> Conclusion:
    """Say up to where the expansion holds, and how noisy the samples are.

    :param table: Of :func:`measure`
    """
    error = table.groupby(["kind", "length"])["error"].mean()
    quadratic = error[QUADRATIC]
    near = quadratic[quadratic.index <= 3]
    order = float(np.polyfit(np.log(near.index), np.log(near), 1)[0])
    one = float(quadratic.index[np.abs(np.log(quadratic.index)).argmin()])
    good = quadratic.index[(quadratic > 0.1).cumsum() == 0]
    largest = float(good.max()) ** 2 * REFERENCE_KL if len(good) else 0.0
    first = float(quadratic.index.min())
    return Conclusion(
        f"At {one**2 * REFERENCE_KL:.2g} nats the expansion is off by {quadratic[one]:.1%} on "
        f"average; it is within 10% up to {largest:.2g} nats, and its error grows as the step's "
        f"length to the power {order:.1f}. For the shortest step ({first**2 * REFERENCE_KL:.1g} "
        f"nats) the sampled k₁ is off by {error[K1][first]:.0%} and k₃ by {error[K3][first]:.0%}.",
        bool(
            quadratic[first] < 0.1
            and 0.5 < order < 2
            and error[K1][first] > 2 * error[K1][one]
            and error[K3][first] < error[K1][first]
        ),
        {
            "quadratic_error_at_reference": float(quadratic[one]),
            "quadratic_within_10_percent_up_to_nats": largest,
            "quadratic_error_order": order,
            "k1_error_shortest": float(error[K1][first]),
            "k3_error_shortest": float(error[K3][first]),
        },
    )
