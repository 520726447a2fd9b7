"""Planted bugs in short updates: REINFORCE, rewards to go."""

from itertools import product
from typing import Any

import numpy as np
import torch as th

from sb3_course.collection.observations import Array
from sb3_course.exercises.exercise import STILL_THERE, Case, Exercise, Run
from sb3_course.exercises.themes.returns import batch, to_go
from sb3_course.exercises.worlds import World, deviation, score_table, softmax, world

THEME = "Six planted bugs"
STEP = 0.1
"""Learning rate of the cases."""
DOWN = "the step goes down: the gradient is that of J, which is to grow"
NO_LOG = "the gradient is that of π instead of log π"


def moved(theta: th.Tensor, weights: Array, states: Array, actions: Array, no_log: bool) -> Array:
    """Compute Σ ∇log π(a|s) w of a table of logits.

    :param theta: Logits θ, of shape (S, A)
    :param weights: Weight of each transition
    :param states: Its state
    :param actions: Its action
    :param no_log: Take ∇π instead
    :return: Direction, of shape (S, A)
    """
    probs = softmax(theta.detach().numpy())
    scores = score_table(probs)[states, actions]
    weights = weights * probs[states, actions] if no_log else weights
    direction: Array = (weights[..., None] * scores).reshape(-1, probs.size).sum(axis=0)
    return direction.reshape(probs.shape)


def _cases_of(w: World, labels: dict[str, int]) -> list[tuple[str, Array]]:
    """Draw trajectories for cases."""
    drawn = enumerate(labels.items())
    return [(a, np.random.default_rng(i).choice(len(w.p), size=k, p=w.p)) for i, (a, k) in drawn]


def _expected(run: Run, right: Run, w: World, batches: list[tuple[Any, ...]], p: Array) -> str:
    """Compare the expectation of a step, over all batches, with ∇J."""
    theta = th.tensor(w.theta, requires_grad=True)
    found, wanted = (
        np.array([(f(theta, *arguments) - w.theta).ravel() for arguments in batches])
        for f in (run, right)
    )
    return deviation(found, p, w.gradient(), wanted)


# -- REINFORCE with a mean baseline ---------------------------------------------------------------


def reinforce(
    theta: th.Tensor,
    states: th.Tensor,
    actions: th.Tensor,
    rewards: th.Tensor,
    learning_rate: float,
    *,
    own: bool = False,
    none: bool = False,
    summed: bool = False,
    per_step: bool = False,
    standardized: bool = False,
    standardized_by_n: bool = False,
    descends: bool = False,
    no_log: bool = False,
) -> Array:
    """Compute θ + α 1/K Σ_i Σ_t ∇log π (R_i - mean of the others), or what a mistake makes of it.

    :param theta: Table of logits θ, of shape (S, A)
    :param states: States s_t, of shape (T, K)
    :param actions: Actions a_t
    :param rewards: Rewards r_t
    :param learning_rate: Learning rate α
    :param own: Take the mean over all
    :param none: Take no baseline
    :param summed: Sum over the trajectories
    :param per_step: Average over the transitions
    :param standardized: Divide by the standard deviation, as PyTorch has it
    :param standardized_by_n: The same with a deviation of all K, as NumPy has it
    :param descends: Step backward
    :param no_log: Take the gradient of π
    :return: New θ, of shape (S, A)
    """
    totals = rewards.numpy().sum(axis=0)
    k = len(totals)
    whole = own or standardized or standardized_by_n
    others = totals.mean() if whole else (totals.sum() - totals) / (k - 1)
    weights = totals - (0 if none else others)
    if standardized or standardized_by_n:
        weights = weights / totals.std(ddof=0 if standardized_by_n else 1)
    n = 1 if summed else states.numel() if per_step else k
    spread = np.broadcast_to(weights, states.shape)
    move = moved(theta, spread, states.numpy(), actions.numpy(), no_log) / n
    return np.asarray(theta.detach().numpy() + (-1 if descends else 1) * learning_rate * move)


def _trajectories(w: World, which: Any) -> tuple[th.Tensor, ...]:
    return tuple(th.tensor(part[:, list(which)]) for part in (w.states, w.actions, w.rewards))


def _reinforce_cases() -> tuple[Case, ...]:
    w, names = world(), ("states", "actions", "rewards")
    return tuple(
        Case(
            label,
            {"theta": th.tensor(w.theta, requires_grad=True)}
            | dict(zip(names, _trajectories(w, which), strict=True))
            | {"learning_rate": STEP},
        )
        for label, which in _cases_of(w, {"two trajectories": 2, "five trajectories": 5})
    )


def _measure_reinforce(run: Run) -> str:
    w = world(2, 2)
    pairs = list(product(range(len(w.p)), repeat=2))
    p = np.array([w.p[i] * w.p[j] for i, j in pairs])
    said = _expected(run, reinforce, w, [(*_trajectories(w, pair), 1.0) for pair in pairs], p)
    return said and f"with batches of two trajectories, {said}"


