"""Importance weights: experience of one policy reweighted to another (lecture 5, off-policy)."""

from collections.abc import Sequence

import numpy as np

from sb3_course.collection.observations import Array
from sb3_course.collection.rollout import Rollout
from sb3_course.estimators.returns import next_values, reward_to_go, running_sum, total_return

MAX_LOG_WEIGHT = 80.0
"""Logarithm of the largest weight that leaves room for returns in float32."""


def log_products(ratio: str, log_prob: Array, rollout: Rollout) -> Array:
    """Compute the logarithm of what a policy contributes to an importance weight.

    :param ratio: Kind of weight, as in :func:`log_importance_weights`
    :param log_prob: log π(a_t|s_t), of shape (T, N)
    :param rollout: Batch of experience
    :return: log π(a_t|s_t) for ``step``, otherwise its sum from the trajectory's start to t, of
        shape (T, N)
    """
    values = np.where(rollout.mask, log_prob, 0.0)
    return values if ratio == "step" else running_sum(values, rollout.ends)


def log_mixture(products: Sequence[Array], shares: Array) -> Array:
    r"""Compute the logarithm of a mixture of behavior policies π_k, the balance heuristic's.

    .. math:: \log \sum_k \alpha_k \prod_{t' \le t} \pi_k(a_{t'}|s_{t'})

    (Veach 1997.) Products are mixed, not ratios.

    :param products: :func:`log_products` of each policy, K arrays of shape (T, N)
    :param shares: Shares α_k of the batch, of shape (K,), which sum to 1
    :return: log of the mixture, of shape (T, N)
    """
    mixture: Array = np.logaddexp.reduce(
        [np.log(share) + product for share, product in zip(shares, products, strict=True)], axis=0
    )
    return mixture


def log_importance_weights(ratio: str, new: Array, old: Array, rollout: Rollout) -> Array:
    r"""Compute the logarithm of importance weights (lecture 5, off-policy).

    ================  ================================================================
    ``ratio``         weight at step t, with ρ = π_θ(a|s) / π_old(a|s)
    ================  ================================================================
    ``trajectory``    ρ_0 ρ_1 … ρ_{T-1}, the same at each step
    ``per_decision``  ρ_0 … ρ_t, of the reward at t (Precup 2000)
    ``prefix``        ρ_0 … ρ_t
    ``step``          ρ_t
    ================  ================================================================

    :param ratio: Kind of weight, one of the above
    :param new: :func:`log_products` of π_θ, of shape (T, N)
    :param old: :func:`log_products` of π_old, or the :func:`log_mixture` of several policies, of
        shape (T, N)
    :param rollout: Batch of experience
    :return: log w_t, of shape (T, N), float64; 0 where steps do not count
    """
    weights = np.where(rollout.mask, new - old, 0.0)
    if ratio == "trajectory":
        last = rollout.ends & rollout.mask
        full = np.zeros(rollout.n_trajectories)
        full[rollout.trajectory[last]] = weights[last]
        weights = np.where(rollout.mask, full[rollout.trajectory], 0.0)
    return weights


def self_normalized(ratio: str, log_weights: Array, rollout: Rollout) -> Array:
    r"""Compute weights divided by their mean, in logarithms.

    For ``step`` the mean is over all steps; for the products it is over the trajectories at each
    time, where a trajectory that has ended keeps its last weight (it did not become less likely by
    ending). The expectation of this mean is 1, so the normalized estimate is consistent.

    :param ratio: Kind of weight, as in :func:`log_importance_weights`
    :param log_weights: log w_t, of shape (T, N)
    :param rollout: Batch of experience
    :return: Normalized log w_t, of shape (T, N); 0 where steps do not count
    """
    if ratio == "step":
        return np.where(rollout.mask, log_weights - _log_mean(log_weights[rollout.mask]), 0.0)
    trajectory, time = rollout.trajectory[rollout.mask], rollout.time[rollout.mask]
    last = rollout.mask & rollout.ends
    final = np.zeros(rollout.n_trajectories)
    final[rollout.trajectory[last]] = log_weights[last]
    of_time = np.repeat(final[:, None], time.max() + 1, axis=1)
    of_time[trajectory, time] = log_weights[rollout.mask]
    means = _log_mean(of_time)
    return np.where(rollout.mask, log_weights - means[np.where(rollout.mask, rollout.time, 0)], 0.0)


