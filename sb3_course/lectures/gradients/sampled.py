"""Policy gradients from K trajectories, with each of the weights of :mod:`.estimator_variance`.

On a :class:`~sb3_course.envs.enumerable.TabularMDP` the variance of these estimates is also exact,
by enumerating all trajectories.
"""

from typing import Any

import numpy as np
import torch as th

from sb3_course import REINFORCE, estimators
from sb3_course.collection.observations import Array
from sb3_course.collection.rollout import Rollout
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.estimators import natural_gradient
from sb3_course.lectures.toolkit import select_environments

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
    return rollout.spread(q_hat - model.baselines(rollout, q_hat, to_go))


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
