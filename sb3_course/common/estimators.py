"""The lectures' estimators as pure functions of time-major arrays.

All arrays are of shape (T, N): T steps of N environments, computed in float64. ``ends`` marks the
steps after which an episode ended, by termination or by a time limit. ``cut_values`` holds
V(s_{t+1}) where the episode goes on unseen and 0 elsewhere (``Rollout.cut_values``); without it
every return is Monte Carlo, of rewards alone.
"""

import numpy as np
import torch as th

from sb3_course.common.rollouts import Array, Rollout


def reward_to_go(
    rewards: Array, ends: Array, gamma: float, cut_values: Array | float = 0.0
) -> Array:
    r"""Discounted reward to go (CS285 lecture 5, "reducing variance").

    .. math:: \hat Q_t = \sum_{t'=t}^{T-1} \gamma^{t'-t} r_{t'} \;[+\; \gamma^{T-t} V(s_T)]

    :param rewards: r_t
    :param ends: Steps after which an episode ended
    :param gamma: Discount γ
    :param cut_values: V(s_{t+1}) at cuts, 0 elsewhere
    :return: Q̂_t
    """
    returns = rewards + gamma * np.asarray(cut_values, dtype=np.float64)
    discount = gamma * ~ends
    for t in range(len(returns) - 2, -1, -1):
        returns[t] += discount[t] * returns[t + 1]
    return returns


def total_return(to_go: Array, trajectory: Array) -> Array:
    r"""Return of the whole trajectory, at each of its steps (lecture 5, plain REINFORCE).

    .. math:: R(\tau) = \hat Q_0 = \sum_{t'=0}^{T-1} \gamma^{t'} r_{t'} \;[+\; \gamma^{T} V(s_T)]

    :param to_go: Q̂_t, of :func:`reward_to_go`
    :param trajectory: Number of each step's trajectory, -1 where the step does not count
    :return: R(τ) of the trajectory that each step belongs to
    """
    _, first, number = np.unique(trajectory.ravel(), return_index=True, return_inverse=True)
    totals: Array = to_go.ravel()[first][number].reshape(to_go.shape)
    return totals


def leave_one_out_mean(returns: Array, group: Array) -> Array:
    r"""Mean over the others of one's group: a baseline that does not depend on one's own return.

    .. math:: b_i = \frac{1}{K-1} \sum_{j \ne i} R_j

    A mean that holds R_i itself would shrink the gradient by (K-1)/K. One without others gets 0.

    :param returns: R_i, of shape (M,)
    :param group: Non-negative number of each one's group, of shape (M,)
    :return: b_i, of shape (M,)
    """
    total = np.bincount(group, weights=returns)[group]
    others = np.bincount(group)[group] - 1
    return np.divide(total - returns, others, out=np.zeros_like(total), where=others > 0)


def optimal_baseline(scores: th.Tensor, estimates: th.Tensor) -> th.Tensor:
    r"""Leave-one-out estimate of the baseline that minimises the variance, one for each parameter.

    With S = Σ_t ∇log π(a_t|s_t) and A = Σ_t ∇log π(a_t|s_t) Q̂_t of a trajectory, the variance of
    A - b∘S is least, parameter by parameter, at

    .. math:: b = \frac{E[A \circ S]}{E[S \circ S]}
        \qquad b_i = \frac{\sum_{j \ne i} A_j \circ S_j}{\sum_{j \ne i} S_j \circ S_j}

    which for total returns is lecture 5's E[(∇log π)² R] / E[(∇log π)²]. Since b_i holds nothing of
    trajectory i and E[S] = 0, the gradient stays unbiased. Where all the others' scores are 0, so
    is b_i. Takes the memory of a few tensors of K·P numbers.

    :param scores: S of each of K trajectories, of shape (K, P)
    :param estimates: A of each, of shape (K, P)
    :return: b_i, of shape (K, P)
    :raises ValueError: Fewer than two trajectories
    """
    if len(scores) < 2:
        raise ValueError(
            f"the optimal baseline needs at least 2 trajectories, got {len(scores)}: "
            "each one's baseline is estimated from the others"
        )
    numerator, denominator = (estimates * scores).double(), scores.double().square()
    numerator = numerator.sum(0) - numerator
    denominator = denominator.sum(0) - denominator
    return th.where(denominator > 0, numerator / denominator, 0.0).to(scores.dtype)


