"""Planted bugs in what surrounds a critic: the step by advantages, and the critic's own."""

from itertools import product
from typing import Any

import numpy as np
import torch as th

from sb3_course.collection.observations import Array
from sb3_course.exercises.exercise import STILL_THERE, Case, Exercise, Run
from sb3_course.exercises.themes.updates import DOWN, NO_LOG, STEP, THEME, moved
from sb3_course.exercises.worlds import EXACT, deviation, world

# -- a step by advantages -------------------------------------------------------------------------


def advantage_step(
    theta: th.Tensor,
    values: th.Tensor,
    states: th.Tensor,
    actions: th.Tensor,
    returns: th.Tensor,
    learning_rate: float,
    *,
    broadcast: bool = False,
    no_values: bool = False,
    over_states: bool = False,
    standardized: bool = False,
    standardized_by_n: bool = False,
    summed: bool = False,
    descends: bool = False,
    no_log: bool = False,
    stays: bool = False,
) -> Array:
    """Compute θ + α 1/M Σ ∇log π (Q̂ - V), or what a mistake makes of it.

    :param theta: Table of logits θ, of shape (S, A)
    :param values: V(s), of shape (M,)
    :param states: States s, of shape (M,)
    :param actions: Actions a, of shape (M, 1)
    :param returns: Q̂, of shape (M,)
    :param learning_rate: Learning rate α
    :param broadcast: Multiply every log π with every advantage
    :param no_values: Leave V out
    :param over_states: Normalize π over the states
    :param standardized: Standardize the advantages, with the deviation that PyTorch has
    :param standardized_by_n: The same with a deviation of all M, as NumPy has it
    :param summed: Sum over the transitions
    :param descends: Step backward
    :param no_log: Take the gradient of π
    :param stays: Take no step
    :return: New θ, of shape (S, A)
    """
    weights = returns.numpy() - (0 if no_values else values.numpy())
    if standardized or standardized_by_n:
        deviation_of_all = weights.std(ddof=0 if standardized_by_n else 1)
        weights = (weights - weights.mean()) / deviation_of_all
    if broadcast:
        weights = np.full_like(weights, weights.mean())
    s, a = states.numpy(), actions.numpy().ravel()
    if over_states:
        move = moved(theta.T, weights, a, s, no_log).T
    else:
        move = moved(theta, weights, s, a, no_log)
    move = move * (0 if stays else 1 if summed else 1 / len(weights))
    return np.asarray(theta.detach().numpy() + (-1 if descends else 1) * learning_rate * move)


def _advantage_cases() -> tuple[Case, ...]:
    cases = []
    for seed, (label, n) in enumerate({"three transitions": 3, "eight transitions": 8}.items(), 4):
        rng = np.random.default_rng(seed)
        arguments: dict[str, Any] = {
            "theta": th.tensor(world().theta, requires_grad=True),
            "values": th.tensor(rng.normal(2.0, 1.0, n)),
            "states": th.tensor(rng.integers(3, size=n)),
            "actions": th.tensor(rng.integers(2, size=(n, 1))),
            "returns": th.tensor(rng.normal(2.0, 1.0, n)),
            "learning_rate": STEP,
        }
        cases.append(Case(label, arguments))
    return tuple(cases)


def _measure_advantage(run: Run) -> str:
    """Take the transitions of two trajectories, with rewards to go and the exact V."""
    w = world(2, 2)
    to_go = w.rewards[::-1].cumsum(axis=0)[::-1]
    values = w.mdp.action_values(w.probs)[1][np.arange(2)[:, None], w.states]
    pairs = [list(pair) for pair in product(range(len(w.p)), repeat=2)]
    p = np.array([w.p[pair].prod() for pair in pairs])
    parts = (values, w.states, w.actions, to_go)
    theta = th.tensor(w.theta, requires_grad=True)
    steps = []
    for function in (run, advantage_step):
        moves = []
        for pair in pairs:
            v, s, a, q = (th.tensor(part[:, pair].ravel()) for part in parts)
            moves.append((function(theta, v, s, a[:, None], q, 2.0) - w.theta).ravel())
        steps.append(np.array(moves))
    said = deviation(steps[0], p, w.gradient(), steps[1])
    return said and f"with the transitions of two trajectories, {said}"


ADVANTAGE_STEP = Exercise(
    "advantage_update",
    "A planted bug: a step by advantages",
    THEME,
    _advantage_cases(),
    advantage_step,
    {
        "broadcast": STILL_THERE,
        "no_values": "V is not subtracted",
        "over_states": "π is normalized over the states instead of over the actions",
        "standardized": "the advantages are standardized: the step then has no scale",
        "standardized_by_n": "the advantages are standardized, with the deviation of all of them: "
        "the step then has no scale",
        "summed": "this sums over the transitions instead of averaging",
        "descends": DOWN,
        "no_log": NO_LOG,
        "stays": "θ does not move",
    },
    _measure_advantage,
    "the expected step is that of ∇J, over all pairs of trajectories",
    planted="broadcast",
)


# -- the critic's own step ------------------------------------------------------------------------


