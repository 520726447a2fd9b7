r"""The KL of a step and its Fisher expansion.

For a step Δθ, with F the Fisher information of the policy at θ (CS285 lecture 5):

.. math:: \mathbb{E}_s \left[ KL(\pi_\theta \| \pi_{\theta + \Delta\theta}) \right] =
    \tfrac{1}{2} \Delta\theta^\top F \Delta\theta + O(\|\Delta\theta\|^3)

From actions a ~ π_θ alone, with ρ = π_{θ+Δθ}(a|s) / π_θ(a|s), there are two unbiased estimates:

.. math:: k_1 = \operatorname{mean}(-\log \rho) \qquad
    k_3 = \operatorname{mean}(\rho - 1 - \log \rho)

(Stable-Baselines3 logs k₃ as ``approx_kl``; Schulman 2020.) The step has the direction of an
``NPG`` step and a varying length. The true KL is :func:`.kl_divergence`, F Δθ is
:func:`.fisher_vector_product`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch as th
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sb3_course import NPG, make_vec_env
from sb3_course.benchmark.reporting.drawing.files import PAGE, style
from sb3_course.common.validation import check
from sb3_course.estimators import natural_gradient
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

TITLE = "KL and its Fisher expansion"
CLAIM = (
    "The KL of a small step is half the Fisher quadratic form: the relative error vanishes with "
    "the step's length. The plain sampled estimate of the KL becomes noisier as the step becomes "
    "smaller."
)
EQUATION = (
    r"$\mathrm{E}_s\,KL(\pi_\theta \,\|\, \pi_{\theta+\Delta\theta}) = "
    r"\frac{1}{2}\, \Delta\theta^\top F\, \Delta\theta + O(\|\Delta\theta\|^3)$"
)
CAPTION = (
    "KL against the length of a step along NPG's direction, in multiples of the step for which "
    "½ΔθᵀFΔθ is 0.01 nats, for a categorical policy (left) and a Gaussian policy (right), both "
    "partly trained. Lines are means over seeds, bands 95% bootstrap intervals over seeds. Top: "
    "KL; sampled estimates use one action in each of 2,048 states. Bottom: error relative to the "
    "true KL; for ½ΔθᵀFΔθ its absolute value, for sampled estimates the root mean square over "
    "independent draws of actions."
)
QUADRATIC, TRUE = "½ΔθᵀFΔθ", "true KL"
K1, K3 = "k₁, sampled", "k₃, sampled"
KINDS = (TRUE, QUADRATIC, K1, K3)
REFERENCE_KL = 0.01


NEAR = 3.0
"""Length up to which the order of the error is fitted."""


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Seed of the first policy; the others have the following seeds
    :param n_seeds: Number of policies per environment
    :param environments: Environments with a categorical and with a Gaussian policy
    :param train_steps: Environment steps that a policy is trained for with ``NPG``
    :param n_draws: Number of independent draws of one action in each state
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

    :param old_log_prob: Log probabilities log π_old(a|s), of shape (M,)
    :param new_log_prob: Log probabilities log π_new(a|s), of shape (M,)
    :return: k₁ and k₃ in nats
    """
    log_ratio = (new_log_prob - old_log_prob).double()
    return -log_ratio.mean().item(), (log_ratio.exp() - 1 - log_ratio).mean().item()


def npg_step(model: NPG) -> tuple[th.Tensor, th.Tensor]:
    """Compute the parameters θ of a model and the step that NPG takes from there.

    :param model: Model, whose parameters are restored afterwards
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
    :param environment: Name of the environment
    :param seed: Seed of its training
    :return: Rows of :func:`measure`'s table
    """
    env = make_vec_env(environment, n_envs=8, seed=seed, verbose=0)
    settings = {"n_steps": 256, "gamma": 0.99, "target_kl": 0.02, "n_critic_updates": 20}
    model = make(NPG, env, seed, policy_kwargs={"net_arch": [32, 32]}, **settings)
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
            true = natural_gradient.kl_divergence(old, new).mean().item()
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
    """Compute the KL of steps of several lengths with every method.

    :param config: Settings
    :param note: Function that is called with the progress
    :return: Table with ``environment, seed, length, kind, kl, error``; KL in nats, errors relative
        to the true KL
    :raises ValueError: The lengths lack two near 0, from which the order of the error is fitted
    """
    near = [length for length in config.lengths if length <= NEAR]
    takes = f"numbers with two of at most {NEAR:g} among them"
    check("lengths", config.lengths, len(near) > 1, takes)
    seeds = range(config.seed, config.seed + config.n_seeds)
    runs = [(environment, seed) for environment in config.environments for seed in seeds]
    parts = [
        measure_one(config, *run) for run in track(runs, note, lambda r: f"{r[0]}, seed {r[1]}")
    ]
    return pd.concat(parts, ignore_index=True)


def draw(table: pd.DataFrame) -> Figure:
    """Draw KLs and their relative errors.

    :param table: Table of :func:`measure`
    :return: Figure
    """
    palette = colors(KINDS)
    environments = list(dict.fromkeys(table["environment"]))
    with style(FONT_SCALE):
        figure = Figure(figsize=(PAGE, 4.4), layout="constrained")
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
            panel_title(column[0], environment)
        for axes in panels.flat:
            axes.set_xticks([0.2, 0.5, 1, 2, 5, 10], ["0.2", "0.5", "1", "2", "5", "10"])
            axes.xaxis.set_minor_locator(NullLocator())
        panels[0][0].set_ylim(bottom=1e-4)
        legend(figure, palette, 4)
    return figure


def conclude(table: pd.DataFrame) -> Conclusion:
    """Conclude up to which KL the expansion holds, and how noisy the sampled estimates are.

    :param table: Table of :func:`measure`
    :return: Sentence, whether the claim holds, and its numbers
    """
    error = table.groupby(["kind", "length"])["error"].mean()
    quadratic = error[QUADRATIC]
    near = quadratic[quadratic.index <= NEAR]
    order = float(np.polyfit(np.log(near.index), np.log(near), 1)[0])
    one = float(quadratic.index[np.abs(np.log(quadratic.index)).argmin()])
    good = quadratic.index[(quadratic > 0.1).cumsum() == 0]
    largest = float(good.max()) ** 2 * REFERENCE_KL if len(good) else 0.0
    first = float(quadratic.index.min())
    return Conclusion(
        f"At {one**2 * REFERENCE_KL:.2g} nats the error of the expansion is {quadratic[one]:.1%} "
        f"on average; it is within 10% up to {largest:.2g} nats and grows as the step's length to "
        f"the power of {order:.1f}. For the shortest step ({first**2 * REFERENCE_KL:.1g} nats) the "
        f"error of the sampled k₁ is {error[K1][first]:.0%} and that of k₃ {error[K3][first]:.0%}.",
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
