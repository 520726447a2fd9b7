"""Returns, TD errors and advantages as pure functions of time-major arrays.

All arrays are of shape (T, N): T steps of N environments, computed in float64. ``ends`` marks the
steps after which an episode ended, by termination or by a time limit, as booleans or as 0 and 1.
``bootstrap_values`` holds V(s_{t+1}) where the episode continues unseen and 0 elsewhere
(``Rollout.bootstrap_values``); without it every return is Monte Carlo, of rewards alone. Arrays of
different shapes are refused with a ``ValueError``: NumPy would make (T, T) of (T,) and (T, 1).
"""

import numpy as np

from sb3_course.collection.observations import Array


def reward_to_go(
    rewards: Array, ends: Array, gamma: float, bootstrap_values: Array | float = 0.0
) -> Array:
    r"""Compute the discounted reward to go (CS285 lecture 5, "reducing variance").

    .. math:: \hat Q_t = \sum_{t'=t}^{T-1} \gamma^{t'-t} r_{t'} \;[+\; \gamma^{T-t} V(s_T)]

    :param rewards: Rewards r_t
    :param ends: Whether an episode ended after each step
    :param gamma: Discount factor γ
    :param bootstrap_values: V(s_{t+1}) where the episode continues unseen, 0 elsewhere
    :return: Reward to go Q̂_t
    """
    _check_shapes(rewards=rewards, ends=ends)
    if np.ndim(bootstrap_values):
        _check_shapes(rewards=rewards, bootstrap_values=bootstrap_values)
    returns = _float64(rewards) + gamma * _float64(bootstrap_values)
    discount = gamma * ~np.asarray(ends, dtype=bool)
    for t in range(len(returns) - 2, -1, -1):
        returns[t] += discount[t] * returns[t + 1]
    return returns


def total_return(to_go: Array, trajectory: Array) -> Array:
    r"""Compute the return of the whole trajectory, at each of its steps (lecture 5, REINFORCE).

    .. math:: R(\tau) = \hat Q_0 = \sum_{t'=0}^{T-1} \gamma^{t'} r_{t'} \;[+\; \gamma^{T} V(s_T)]

    :param to_go: Reward to go Q̂_t, from :func:`reward_to_go`
    :param trajectory: Index of each step's trajectory, -1 where the step does not count
    :return: R(τ) of the trajectory of each step
    """
    _, first, number = np.unique(trajectory.ravel(), return_index=True, return_inverse=True)
    totals: Array = to_go.ravel()[first][number].reshape(to_go.shape)
    return totals


def next_values(values: Array, ends: Array, bootstrap_values: Array) -> Array:
    """Return V(s_{t+1}) of each step.

    :param values: V(s_t)
    :param ends: Whether an episode ended after each step
    :param bootstrap_values: V(s_{t+1}) where the episode continues unseen, 0 elsewhere
    :return: V(s_{t+1}), 0 after a terminal state
    """
    _check_shapes(values=values, ends=ends, bootstrap_values=bootstrap_values)
    shifted = np.array(bootstrap_values, dtype=np.float64)
    shifted[:-1] += np.where(np.asarray(ends[:-1], dtype=bool), 0.0, values[1:])
    return shifted


def td_errors(rewards: Array, values: Array, next_values: Array, gamma: float) -> Array:
    r"""Compute the one-step advantage (lecture 6).

    .. math:: \delta_t = r_t + \gamma V(s_{t+1}) - V(s_t)

    :param rewards: Rewards r_t
    :param values: V(s_t)
    :param next_values: V(s_{t+1}), from :func:`next_values`
    :param gamma: Discount factor γ
    :return: TD errors δ_t
    """
    _check_shapes(rewards=rewards, values=values, next_values=next_values)
    return _float64(rewards) + gamma * _float64(next_values) - _float64(values)


def gae(deltas: Array, ends: Array, gamma: float, gae_lambda: float) -> Array:
    r"""Compute the generalized advantage estimate (Schulman 2016, equation 16; lecture 6).

    .. math:: \hat A_t = \sum_{l \ge 0} (\gamma \lambda)^l \delta_{t+l}

    λ = 0 is the one-step TD error, λ = 1 the Monte Carlo return minus V(s_t) (plus V where the
    episode continues unseen).

    :param deltas: TD errors δ_t, from :func:`td_errors`
    :param ends: Whether an episode ended after each step, where the sum stops
    :param gamma: Discount factor γ
    :param gae_lambda: Decay λ of the weights of later TD errors
    :return: Advantages Â_t
    """
    _check_shapes(deltas=deltas, ends=ends)
    return reward_to_go(deltas, ends, gamma * gae_lambda)


def running_sum(values: Array, ends: Array) -> Array:
    r"""Compute the sum from each trajectory's start up to and including each step.

    .. math:: c_t = \sum_{t'=0}^{t} x_{t'}

    :param values: Summands x_t
    :param ends: Whether an episode ended after each step, where the sum starts again from 0
    :return: Sums c_t
    """
    _check_shapes(values=values, ends=ends)
    sums = np.array(values, dtype=np.float64)
    for t in range(1, len(sums)):
        sums[t] += np.where(ends[t - 1], 0.0, sums[t - 1])
    return sums


def _float64(array: Array | float) -> Array:
    # NumPy 1 would keep float32 beside a number
    return np.asarray(array, dtype=np.float64)


def _check_shapes(**arrays: Array | float) -> None:
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"shapes: given {given}; allowed: the same for all")
