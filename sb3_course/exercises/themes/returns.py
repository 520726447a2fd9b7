r"""Exercises on what multiplies ∇log π: reward to go and GAE.

Each answer is a matrix W of weights, whose entry W_{tu} says how much of step u counts at step t:

.. math:: Q_t = \sum_u W_{tu} x_u

Mistakes are other matrices.
"""

import numpy as np

from sb3_course.collection.observations import Array
from sb3_course.exercises.exercise import Case, Exercise, Run
from sb3_course.exercises.worlds import deviation, score_table, world

THEME = "Returns and advantages"


def episodes(ends: Array) -> Array:
    """Number the episodes of each environment.

    :param ends: Whether an episode ended after each step, of shape (T, N)
    :return: Number of each step's episode, of shape (T, N)
    """
    return np.cumsum(ends, axis=0) - ends


def batch(seed: int, *ends: str) -> tuple[Array, Array, np.random.Generator]:
    """Make rewards, and the ends of episodes as they are drawn.

    :param seed: Seed of the rewards
    :param ends: For each environment its steps: ``.`` goes on, ``T`` terminates, ``L`` is cut by a
        time limit, ``B`` is both
    :return: Rewards and marks, of shape (T, N), and the generator for more
    """
    marks = np.array([list(row) for row in ends]).T
    rng = np.random.default_rng(seed)
    rewards: Array = rng.normal(1.0, 1.0, marks.shape)
    return rewards.round(2), marks, rng


# -- reward to go ---------------------------------------------------------------------------------


def to_go(
    rewards: Array,
    ends: Array,
    gamma: float,
    *,
    once_more: bool = False,
    later_twice: bool = False,
    twice: bool = False,
    undiscounted: bool = False,
    from_start: bool = False,
    total: bool = False,
    past: bool = False,
    exclusive: bool = False,
    leak: bool = False,
    early: bool = False,
    late: bool = False,
) -> Array:
    """Compute Σ_{u≥t} γ^{u-t} r_u, or what a mistake makes of it.

    :param rewards: Rewards r_t, of shape (T, N)
    :param ends: Whether an episode ended after each step
    :param gamma: Discount factor γ
    :param once_more: Multiply by γ once too often
    :param later_twice: The same, from the second reward on
    :param twice: Multiply by γ² where γ is right
    :param undiscounted: Leave γ out
    :param from_start: Discount from the start of the episode
    :param total: Count the rewards before t as well
    :param past: Count the rewards before t instead
    :param exclusive: Leave r_t out
    :param leak: Sum over the ends of episodes
    :param early: Take ends one step too early
    :param late: Take ends one step too late
    :return: Q̂_t, of shape (T, N)
    """
    none = np.zeros_like(ends[:1])
    ends = np.concatenate([ends[1:], none]) if early else ends
    ends = np.concatenate([none, ends[:-1]]) if late else ends
    number = episodes(ends)
    time = np.arange(len(ends))[:, None]
    start = np.maximum.accumulate(np.where(np.diff(number, axis=0, prepend=-1) > 0, time, 0))
    lag = (time - time.T)[..., None] * (1 if past else -1)  # of u after t, (T, T, 1)
    same = leak | (number[:, None] == number[None])
    counted = same & (total | (lag >= exclusive))
    exponent = (time - start)[None] if from_start or total else lag
    exponent = exponent + once_more + (later_twice & (lag > 0)) - exclusive
    discount = 1.0 if undiscounted else gamma ** (2 if twice else 1)
    weights = np.where(counted, discount**exponent, 0.0)
    answer: Array = np.einsum("tun,un->tn", weights, rewards)
    return answer


def _to_go_cases() -> tuple[Case, ...]:
    drawn = {
        "one episode of four steps": ("...T",),
        "two environments, several episodes each": (".T..T.", "T...T."),
        "an episode that the batch's edge cuts": ("..T...",),
    }
    cases = []
    for seed, (label, rows) in enumerate(drawn.items()):
        rewards, marks, _ = batch(seed, *rows)
        cases.append(Case(label, {"rewards": rewards, "ends": marks == "T", "gamma": 0.9}))
    return tuple(cases)


