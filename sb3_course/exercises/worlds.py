"""Small MDPs with all of their trajectories, on which estimators have exact expectations."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch as th

from sb3_course.collection.observations import Array
from sb3_course.envs.enumerable import TabularMDP

EXACT = 1e-6
"""Largest relative error that is rounding."""
WORTH_TELLING = 1e-3
"""Least relative excess of variance that is told."""


@dataclass(frozen=True)
class World:
    """Every trajectory of a tabular MDP under a policy π(a|s) = softmax(θ_s)_a.

    ================  ==============  ==============================================
    variable          shape           meaning
    ================  ==============  ==============================================
    ``theta``         (S, A)          logits θ, which are the parameters, P = S·A
    ``probs``         (S, A)          π(a|s)
    ``states``        (T, N)          s_t of each trajectory; N is their number
    ``actions``       (T, N)          a_t
    ``rewards``       (T, N)          r_t
    ``p``             (N,)            p(τ) under the policy
    ``scores``        (T, N, P)       ∇_θ log π(a_t|s_t)
    ================  ==============  ==============================================
    """

    mdp: TabularMDP
    theta: Array
    probs: Array
    states: Array
    actions: Array
    rewards: Array
    p: Array
    scores: Array

    def gradient(self, gamma: float = 1.0) -> Array:
        r"""Compute ∇J exactly, by differentiating J itself instead of log π.

        .. math:: J(\theta) = \sum_\tau p_\theta(\tau) \sum_t \gamma^t r_t

        :param gamma: Discount factor γ
        :return: Gradient, of shape (P,)
        """
        theta = th.tensor(self.theta, requires_grad=True)
        log_pi = th.log_softmax(theta, dim=1)[self.states, self.actions].sum(dim=0)
        dynamics = self.p / self.probs[self.states, self.actions].prod(axis=0)
        total = gamma ** np.arange(len(self.rewards)) @ self.rewards
        objective = (log_pi.exp() * th.from_numpy(dynamics * total)).sum()
        (gradient,) = th.autograd.grad(objective, theta)
        flat: Array = gradient.numpy().ravel()
        return flat

    def estimates(self, weights: Array, gamma: float = 1.0) -> Array:
        """Compute each trajectory's estimate Σ_t γ^t ∇log π(a_t|s_t) w_t.

        :param weights: Weights w_t of some first steps, of shape (≤ T, N)
        :param gamma: Discount factor γ, counted from each episode's start
        :return: Estimates, of shape (N, P)
        """
        time = np.arange(len(weights)) % self.mdp.horizon
        discounted = gamma ** time[:, None] * weights
        estimates: Array = np.einsum("tn,tnp->np", discounted, self.scores[: len(weights)])
        return estimates

    @property
    def ends(self) -> Array:
        """Whether an episode ends after each step, of shape (T, N)."""
        last = np.arange(len(self.states)) % self.mdp.horizon == self.mdp.horizon - 1
        return np.broadcast_to(last[:, None], self.states.shape).copy()

    def in_a_row(self) -> "World":
        """Return all pairs of trajectories, one after the other in one environment.

        :return: World of N² outcomes, each of 2T steps; the sum of its estimates is one of 2∇J
        """
        first, second = np.divmod(np.arange(len(self.p) ** 2), len(self.p))
        parts = (self.states, self.actions, self.rewards, self.scores)
        s, a, r, scores = (np.concatenate([part[:, first], part[:, second]]) for part in parts)
        p = self.p[first] * self.p[second]
        return replace(self, states=s, actions=a, rewards=r, scores=scores, p=p)


def softmax(theta: Array) -> Array:
    """Compute π(a|s) from logits.

    :param theta: Logits, of shape (S, A)
    :return: Probabilities, of shape (S, A)
    """
    weights: Array = np.exp(theta - theta.max(axis=1, keepdims=True))
    probs: Array = weights / weights.sum(axis=1, keepdims=True)
    return probs


def score_table(probs: Array) -> Array:
    r"""Compute ∂ log π(a|s) / ∂θ of a tabular softmax policy.

    .. math:: \frac{\partial \log \pi(a|s)}{\partial \theta_{s'a'}}
        = [s = s'] \left( [a = a'] - \pi(a'|s) \right)

    :param probs: π(a|s), of shape (S, A)
    :return: Scores, of shape (S, A, S·A)
    """
    n_states, n_actions = probs.shape
    table = np.zeros((n_states, n_actions, n_states, n_actions))
    for s in range(n_states):
        table[s, :, s] = np.eye(n_actions) - probs[s]
    return table.reshape(n_states, n_actions, -1)


@cache
def world(size: int = 3, horizon: int = 3, policy_seed: int = 5, scale: float = 1.0) -> World:
    """Enumerate a random MDP with two actions.

    :param size: Number of states
    :param horizon: Steps of an episode
    :param policy_seed: Seed of θ; worlds of different policies have the same MDP
    :param scale: Standard deviation of θ; the larger, the more certain the policy
    :return: World of (2·size)^horizon trajectories
    """
    mdp = TabularMDP(1, horizon=horizon, n_states=size, reward_offset=1.0)
    theta: Array = scale * np.random.default_rng(policy_seed).normal(size=(size, mdp.n_actions))
    probs = softmax(theta)
    dynamics, states, actions, rewards = zip(*mdp.trajectories(), strict=True)
    s, a, r = (np.array(part).T.copy() for part in (states, actions, rewards))
    p = np.array(dynamics) * probs[s, a].prod(axis=0)
    return World(mdp, theta, probs, s, a, r, p, score_table(probs)[s, a])


def deviation(estimates: Array, p: Array, truth: Array, right: Array) -> str:
    """Return how an estimator's exact expectation or variance differs from the right one's.

    :param estimates: Estimate of each outcome, of shape (N, P)
    :param p: Probability of each outcome, of shape (N,)
    :param truth: What the expectation should be, of shape (P,)
    :param right: Estimates of the right answer, of shape (N, P)
    :return: Sentence; empty if there is nothing to say
    """
    expected, length = p @ estimates, float(np.linalg.norm(truth))
    where = f"over all {len(p):,} outcomes"
    if np.linalg.norm(expected - truth) > EXACT * length:
        share = float(expected @ truth) / length**2
        if np.linalg.norm(expected - share * truth) < EXACT * length:
            return f"{where}, its expectation is {share:.3g} times the true gradient"
        off = float(np.linalg.norm(expected - truth)) / length
        return f"{where}, its expectation is off by {off:.2g} of the true gradient's length"
    ratio = variance(estimates, p) / variance(right, p)
    if abs(ratio - 1) > WORTH_TELLING:
        return f"{where}, it is unbiased, with {ratio:.3g} times the variance of the right answer"
    return ""


def variance(estimates: Array, p: Array) -> float:
    """Compute the variance of an estimate exactly, summed over the parameters.

    :param estimates: Estimate of each outcome, of shape (N, P)
    :param p: Probability of each outcome, of shape (N,)
    :return: Variance
    """
    return float((p @ estimates**2 - (p @ estimates) ** 2).sum())
