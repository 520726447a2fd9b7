"""Policy gradients that figures compare: sampled with each kind of weight, and exact.

On any environment, the gradient is estimated from K trajectories with each of the weights of
:mod:`.estimator_variance`. In small worlds the answers are exact: the variance of these estimates
on a :class:`~sb3_course.envs.enumerable.TabularMDP`, by enumerating all trajectories; and the
gradient and the natural step of a linear Gaussian policy on
:class:`~sb3_course.envs.enumerable.LectureWorld`, whose parameters are θ = (k, log σ).
"""

from typing import Any

import numpy as np
import torch as th

from sb3_course import REINFORCE, estimators
from sb3_course.collection.observations import Array
from sb3_course.collection.rollout import Rollout
from sb3_course.common.policy_gradient import PolicyGradientAlgorithm
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.envs.lecture_worlds import LectureWorld
from sb3_course.estimators import natural_gradient
from sb3_course.lectures.toolkit import make, select_environments

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


def step_weights(model: REINFORCE, rollout: Rollout, kind: str) -> Array:
    """Compute the factor of each step's ∇log π with REINFORCE's own methods.

    :param model: Model whose switches are set to the kind's
    :param rollout: Batch
    :param kind: One of :data:`KINDS`; since the optimal baseline is not one number per step, its
        weights are the reward to go
    :return: Weights, of shape (T, N)
    """
    model.reward_to_go, model.baseline = SWITCHES[kind]
    to_go = estimators.reward_to_go(rollout.rewards, rollout.ends, model.gamma)
    q_hat = model.q_hat(rollout, to_go)
    return rollout.spread(q_hat - model.baselines(rollout, q_hat))


def batch_gradients(
    model: REINFORCE, rollout: Rollout, sizes: tuple[int, ...]
) -> dict[tuple[str, int], th.Tensor]:
    """Estimate the gradient from every K trajectories of a batch, with every kind of weight.

    :param model: Model whose gradient is estimated
    :param rollout: One episode of each of N environments
    :param sizes: Values of K, which divide N
    :return: Gradients by kind and K, of shape (N / K, P)
    """
    n = rollout.mask.shape[1]
    alone = {kind: step_weights(model, rollout, kind) for kind in (TOTAL, TO_GO, VALUE)}
    means = {k: np.zeros(rollout.mask.shape) for k in sizes}  # depends on the other trajectories
    for k, weights in means.items():
        for first in range(0, n, k):
            part = slice(first, first + k)
            weights[:, part] = step_weights(model, select_environments(rollout, part), MEAN)
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
    """Compute the mean gradient of every k trajectories."""
    return gradients.double().reshape(-1, k, gradients.shape[1]).mean(dim=1)


def variances(gradients: dict[tuple[str, int], th.Tensor]) -> list[tuple[str, int, float, float]]:
    """Compute variance and signal-to-noise ratio of each estimate.

    The signal is the squared norm of the mean over all batches of the kind with the least variance,
    minus what chance adds to it.

    :param gradients: Gradients of :func:`batch_gradients`
    :return: Kind, K, variance (summed over the parameters) and ratio of each estimate
    """
    spread = {key: g.var(dim=0).sum().item() for key, g in gradients.items()}
    least = min(spread, key=lambda key: spread[key] * key[1])
    mean = gradients[least].mean(dim=0).square().sum().item()
    signal = max(mean - spread[least] / len(gradients[least]), 0.0)
    return [(kind, k, v, signal / v) for (kind, k), v in spread.items()]


def exact_variances(world: TabularMDP, model: REINFORCE) -> dict[str, float]:
    r"""Compute the variance of one trajectory's estimate exactly, over all possible trajectories.

    .. math:: \sum_\tau p(\tau) \|g(\tau)\|^2 - \Big\| \sum_\tau p(\tau) g(\tau) \Big\|^2

    :param world: MDP that is small enough to enumerate
    :param model: Model with the policy, and the critic of the value baseline
    :return: Variance by kind
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
    trajectories = list(world.trajectories())
    states, actions = (th.tensor([path[i] for path in trajectories]) for i in (1, 2))
    rewards = th.tensor([path[3] for path in trajectories])
    p = th.tensor([path[0] for path in trajectories])
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


def exact_gradient(world: LectureWorld, theta: th.Tensor) -> tuple[float, th.Tensor]:
    """Compute the expected return J and its gradient in θ = (k, log σ).

    :param world: World
    :param theta: Parameters θ, of shape (2,)
    :return: J and its gradient, of shape (2,)
    """
    theta = theta.double().requires_grad_()
    objective = world.objective(theta[0], theta[1])
    (gradient,) = th.autograd.grad(objective, theta)
    return objective.item(), gradient


def policy_on(world: LectureWorld, theta: th.Tensor) -> PolicyGradientAlgorithm:
    """Make a model whose policy is N(k s, σ²): a linear layer whose bias stays 0.

    :param world: World
    :param theta: Parameters (k, log σ)
    :return: Model
    """
    return with_theta(make(REINFORCE, world, seed=0), theta)


def with_theta(model: PolicyGradientAlgorithm, theta: th.Tensor) -> PolicyGradientAlgorithm:
    """Set a linear Gaussian policy to θ = (k, log σ) and make everything else in it constant.

    :param model: Model on a one-dimensional world
    :param theta: Parameters θ, of shape (2,)
    :return: The same model
    """
    layer, log_std = model.policy.action_net, model.policy.log_std
    assert isinstance(layer, th.nn.Linear)
    weight = layer.weight
    assert isinstance(weight, th.nn.Parameter)
    assert isinstance(log_std, th.nn.Parameter)
    layer.bias.requires_grad_(False).zero_()
    model._attach_policy()
    model._actor_group = [weight, log_std]
    natural_gradient.assign(model.actor_parameters, theta.float())
    return model


def states_of(world: LectureWorld, theta: th.Tensor) -> th.Tensor:
    """Return states whose mean square at each step is E[s_t²], which determines the Fisher matrix.

    :param world: World
    :param theta: Parameters (k, log σ)
    :return: States, of shape (2 H, 1)
    """
    root = world.second_moments(theta[0], theta[1]).sqrt().float()[:, None]
    return th.cat([root, -root])


def fisher_of(
    model: PolicyGradientAlgorithm, world: LectureWorld, theta: th.Tensor
) -> natural_gradient.Product:
    """Return the Fisher product of the policy at θ, computed by the library's own function.

    :param model: Model of :func:`policy_on`
    :param world: World
    :param theta: Parameters (k, log σ)
    :return: Function v ↦ F v
    """
    natural_gradient.assign(model.actor_parameters, theta.float())
    distribution = model.distribution(states_of(world, theta))
    return natural_gradient.fisher_vector_product(distribution, model.actor_parameters)


def natural_step(
    model: PolicyGradientAlgorithm, world: LectureWorld, theta: th.Tensor, gradient: th.Tensor
) -> natural_gradient.CGSolution:
    """Solve F x = g as ``NPG`` does.

    :param model: Model of :func:`policy_on`
    :param world: World
    :param theta: Parameters (k, log σ)
    :param gradient: Gradient g
    :return: Solution of the conjugate gradient method
    """
    product = fisher_of(model, world, theta)
    return natural_gradient.conjugate_gradient(product, gradient.float(), max_steps=2)