def _log_mean(logarithms: Array) -> Array:
    """Compute the log of the mean of exp(x) over the first axis."""
    mean: Array = np.logaddexp.reduce(logarithms, axis=0) - np.log(len(logarithms))
    return mean


def truncated_weights(log_weights: Array, max_weight: float | None = None) -> Array:
    """Compute w_t from log w_t, truncated where asked for (Ionides 2008).

    :param log_weights: log w_t, of any shape
    :param max_weight: Largest weight; None for no limit
    :return: w_t, of the same shape
    :raises FloatingPointError: Without a limit, a weight leaves no room for returns in float32, or
        is no number
    :raises ValueError: The limit is not positive
    """
    if max_weight is not None and not max_weight > 0:
        raise ValueError(f"max_weight must be a positive number or None, got {max_weight!r}")
    log_weights = np.asarray(log_weights, dtype=np.float64)
    with np.errstate(over="ignore"):
        weights: Array = np.exp(log_weights)
    if max_weight is not None:
        return np.minimum(weights, max_weight)
    if not (largest := log_weights.max(initial=-np.inf)) <= MAX_LOG_WEIGHT:
        raise FloatingPointError(
            f"an importance weight is e^{largest:.0f}: the policy has moved far from "
            "the one that collected the batch; pass max_weight or self_normalize=True, or take "
            "fewer or shorter steps (n_epochs, n_batches, learning_rate)"
        )
    return weights


def weighted_returns(
    ratio: str,
    weights: Array,
    to_go: Array,
    rollout: Rollout,
    gamma: float,
    reward_to_go_only: bool,
) -> Array:
    r"""Compute Q̂_t reweighted to π_θ.

    For ``per_decision``, each reward has the weight w_t' of its own time (no earlier than t, since
    a_t must be reweighted in any case); otherwise Q̂_t has the weight of time t:

    .. math:: [wQ]_t = \sum_{t' \ge t} \gamma^{t'-t} w_{t'} r_{t'} \qquad \text{or} \qquad
        [wQ]_t = w_t \hat Q_t

    :param ratio: Kind of weight, as in :func:`log_importance_weights`
    :param weights: Importance weights w_t, of shape (T, N)
    :param to_go: Reward to go Σ_{t'≥t} γ^{t'-t} r_t', of shape (T, N)
    :param rollout: Batch of experience
    :param gamma: Discount factor γ
    :param reward_to_go_only: Whether Q̂ leaves out the rewards before t; otherwise it is the total
        return, discounted from the trajectory's start
    :return: [wQ]_t, of shape (T, N)
    """
    total = to_go if reward_to_go_only else total_return(to_go, rollout.trajectory)
    if ratio != "per_decision":
        return weights * total
    rewards = to_go - gamma * next_values(to_go, rollout.ends, np.zeros_like(to_go))
    weighted = reward_to_go(weights * rewards, rollout.ends, gamma)
    if reward_to_go_only:
        return weighted
    discount = gamma**rollout.time
    return discount * weighted + weights * (total - discount * to_go)


def effective_sample_size(weights: Array) -> float:
    r"""Compute the effective sample size, as a share of the sample (Kong 1992).

    .. math:: \frac{\left( \sum_i w_i \right)^2}{n \sum_i w_i^2}

    :param weights: Importance weights w_i, of shape (n,)
    :return: Share from 1/n to 1; 0 if all weights are 0
    """
    weights = np.asarray(weights, dtype=np.float64)
    if not (largest := weights.max(initial=0.0)) > 0:
        return 0.0
    shares = weights / largest  # whose squares neither overflow nor vanish
    return float(shares.sum() ** 2 / (len(weights) * np.square(shares).sum()))