def covariance_trace(gradients: th.Tensor, n_transitions: int) -> float:
    r"""Variance of a gradient estimate, summed over the parameters.

    For the estimate ĝ = (1/M) Σ_i g_i over K independent trajectories

    .. math:: \operatorname{tr} \operatorname{Cov}[\hat g]
        = \frac{K}{M^2} \sum_p \operatorname{Var}_i [g_{i,p}]

    :param gradients: g_i, of shape (K, P), K >= 2
    :param n_transitions: M
    :return: The trace
    """
    k = len(gradients)
    return float(gradients.double().var(dim=0).sum()) * k / n_transitions**2


def next_values(values: Array, ends: Array, cut_values: Array) -> Array:
    """Give V(s_{t+1}) of each step, from V(s_t) and from what follows each cut.

    :param values: V(s_t)
    :param ends: Steps after which an episode ended
    :param cut_values: V(s_{t+1}) at cuts, 0 elsewhere
    :return: V(s_{t+1}), 0 behind a terminal state
    """
    following = cut_values.copy()
    following[:-1] += np.where(ends[:-1], 0.0, values[1:])
    return following


def td_errors(rewards: Array, values: Array, following: Array, gamma: float) -> Array:
    r"""One-step advantage (lecture 6).

    .. math:: \delta_t = r_t + \gamma V(s_{t+1}) - V(s_t)

    :param rewards: r_t
    :param values: V(s_t)
    :param following: V(s_{t+1}), of :func:`next_values`
    :param gamma: Discount γ
    :return: δ_t
    """
    return rewards + gamma * following - values


def gae(deltas: Array, ends: Array, gamma: float, gae_lambda: float) -> Array:
    r"""Generalised advantage estimate (Schulman 2016, equation 16; lecture 6).

    .. math:: \hat A_t = \sum_{l \ge 0} (\gamma \lambda)^l \delta_{t+l}

    λ = 0 is the one-step TD error, λ = 1 the Monte Carlo return minus V(s_t) (with V behind a cut).

    :param deltas: δ_t, of :func:`td_errors`
    :param ends: Steps after which an episode ended: the sum stops there
    :param gamma: Discount γ
    :param gae_lambda: λ
    :return: Â_t
    """
    return reward_to_go(deltas, ends, gamma * gae_lambda)


def running_sum(values: Array, ends: Array) -> Array:
    r"""Sum from each trajectory's start up to and with each step.

    .. math:: c_t = \sum_{t'=0}^{t} x_{t'}

    :param values: x_t
    :param ends: Steps after which an episode ended: the sum starts anew
    :return: c_t
    """
    sums = values.copy()
    for t in range(1, len(sums)):
        sums[t] += np.where(ends[t - 1], 0.0, sums[t - 1])
    return sums


