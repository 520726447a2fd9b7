"""Exercises on experience of another policy: weights per decision, and an update with weights."""

from typing import Any

import numpy as np
import torch as th

from sb3_course.collection.observations import Array
from sb3_course.exercises.exercise import STILL_THERE, Case, Exercise, Run
from sb3_course.exercises.themes.returns import batch, episodes
from sb3_course.exercises.worlds import deviation, score_table, softmax, world

THEME = "Experience of another policy"


# -- importance weights per decision --------------------------------------------------------------


def per_decision(
    log_new: Array,
    log_old: Array,
    rewards: Array,
    ends: Array,
    gamma: float,
    *,
    trajectory: bool = False,
    prefix: bool = False,
    step: bool = False,
    from_t: bool = False,
    inverted: bool = False,
    logarithms: bool = False,
    leak: bool = False,
    undiscounted: bool = False,
    unweighted: bool = False,
) -> Array:
    r"""Compute Σ_{u≥t} γ^{u-t} (ρ_0 … ρ_u) r_u, or what a mistake makes of it.

    :param log_new: log π_θ(a_t|s_t), of shape (T, N)
    :param log_old: log π_old(a_t|s_t)
    :param rewards: Rewards r_t
    :param ends: Whether an episode ended after each step
    :param gamma: Discount factor γ
    :param trajectory: Weight every reward by the whole product
    :param prefix: Weight all rewards by the product up to t
    :param step: Weight each reward by the ratio of its own step
    :param from_t: Multiply the ratios from t on alone
    :param inverted: Take ratios of old to new
    :param logarithms: Leave the exponential out
    :param leak: Multiply the ratios of earlier episodes as well
    :param undiscounted: Leave γ out
    :param unweighted: Leave the weights out
    :return: [wQ]_t, of shape (T, N)
    """
    log_ratios = (log_old - log_new) if inverted else (log_new - log_old)
    number, time = episodes(ends), np.arange(len(ends))
    same = leak | (number[:, None] == number[None])
    until = (time[:, None] >= time)[..., None]  # [u, k]: step k is not after u
    summed = np.einsum("ukn,kn->un", same & (until | trajectory), log_ratios)
    log_weights = np.broadcast_to(log_ratios if step else summed, (len(ends), *ends.shape))
    if prefix:
        log_weights = log_weights.swapaxes(0, 1)
    if from_t:
        log_weights = log_weights - (summed - log_ratios)[:, None]
    weights = log_weights if logarithms else np.exp(log_weights)
    lag = (time - time[:, None])[..., None]
    counted = (lag >= 0) & (number[:, None] == number[None])
    discounts = np.where(counted, (1.0 if undiscounted else gamma) ** lag, 0.0)
    answer: Array = np.einsum("tun,un->tn", discounts * (1 if unweighted else weights), rewards)
    return answer


def _per_decision_cases() -> tuple[Case, ...]:
    drawn = {
        "one episode of four steps": ("...T",),
        "two environments, several episodes each": (".T..T.", "T...T."),
    }
    cases = []
    for seed, (label, rows) in enumerate(drawn.items()):
        rewards, marks, rng = batch(seed, *rows)
        logs = {f"log_{k}": np.log(rng.uniform(0.2, 0.9, marks.shape)) for k in ("new", "old")}
        ends = {"rewards": rewards, "ends": marks == "T", "gamma": 0.9}
        cases.append(Case(label, logs | ends))
    return tuple(cases)


def _measure_per_decision(run: Run) -> str:
    """Compare with ∇J of a policy from another one's trajectories."""
    new, old = world(2).in_a_row(), world(2, policy_seed=6).in_a_row()
    logs = [np.log(w.probs)[w.states, w.actions] for w in (new, old)]
    functions: tuple[Run, Run] = (run, per_decision)
    for gamma in (1.0, 0.9):
        arguments = (*logs, new.rewards, new.ends, gamma)
        found, right = (new.estimates(f(*arguments), gamma) for f in functions)
        said = deviation(found, old.p, 2 * world(2).gradient(gamma), right)
        if said:
            return f"with two episodes of another policy and γ = {gamma:g}, {said}"
    return ""


PER_DECISION = Exercise(
    "per_decision_returns",
    "Importance weights per decision",
    THEME,
    _per_decision_cases(),
    per_decision,
    {
        "trajectory": "every reward has the weight of the whole trajectory: r_t' does not depend "
        "on actions after t'",
        "prefix": "all rewards have the weight of step t: what led from t to t' is not reweighted",
        "step": "each reward has the ratio of its own step alone, not the product up to it",
        "from_t": "the product begins at step t: the policy also has to reach s_t, so it begins "
        "with the episode",
        "inverted": "the ratios are upside down: π_θ is above, π_old below",
        "logarithms": "the logarithms of the weights are used as weights: exp is missing",
        "leak": "the product runs over the ends of episodes: each begins with 1 again",
        "undiscounted": "γ is missing",
        "unweighted": "nothing is reweighted",
    },
    _measure_per_decision,
    "from another policy's trajectories, the expectation is ∇J of π_θ",
)