REINFORCE_STEP = Exercise(
    "reinforce_update",
    "A planted bug: REINFORCE with a mean baseline",
    THEME,
    _reinforce_cases(),
    reinforce,
    {
        "own": STILL_THERE,
        "none": "the baseline is gone",
        "summed": "this sums over the trajectories instead of averaging: the step grows with K",
        "per_step": "this averages over the transitions: the gradient of J is a mean over the "
        "trajectories",
        "standardized": "the returns are standardized: the step then has no scale, and is not α∇J",
        "standardized_by_n": "the returns are standardized, with the deviation of all of them: "
        "the step then has no scale, and is not α∇J",
        "descends": DOWN,
        "no_log": NO_LOG,
    },
    _measure_reinforce,
    "the expected step is α∇J, over all pairs of trajectories",
    planted="own",
)


# -- rewards to go over several episodes ----------------------------------------------------------


def to_go_step(
    theta: th.Tensor,
    states: th.Tensor,
    actions: th.Tensor,
    rewards: th.Tensor,
    ends: th.Tensor,
    gamma: float,
    learning_rate: float,
    *,
    leak: bool = False,
    early: bool = False,
    last_lost: bool = False,
    undiscounted: bool = False,
    total: bool = False,
    summed: bool = False,
    descends: bool = False,
    no_log: bool = False,
) -> Array:
    """Compute θ + α 1/M Σ ∇log π Q̂, or what a mistake makes of it.

    :param theta: Table of logits θ, of shape (S, A)
    :param states: States s_t, of shape (T, N)
    :param actions: Actions a_t
    :param rewards: Rewards r_t
    :param ends: Whether an episode ended after each step
    :param gamma: Discount factor γ
    :param learning_rate: Learning rate α
    :param leak: Sum over the ends of episodes
    :param early: Take ends one step too early
    :param last_lost: Lose each episode's last reward
    :param undiscounted: Leave γ out
    :param total: Take the total return
    :param summed: Sum over the transitions
    :param descends: Step backward
    :param no_log: Take the gradient of π
    :return: New θ, of shape (S, A)
    """
    made = {"leak": leak, "early": early, "undiscounted": undiscounted, "total": total}
    marks = ends.numpy()
    counted = np.where(marks & last_lost, 0.0, rewards.numpy())
    weights = to_go(counted, marks, gamma, **made)
    move = moved(theta, weights, states.numpy(), actions.numpy(), no_log)
    move = move / (1 if summed else states.numel())
    return np.asarray(theta.detach().numpy() + (-1 if descends else 1) * learning_rate * move)


def _to_go_cases() -> tuple[Case, ...]:
    w, cases = world(), []
    drawn = {"one episode": ("...T",), "two environments": (".T..T", "..T..")}
    for seed, (label, rows) in enumerate(drawn.items()):
        rewards, marks, rng = batch(seed, *rows)
        arguments: dict[str, Any] = {
            "theta": th.tensor(w.theta, requires_grad=True),
            "states": th.tensor(rng.integers(3, size=marks.shape)),
            "actions": th.tensor(rng.integers(2, size=marks.shape)),
            "rewards": th.tensor(rewards),
            "ends": th.tensor(marks == "T"),
            "gamma": 0.9,
            "learning_rate": STEP,
        }
        cases.append(Case(label, arguments))
    return tuple(cases)


def _measure_to_go(run: Run) -> str:
    """Take two episodes, one after the other in one environment, undiscounted."""
    w = world(2, 2)
    pairs = list(product(range(len(w.p)), repeat=2))
    p = np.array([w.p[i] * w.p[j] for i, j in pairs])
    ends = th.tensor([[False], [True], [False], [True]])
    batches = [
        (*(part.T.reshape(-1, 1) for part in _trajectories(w, pair)), ends, 1.0, 2.0)
        for pair in pairs
    ]
    said = _expected(run, to_go_step, w, batches, p)
    return said and f"with two episodes in a row and γ = 1, {said}"


TO_GO_STEP = Exercise(
    "reward_to_go_update",
    "A planted bug: rewards to go of several episodes",
    THEME,
    _to_go_cases(),
    to_go_step,
    {
        "leak": STILL_THERE,
        "early": "an episode's end is taken one step too early: ends[t] says that nothing follows "
        "step t",
        "last_lost": "the last reward of each episode is lost: the mask belongs to what follows "
        "r_t, not to r_t",
        "undiscounted": "γ is gone",
        "total": "this is the return of the whole episode, rewards before t included",
        "summed": "this sums over the transitions instead of averaging",
        "descends": DOWN,
        "no_log": NO_LOG,
    },
    _measure_to_go,
    "the expected step is that of ∇J, over all pairs of episodes in a row",
    planted="leak",
)