def _measure_to_go(run: Run) -> str:
    w = world(2)
    rows = w.in_a_row()
    for gamma in (1.0, 0.9):
        right = rows.estimates(to_go(rows.rewards, rows.ends, gamma), gamma)
        found = rows.estimates(run(rows.rewards, rows.ends, gamma), gamma)
        said = deviation(found, rows.p, 2 * w.gradient(gamma), right)
        if said:
            return f"with two episodes in a row and γ = {gamma:g}, {said}"
    return ""


REWARD_TO_GO = Exercise(
    "reward_to_go",
    "Reward to go",
    THEME,
    _to_go_cases(),
    to_go,
    {
        "once_more": "γ is applied once too often: r_t itself is discounted at step t",
        "later_twice": "γ is applied once too often from the second reward on",
        "twice": "γ is applied twice at each step: rewards are discounted by γ²",
        "undiscounted": "γ is missing: these are undiscounted sums",
        "from_start": "the discount counts from the start of the episode, not from t: at step "
        "t, r_t has the factor 1",
        "total": "this is the return of the whole episode: rewards before t do not depend on a_t "
        "(causality)",
        "past": "this sums the rewards up to t instead of those from t on",
        "exclusive": "r_t itself is left out: the sum begins one step too late",
        "leak": "the sum runs over the ends of episodes: it holds rewards of the next one",
        "early": "an episode's end is taken one step too early: ends[t] says that nothing follows "
        "step t",
        "late": "an episode's end is taken one step too late: ends[t] says that nothing follows "
        "step t",
    },
    _measure_to_go,
    "the expectation of Σ_t γ^t ∇log π Q̂_t over all trajectories is ∇J",
)


# -- GAE ------------------------------------------------------------------------------------------


def advantages(
    rewards: Array,
    values: Array,
    next_values: Array,
    terminated: Array,
    truncated: Array,
    gamma: float,
    gae_lambda: float,
    *,
    no_bootstrap: bool = False,
    limit_wins: bool = False,
    keeps_terminal: bool = False,
    leak: bool = False,
    leak_at_limits: bool = False,
    lambda_only: bool = False,
    gamma_only: bool = False,
    target: bool = False,
    of_reset: bool = False,
    standardized: bool = False,
) -> Array:
    """Compute Σ_l (γλ)^l δ_{t+l}, or what a mistake makes of it.

    :param rewards: Rewards r_t, of shape (T, N)
    :param values: V(s_t)
    :param next_values: V of the state that step t led to
    :param terminated: Whether that state is terminal
    :param truncated: Whether a time limit cut the episode there
    :param gamma: Discount factor γ
    :param gae_lambda: Decay λ
    :param no_bootstrap: Take a time limit for a terminal state
    :param limit_wins: Value terminal states that a time limit reaches as well
    :param keeps_terminal: Value terminal states
    :param leak: Sum over all ends of episodes
    :param leak_at_limits: Sum over time limits
    :param lambda_only: Decay by λ
    :param gamma_only: Decay by γ
    :param target: Add V(s_t)
    :param of_reset: Value the next row's state, which is that of the reset
    :param standardized: Subtract the mean and divide by the standard deviation
    :return: Â_t, of shape (T, N)
    """
    if of_reset:
        next_values = np.concatenate([values[1:], next_values[-1:]])
    unseen = np.zeros_like(terminated) if keeps_terminal else terminated
    if no_bootstrap:
        unseen = unseen | truncated
    if limit_wins:
        unseen = unseen & ~truncated
    deltas = rewards + gamma * np.where(unseen, 0.0, next_values) - values
    ends = terminated if leak_at_limits else terminated | truncated
    decay = (1.0 if lambda_only else gamma) * (1.0 if gamma_only else gae_lambda)
    summed = to_go(deltas, ends, decay, leak=leak)
    if standardized:
        summed = (summed - summed.mean()) / summed.std()
    return summed + values if target else summed