# -- an update with importance weights ------------------------------------------------------------


def weighted_step(
    theta: th.Tensor,
    old_log_prob: th.Tensor,
    states: th.Tensor,
    actions: th.Tensor,
    rewards: th.Tensor,
    learning_rate: float,
    *,
    unweighted: bool = False,
    undetached: bool = False,
    step: bool = False,
    inverted: bool = False,
    self_normalized: bool = False,
    summed: bool = False,
    descends: bool = False,
) -> Array:
    r"""Compute θ + α 1/K Σ_i w_i Σ_t ∇log π(a_t|s_t) R_i, or what a mistake makes of it.

    :param theta: Table of logits θ, of shape (S, A)
    :param old_log_prob: log π_old(a_t|s_t), of shape (T, K)
    :param states: States s_t
    :param actions: Actions a_t
    :param rewards: Rewards r_t
    :param learning_rate: Learning rate α
    :param unweighted: Compute the old log-probabilities again, so that every weight is 1
    :param undetached: Differentiate through the weight as well
    :param step: Weight each step by its own ratio
    :param inverted: Take ratios of old to new
    :param self_normalized: Divide the weights by their mean
    :param summed: Sum over the trajectories
    :param descends: Step backward
    :return: New θ, of shape (S, A)
    """
    table, old = theta.detach().numpy(), old_log_prob.numpy()
    probs = softmax(table)
    s, a = states.numpy(), actions.numpy()
    scores, log_probs = score_table(probs)[s, a], np.log(probs)[s, a]
    log_ratios = (old - log_probs) if inverted else (log_probs - old)
    log_weights = log_ratios if step else log_ratios.sum(axis=0, keepdims=True)
    weights = np.ones_like(log_weights) if unweighted else np.exp(log_weights)
    if self_normalized:
        weights = weights / weights.mean()
    if undetached:
        weights = weights * (1 + (log_probs if step else log_probs.sum(axis=0, keepdims=True)))
    totals = rewards.numpy().sum(axis=0)
    gradient = np.einsum("tk,tkp->p", weights * totals, scores) / (1 if summed else s.shape[1])
    move = (-1 if descends else 1) * learning_rate * gradient.reshape(table.shape)
    answer: Array = table + move
    return answer


def _weighted_cases() -> tuple[Case, ...]:
    cases = []
    for seed, (label, k) in enumerate({"one trajectory": 1, "four trajectories": 4}.items()):
        w, old = world(), world(policy_seed=6)
        which = np.random.default_rng(seed).choice(len(old.p), size=k, p=old.p)
        arguments: dict[str, Any] = {
            "theta": th.tensor(w.theta, requires_grad=True),
            "old_log_prob": th.tensor(np.log(old.probs)[w.states, w.actions][:, which]),
            "states": th.tensor(w.states[:, which]),
            "actions": th.tensor(w.actions[:, which]),
            "rewards": th.tensor(w.rewards[:, which]),
            "learning_rate": 0.1,
        }
        cases.append(Case(label, arguments))
    return tuple(cases)


def _measure_weighted(run: Run) -> str:
    """Compare the expected step on another policy's trajectories with ∇J."""
    w, old = world(), world(policy_seed=6)
    theta = th.tensor(w.theta, requires_grad=True)
    logs = np.log(old.probs)[w.states, w.actions]
    parts = [th.tensor(part.T[..., None]) for part in (logs, w.states, w.actions, w.rewards)]
    functions: tuple[Run, Run] = (run, weighted_step)
    found, right = (
        np.array([(f(theta, *one, 1.0) - w.theta).ravel() for one in zip(*parts, strict=True)])
        for f in functions
    )
    said = deviation(found, old.p, w.gradient(), right)
    return said and f"from one trajectory of the old policy, {said}"


WEIGHTED_STEP = Exercise(
    "off_policy_update",
    "A planted bug: a step with importance weights",
    "Six planted bugs",
    _weighted_cases(),
    weighted_step,
    {
        "unweighted": STILL_THERE,
        "undetached": "the gradient runs through the weight and through log π: one of them has to "
        "be constant",
        "step": "each step has the ratio of its own action alone: the weight of a trajectory's "
        "return is the product over its steps",
        "inverted": "the ratios are upside down: π_θ is above, π_old below",
        "self_normalized": "the weights are divided by their mean: consistent, but biased in small "
        "batches",
        "summed": "this sums over the trajectories instead of averaging: the step grows with K",
        "descends": "the step goes down: the gradient is that of J, which is to grow",
    },
    _measure_weighted,
    "the expected step is α∇J, over all trajectories of the old policy",
    planted="unweighted",
)