def log_importance_weights(
    ratio: str, log_prob: Array, behaviours: Array, shares: Array, rollout: Rollout
) -> Array:
    r"""Logarithm of what reweighs experience of other policies to π_θ (lecture 5, off-policy).

    ================  ================================================================
    ``ratio``         weight at step t, with ρ = π_θ(a|s) / π_old(a|s)
    ================  ================================================================
    ``trajectory``    ρ_0 ρ_1 … ρ_T, the same at each step
    ``per_decision``  ρ_0 … ρ_t, of the reward at t (Precup 2000)
    ``prefix``        ρ_0 … ρ_t
    ``step``          ρ_t
    ================  ================================================================

    With several behaviour policies π_k and their shares α_k of the batch, π_old is their mixture:
    for products Σ_k α_k Π π_k, the balance heuristic (Veach 1997).

    :param ratio: One of the above
    :param log_prob: log π_θ(a_t|s_t)
    :param behaviours: log π_k(a_t|s_t), of shape (K, T, N)
    :param shares: α_k, of shape (K,); they sum to 1
    :param rollout: The batch
    :return: Of shape (T, N), float64; 0 where steps do not count
    """

    def gather(values: Array) -> Array:
        values = np.where(rollout.mask, values, 0.0)
        return values if ratio == "step" else running_sum(values, rollout.ends)

    log_shares = np.log(shares)[:, None, None]
    old = np.logaddexp.reduce(log_shares + np.stack([gather(b) for b in behaviours]), axis=0)
    weights = np.where(rollout.mask, gather(log_prob) - old, 0.0)
    if ratio == "trajectory":
        last = rollout.ends & rollout.mask
        full = np.zeros(rollout.n_trajectories)
        full[rollout.trajectory[last]] = weights[last]
        weights = np.where(rollout.mask, full[rollout.trajectory], 0.0)
    return weights


def self_normalized(ratio: str, log_weights: Array, rollout: Rollout) -> Array:
    r"""Divide weights by their mean, all in logarithms.

    For ``step`` that is the mean over all steps; for the products, the mean over the trajectories,
    at each time, where one that has ended keeps its last weight (it did not become less likely by
    ending). Its expectation is 1, which is what makes dividing by it consistent.

    :param ratio: As in :func:`log_importance_weights`
    :param log_weights: log w_t, of shape (T, N)
    :param rollout: The batch
    :return: Of shape (T, N)
    """
    if ratio == "step":
        normalized: Array = log_weights - _log_mean(log_weights[rollout.mask])
        return normalized
    trajectory, time = rollout.trajectory[rollout.mask], rollout.time[rollout.mask]
    last = rollout.mask & rollout.ends
    final = np.zeros(rollout.n_trajectories)
    final[rollout.trajectory[last]] = log_weights[last]
    of_time = np.repeat(final[:, None], time.max() + 1, axis=1)
    of_time[trajectory, time] = log_weights[rollout.mask]
    return log_weights - _log_mean(of_time)[np.where(rollout.mask, rollout.time, 0)]


def _log_mean(logarithms: Array) -> Array:
    """Log of the mean of exp(x) over the first axis."""
    mean: Array = np.logaddexp.reduce(logarithms, axis=0) - np.log(len(logarithms))
    return mean


def weighted_returns(
    ratio: str,
    weights: Array,
    to_go: Array,
    rollout: Rollout,
    gamma: float,
    reward_to_go_only: bool,
) -> Array:
    r"""Q̂_t reweighed to π_θ.

    For ``per_decision``, each reward by the weight w_t' of its own time (no earlier than t, since
    a_t must be reweighed in any case), and else Q̂_t by the weight of time t:

    .. math:: [wQ]_t = \sum_{t' \ge t} \gamma^{t'-t} w_{t'} r_{t'} \qquad \text{or} \qquad
        [wQ]_t = w_t \hat Q_t

    :param ratio: As in :func:`log_importance_weights`
    :param weights: w_t, of shape (T, N)
    :param to_go: Σ_{t'≥t} γ^{t'-t} r_t', of shape (T, N)
    :param rollout: The batch
    :param gamma: Discount γ
    :param reward_to_go_only: Whether Q̂ leaves out the rewards before t; otherwise it is the total
        return, discounted from the trajectory's start
    :return: Of shape (T, N)
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
    r"""Share of the sample that would be worth as much unweighted (Kong 1992).

    .. math:: \frac{\left( \sum_i w_i \right)^2}{n \sum_i w_i^2}

    :param weights: w_i, of shape (n,)
    :return: From 1/n to 1; 0 if all weights are 0
    """
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / (len(weights) * squares) if squares > 0 else 0.0
