"""The lectures' estimators as pure functions of time-major arrays.

All arrays are of shape (T, N): T steps of N environments, computed in float64. ``ends`` marks the
steps after which an episode ended, by termination or by a time limit. ``cut_values`` holds
V(s_{t+1}) where the episode goes on unseen and 0 elsewhere (``Rollout.cut_values``); without it
every return is Monte Carlo, of rewards alone.
"""

import numpy as np

from sb3_course.collection.observations import Array


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
    r"""Generalized advantage estimate (Schulman 2016, equation 16; lecture 6).

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