def _gae_cases() -> tuple[Case, ...]:
    drawn = {
        "one episode that terminates": ("...T",),
        "one episode that a time limit cuts": ("...L",),
        "two environments, with ends of both kinds": (".T..L..", "L...T.."),
        "a batch whose edge cuts an episode": ("..L...", "...T.."),
        "a terminal state at the time limit": ("..B.T",),
    }
    cases = []
    for seed, (label, rows) in enumerate(drawn.items()):
        rewards, marks, rng = batch(seed, *rows)
        values, ended = rng.normal(2.0, 1.0, (2, *marks.shape)).round(2)
        following = np.where(marks == ".", np.concatenate([values[1:], ended[-1:]]), ended)
        arguments = {
            "rewards": rewards,
            "values": values,
            "next_values": following,
            "terminated": np.isin(marks, ["T", "B"]),
            "truncated": np.isin(marks, ["L", "B"]),
            "gamma": 0.9,
            "gae_lambda": 0.8,
        }
        cases.append(Case(label, arguments))
    return tuple(cases)


def _measure_gae(run: Run) -> str:
    """Compare with the exact policy gradient, of whole episodes and of their first two steps.

    With the exact values, GAE is unbiased for every λ.
    """
    w, gamma = world(), 0.9
    q, v = w.mdp.action_values(w.probs, gamma)
    visits = w.mdp.visits(w.probs)
    values = v[np.arange(len(w.rewards))[:, None], w.states]
    following = np.concatenate([values[1:], np.full_like(values[:1], 5.0)])  # V of terminal states
    never = np.zeros(values.shape, dtype=bool)
    for n, what in ((3, "whole episodes"), (2, "episodes that a limit cuts after 2 steps")):
        ends = never.copy()
        ends[n - 1] = True
        kinds = (ends, never) if n == 3 else (never, ends)
        arguments = (w.rewards, values, following, *kinds, gamma, 0.7)
        found, right = (w.estimates(f(*arguments)[:n], gamma) for f in (run, advantages))
        steps = gamma ** np.arange(n)
        scores = score_table(w.probs)
        truth = np.einsum("t,ts,sa,tsa,sap->p", steps, visits[:n], w.probs, q[:n], scores)
        said = deviation(found, w.p, truth, right)
        if said:
            return f"with {what}, {said}"
    return ""


GAE = Exercise(
    "gae",
    "Generalized advantage estimation with a time limit",
    THEME,
    _gae_cases(),
    advantages,
    {
        "no_bootstrap": "the bootstrap at a time limit is missing: the episode would have gone on, "
        "so V of the state where it was cut counts",
        "limit_wins": "V of a terminal state counts where a time limit is reached as well: nothing "
        "follows it",
        "keeps_terminal": "V of terminal states counts: nothing follows them, so their value is 0",
        "leak": "the sum runs over the ends of episodes: it holds TD errors of the next one",
        "leak_at_limits": "the sum runs over time limits: after one, the next row is of another "
        "episode",
        "lambda_only": "TD errors decay by λ instead of γλ",
        "gamma_only": "TD errors decay by γ instead of γλ: this is the Monte Carlo advantage",
        "target": "this is the critic's target Â_t + V(s_t): V(s_t) is not subtracted",
        "of_reset": "V(s_{t+1}) is taken from the next row of `values`: after the end of an "
        "episode that is the reset's state, hence `next_values`",
        "standardized": "the advantages are standardized over the batch: Â itself is asked for",
    },
    _measure_gae,
    "with the exact V, the expectation is ∇J; where a time limit cuts the episode, it is the part "
    "of the steps that were taken",
)
