"""Twelve exercises on the policy gradient (CS285, lectures 5 and 6): six to write, six to repair.

Ask at any time what is right and what is wrong with them:

    python -m sb3_course.exercises check THIS_FILE [NAME ...]

This executes the file. All numbers are float64. Time comes first: (T, N) are T steps of N
environments, (T, K) are T steps of K trajectories. An episode may end anywhere in a batch, and the
next row is then the first step of another one. θ, and the table of V, require gradients. Loops are
as right as array operations. Leave the arguments as they are: work on copies.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Marks = NDArray[np.bool_]

# ---- Returns and advantages (NumPy) --------------------------------------------------------------


def reward_to_go(rewards: Array, ends: Marks, gamma: float) -> Array:
    """Compute the reward to go Q̂_t = Σ_{t'≥t} γ^(t'-t) r_t'.

    The sum ends with the episode, or with the batch.

    :param rewards: r_t, of shape (T, N)
    :param ends: Whether an episode ended after step t, of shape (T, N)
    :param gamma: γ
    :return: Q̂_t, of shape (T, N)
    """
    raise NotImplementedError


def gae(
    rewards: Array,
    values: Array,
    next_values: Array,
    terminated: Marks,
    truncated: Marks,
    gamma: float,
    gae_lambda: float,
) -> Array:
    """Compute Â_t = Σ_{l≥0} (γλ)^l δ_{t+l}, with δ_t = r_t + γ V(s_{t+1}) - V(s_t).

    The sum ends with the episode, or with the batch. Nothing follows a terminal state; after a time
    limit the episode would have gone on. All arrays are of shape (T, N).

    :param rewards: r_t
    :param values: V(s_t)
    :param next_values: V of the state that step t led to, also where the episode ended there
    :param terminated: Whether that state is terminal
    :param truncated: Whether a time limit cut the episode there
    :param gamma: γ
    :param gae_lambda: λ
    :return: Â_t, of shape (T, N)
    """
    raise NotImplementedError


# ---- Baselines (NumPy) ---------------------------------------------------------------------------


def optimal_baseline(probabilities: Array, scores: Array, returns: Array) -> Array:
    """Compute the constant baseline of least variance, one for each parameter.

    Minimize the variance of S_p (R - b_p), where S = Σ_t ∇log π(a_t|s_t) is a trajectory's score
    and R its return, using E[S] = 0. This holds in expectation; in the batch that you are given
    it need not. Where a parameter's score is always 0, let b be 0.

    :param probabilities: Probability of each of K trajectories, of shape (K,)
    :param scores: S, of shape (K, P)
    :param returns: R, of shape (K,)
    :return: b, of shape (P,)
    """
    raise NotImplementedError


def bias_of_action_baseline(probs: Array, visits: Array, baseline: Array) -> Array:
    """Compute the bias of an estimate that subtracts b(s, a): why is it biased?

    A state's baseline does not bias. This one depends on the action as well: what is E[ĝ] - ∇J of
    ĝ = Σ_t ∇log π(a_t|s_t) (Q̂_t - b(s_t, a_t))? The policy is a softmax of a table,
    π(a|s) = exp θ_sa / Σ_a' exp θ_sa'.

    :param probs: π(a|s), of shape (S, A)
    :param visits: p(s_t = s), of shape (T, S)
    :param baseline: b(s, a), of shape (S, A)
    :return: E[ĝ] - ∇J by θ_sa, of shape (S, A)
    """
    raise NotImplementedError


# ---- Experience of another policy (NumPy) --------------------------------------------------------


def per_decision_returns(
    log_new: Array, log_old: Array, rewards: Array, ends: Marks, gamma: float
) -> Array:
    """Compute Σ_{t'≥t} γ^(t'-t) w_t' r_t', with w_t' the importance weight of r_t'.

    The batch is of π_old, the gradient is of π_θ. The weight of a reward is the ratio of the
    probabilities of all actions that it depends on, from the episode's start.

    :param log_new: log π_θ(a_t|s_t), of shape (T, N)
    :param log_old: log π_old(a_t|s_t), of shape (T, N)
    :param rewards: r_t, of shape (T, N)
    :param ends: Whether an episode ended after step t, of shape (T, N)
    :param gamma: γ
    :return: The weighted sum at each step, of shape (T, N)
    """
    raise NotImplementedError


# ---- The natural gradient (PyTorch) --------------------------------------------------------------


def fisher_vector_product(
    logits_of: Callable[[Tensor], Tensor], theta: Tensor, v: Tensor
) -> Tensor:
    """Compute F v, with F = E_s E_a [∇log π(a|s) ∇log π(a|s)ᵀ].

    The expectation over the actions is exact, the one over the states is the mean over M states.

    :param logits_of: Function from θ to the logits of π_θ at the M states, of shape (M, A)
    :param theta: θ, of shape (P,)
    :param v: v, of shape (P,)
    :return: F v, of shape (P,)
    """
    raise NotImplementedError


# ---- Six planted bugs (PyTorch) ------------------------------------------------------------------
# Each of these updates runs, and most would even learn. Each has one bug: find it and repair it.
# Policies are tables of logits θ, of shape (S, A).


def reinforce_update(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, learning_rate: float
) -> Tensor:
    """Step to θ + α 1/K Σ_i Σ_t ∇log π(a_t|s_t) (R_i - b_i), b_i the mean return of the others.

    :param theta: θ
    :param states: s_t of K trajectories, of shape (T, K)
    :param actions: a_t, of shape (T, K)
    :param rewards: r_t, of shape (T, K)
    :param learning_rate: α
    :return: New θ, of shape (S, A)
    """
    log_prob = torch.log_softmax(theta, dim=1)[states, actions].sum(dim=0)
    returns = rewards.sum(dim=0)
    advantages = returns - returns.mean()
    loss = -(log_prob * advantages).mean()
    (gradient,) = torch.autograd.grad(loss, theta)
    return theta.detach() - learning_rate * gradient


def reward_to_go_update(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    rewards: Tensor,
    ends: Tensor,
    gamma: float,
    learning_rate: float,
) -> Tensor:
    """Step to θ + α 1/(T N) Σ ∇log π(a_t|s_t) Q̂_t, Q̂ the discounted reward to go.

    :param theta: θ
    :param states: s_t, of shape (T, N)
    :param actions: a_t, of shape (T, N)
    :param rewards: r_t, of shape (T, N)
    :param ends: Whether an episode ended after step t, of shape (T, N)
    :param gamma: γ
    :param learning_rate: α
    :return: New θ, of shape (S, A)
    """
    returns = rewards.clone()
    for t in reversed(range(len(rewards) - 1)):
        returns[t] += gamma * returns[t + 1]
    log_prob = torch.log_softmax(theta, dim=1)[states, actions]
    loss = -(log_prob * returns).mean()
    (gradient,) = torch.autograd.grad(loss, theta)
    return theta.detach() - learning_rate * gradient


def advantage_update(
    theta: Tensor,
    values: Tensor,
    states: Tensor,
    actions: Tensor,
    returns: Tensor,
    learning_rate: float,
) -> Tensor:
    """Step to θ + α 1/M Σ ∇log π(a|s) (Q̂ - V(s)).

    :param theta: θ
    :param values: V(s), of shape (M,)
    :param states: s, of shape (M,)
    :param actions: a as a column, as buffers hold them, of shape (M, 1)
    :param returns: Q̂, of shape (M,)
    :param learning_rate: α
    :return: New θ, of shape (S, A)
    """
    log_prob = torch.log_softmax(theta, dim=1)[states].gather(1, actions)
    advantages = returns - values
    loss = -(log_prob * advantages).mean()
    (gradient,) = torch.autograd.grad(loss, theta)
    return theta.detach() - learning_rate * gradient


def critic_update(
    values: Tensor,
    states: Tensor,
    rewards: Tensor,
    next_states: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    learning_rate: float,
) -> Tensor:
    """Step down the mean of ½ (V(s) - y)², with y = r + γ V(s') a constant.

    :param values: V of each state, of shape (S,)
    :param states: s, of shape (M,)
    :param rewards: r, of shape (M,)
    :param next_states: s', also where the episode ended there, of shape (M,)
    :param terminated: Whether s' is terminal, of shape (M,)
    :param truncated: Whether a time limit cut the episode at s', of shape (M,)
    :param gamma: γ
    :param learning_rate: α
    :return: New V, of shape (S,)
    """
    done = terminated | truncated
    targets = rewards + gamma * values[next_states].detach() * ~done
    loss = 0.5 * (values[states] - targets).square().mean()
    (gradient,) = torch.autograd.grad(loss, values)
    return values.detach() - learning_rate * gradient


def off_policy_update(
    theta: Tensor,
    old_log_prob: Tensor,
    states: Tensor,
    actions: Tensor,
    rewards: Tensor,
    learning_rate: float,
) -> Tensor:
    """Step to θ + α 1/K Σ_i w_i R_i Σ_t ∇log π(a_t|s_t), w_i the weight of trajectory i.

    :param theta: θ
    :param old_log_prob: log π_old(a_t|s_t) of the policy that collected, of shape (T, K)
    :param states: s_t, of shape (T, K)
    :param actions: a_t, of shape (T, K)
    :param rewards: r_t, of shape (T, K)
    :param learning_rate: α
    :return: New θ, of shape (S, A)
    """
    log_prob = torch.log_softmax(theta, dim=1)[states, actions].sum(dim=0)
    old_log_prob = log_prob.detach()
    weights = (log_prob - old_log_prob).exp()
    loss = -(weights * rewards.sum(dim=0)).mean()
    (gradient,) = torch.autograd.grad(loss, theta)
    return theta.detach() - learning_rate * gradient


def natural_update(
    theta: Tensor, states: Tensor, gradient: Tensor, target_kl: float, damping: float
) -> Tensor:
    """Step to θ + β x with (F + λI) x = g, and β such that the KL is ε: ½ β² xᵀFx = ε.

    :param theta: θ
    :param states: M states, over which F and the KL are means, of shape (M,)
    :param gradient: g, of shape (S, A)
    :param target_kl: ε
    :param damping: λ
    :return: New θ, of shape (S, A)
    """
    n_states, n_actions = theta.shape
    blocks = theta.new_zeros(n_states, n_actions, n_states, n_actions)
    for s in states.tolist():  # the Fisher information of a softmax in its logits, at each state
        p = torch.softmax(theta[s], dim=0)
        blocks[s, :, s] += (p.diag() - p.outer(p)) / len(states)
    fisher = blocks.view(theta.numel(), theta.numel())
    damped = fisher + damping * torch.eye(len(fisher), dtype=fisher.dtype)
    x = torch.linalg.solve(damped, gradient.flatten())
    beta = math.sqrt(2 * target_kl / x.dot(x).item())
    step: Tensor = beta * x.view_as(theta)
    return theta + step