def td_step(
    values: th.Tensor,
    states: th.Tensor,
    rewards: th.Tensor,
    next_states: th.Tensor,
    terminated: th.Tensor,
    truncated: th.Tensor,
    gamma: float,
    learning_rate: float,
    *,
    limit_is_end: bool = False,
    limit_wins: bool = False,
    keeps_terminal: bool = False,
    swapped: bool = False,
    residual: bool = False,
    doubled: bool = False,
    summed: bool = False,
    ascends: bool = False,
    undiscounted: bool = False,
) -> Array:
    """Compute V - α ∇ 1/(2M) Σ (V(s) - y)² with a constant y, or what a mistake makes of it.

    :param values: Table of V, of shape (S,)
    :param states: States s, of shape (M,)
    :param rewards: Rewards r
    :param next_states: States s' that followed
    :param terminated: Whether s' is terminal
    :param truncated: Whether a time limit cut the episode at s'
    :param gamma: Discount factor γ
    :param learning_rate: Learning rate α
    :param limit_is_end: Take a time limit for a terminal state
    :param limit_wins: Value terminal states that a time limit reaches as well
    :param keeps_terminal: Value terminal states
    :param swapped: Value terminal states, and not those at a time limit
    :param residual: Differentiate through y as well
    :param doubled: Leave the ½ out
    :param summed: Sum over the transitions
    :param ascends: Step backward
    :param undiscounted: Leave γ out
    :return: New V, of shape (S,)
    """
    table, s, following = values.detach().numpy(), states.numpy(), next_states.numpy()
    ended, cut = terminated.numpy(), truncated.numpy()
    if limit_is_end:
        ended = ended | cut
    if limit_wins:
        ended = ended & ~cut
    if keeps_terminal:
        ended = np.zeros_like(ended)
    if swapped:
        ended = cut
    discount = (1.0 if undiscounted else gamma) * ~ended
    deltas = rewards.numpy() + discount * table[following] - table[s]
    move: Array = np.bincount(s, weights=deltas, minlength=len(table))
    if residual:
        move -= np.bincount(following, weights=discount * deltas, minlength=len(table))
    move = move * (2 if doubled else 1) / (1 if summed else len(s))
    return np.asarray(table + (-1 if ascends else 1) * learning_rate * move)


def _td_cases() -> tuple[Case, ...]:
    cases = []
    kinds = {
        "a transition in the middle of an episode": "..",
        "a terminal state": ".T",
        "a time limit": ".L",
        "ends of both kinds": "..T.L.",
        "a terminal state at the time limit": ".B",
    }
    for seed, (label, marks) in enumerate(kinds.items()):
        rng, n, ends = np.random.default_rng(seed), len(marks), np.array(list(marks))
        arguments: dict[str, Any] = {
            "values": th.tensor(rng.normal(2.0, 1.0, 4), requires_grad=True),
            "states": th.tensor(rng.integers(4, size=n)),
            "rewards": th.tensor(rng.normal(1.0, 1.0, n)),
            "next_states": th.tensor(rng.integers(4, size=n)),
            "terminated": th.tensor(np.isin(ends, ["T", "B"])),
            "truncated": th.tensor(np.isin(ends, ["L", "B"])),
            "gamma": 0.9,
            "learning_rate": STEP,
        }
        cases.append(Case(label, arguments))
    return tuple(cases)


def _measure_td(run: Run) -> str:
    """Start from the exact V of an endless MDP that time limits cut, where no step should move it.

    One action in one state ends the episode.
    """
    w, gamma = world(), 0.9
    chain = w.mdp.transition.copy()
    chain[0, 1] = 0.0
    mean_reward = (w.probs * w.mdp.reward).sum(axis=1)
    kernel = np.einsum("sa,sax->sx", w.probs, chain)
    exact = np.linalg.solve(np.eye(3) - gamma * kernel, mean_reward)
    values, expected = th.tensor(exact, requires_grad=True), np.zeros(3)
    for s, a, following, cut in product(range(3), range(2), range(3), (False, True)):
        ended = (s, a) == (0, 1)
        arguments = (
            th.tensor([s]),
            th.tensor([w.mdp.reward[s, a]]),
            th.tensor([following]),
            th.tensor([ended]),
            th.tensor([cut and not ended]),
        )
        p = w.probs[s, a] * w.mdp.transition[s, a, following] / 6
        expected += p * (run(values, *arguments, gamma, 1.0) - exact)
    off = float(np.abs(expected).max() / np.abs(exact).max())
    if off < EXACT:
        return ""
    return (
        f"where V is exact, a step with α = 1 should not move it on average; it does, by {off:.2g}"
    )


CRITIC_STEP = Exercise(
    "critic_update",
    "A planted bug: the critic's step",
    THEME,
    _td_cases(),
    td_step,
    {
        "limit_is_end": STILL_THERE,
        "limit_wins": "V(s') counts where a terminal state is reached at the time limit: nothing "
        "follows it",
        "keeps_terminal": "V of terminal states counts: nothing follows them, so their value is 0",
        "swapped": "it is the wrong way round: V(s') counts at a time limit, not after a terminal "
        "state",
        "residual": "the gradient runs through the target y as well: y is a constant here",
        "doubled": "the ½ is missing: the step is twice as long",
        "summed": "this sums over the transitions instead of averaging",
        "ascends": "the step goes up: the squared error is to shrink",
        "undiscounted": "γ is missing",
    },
    _measure_td,
    "where V is exact, the expected step is 0",
    planted="limit_is_end",
)
