"""The lectures' estimators as pure functions of time-major arrays.

All arrays are of shape (T, N): T steps of N environments, computed in float64. ``ends`` marks the
steps after which an episode ended, by termination or by a time limit. ``cut_values`` holds
V(s_{t+1}) where the episode goes on unseen and 0 elsewhere (``Rollout.cut_values``); without it
every return is Monte Carlo, of rewards alone.
"""

import numpy as np
import torch as th

from sb3_course.common.rollouts import Array


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
    is b_i.

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
    scores, estimates = scores.double(), estimates.double()
    numerator, denominator = estimates * scores, scores.square()
    numerator = numerator.sum(0) - numerator
    denominator = denominator.sum(0) - denominator
    baseline = numerator / denominator
    return th.where(denominator > 0, baseline, th.zeros_like(baseline))


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
