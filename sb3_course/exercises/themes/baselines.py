"""Exercises on what is subtracted: the baseline of least variance, and one that biases."""

import numpy as np

from sb3_course.collection.observations import Array
from sb3_course.exercises.exercise import Case, Exercise, Run
from sb3_course.exercises.worlds import EXACT, deviation, softmax, variance, world

THEME = "Baselines"


# -- the optimal baseline -------------------------------------------------------------------------


def least_variance(
    probabilities: Array,
    scores: Array,
    returns: Array,
    *,
    mean_return: bool = False,
    one_for_all: bool = False,
    unsquared: bool = False,
    squared_mean: bool = False,
    squared_returns: bool = False,
    unweighted: bool = False,
    undivided: bool = False,
    covariance: bool = False,
) -> Array:
    """Compute E[S² R] / E[S²] per parameter, or what a mistake makes of it.

    :param probabilities: Those of K trajectories, of shape (K,)
    :param scores: Scores S, of shape (K, P)
    :param returns: Returns R, of shape (K,)
    :param mean_return: Return E[R]
    :param one_for_all: Sum over the parameters
    :param unsquared: Weight by S
    :param squared_mean: Divide by E[S]²
    :param squared_returns: Weight R²
    :param unweighted: Take every trajectory for equally likely
    :param undivided: Leave the division out
    :param covariance: Minimize the variance without E[S] = 0
    :return: Baseline b, of shape (P,)
    """
    p = probabilities
    p = np.full_like(p, 1 / len(p)) if unweighted else p
    if mean_return:
        return np.full(scores.shape[1], float(p @ returns))
    squares = scores if unsquared else scores**2
    numerator: Array = p @ (squares * (returns**2 if squared_returns else returns)[:, None])
    denominator = (p @ scores) ** 2 if squared_mean else p @ squares
    if covariance:
        numerator = numerator - (p @ scores) * (p @ (scores * returns[:, None]))
        denominator = denominator - (p @ scores) ** 2
    if one_for_all:
        numerator, denominator = (np.full_like(x, x.sum()) for x in (numerator, denominator))
    if undivided:
        return numerator
    zero = np.zeros_like(numerator)
    answer: Array = np.divide(numerator, denominator, out=zero, where=denominator != 0)
    return answer


def _least_variance_cases() -> tuple[Case, ...]:
    cases = []
    for seed, (label, k, n) in enumerate(
        [
            ("four trajectories and one parameter", 4, 1),
            ("five trajectories and three parameters", 5, 3),
            ("a parameter whose score is 0 in every trajectory", 6, 3),
        ]
    ):
        rng = np.random.default_rng(seed)
        scores, returns = rng.normal(0.5, 1.0, (k, n)), rng.normal(3.0, 2.0, k)
        scores[:, 2:] *= seed < 2
        p = rng.dirichlet(np.ones(k))
        cases.append(Case(label, {"probabilities": p, "scores": scores, "returns": returns}))
    return tuple(cases)


def _measure_least_variance(run: Run) -> str:
    w = world()
    scores, returns = w.scores.sum(axis=0), w.rewards.sum(axis=0)
    found, right, zero = (
        (returns[:, None] - b) * scores
        for b in (
            run(w.p, scores, returns),
            least_variance(w.p, scores, returns),
            np.zeros(scores.shape[1]),
        )
    )
    said = deviation(found, w.p, w.gradient(), right)
    if said and variance(found, w.p) > variance(zero, w.p) * (1 + EXACT):
        return f"{said}: more than with no baseline at all"
    return said


OPTIMAL_BASELINE = Exercise(
    "optimal_baseline",
    "The baseline of least variance",
    THEME,
    _least_variance_cases(),
    least_variance,
    {
        "mean_return": "this is the mean return: a good baseline, not the one of least variance",
        "one_for_all": "the sums run over the parameters as well: each parameter has its own "
        "baseline",
        "unsquared": "returns are weighted by S instead of S², and E[S] is 0 in truth",
        "squared_mean": "the denominator is E[S]² instead of E[S²]",
        "squared_returns": "the numerator has R² instead of R",
        "unweighted": "the probabilities are not used: this is a plain mean over the rows",
        "undivided": "the division by E[S²] is missing",
        "covariance": "this is the least variance for these few trajectories, whose mean score is "
        "not 0: with E[S] = 0, which is true of the policy, E[S] and E[S R] E[S] drop out",
    },
    _measure_least_variance,
    "over all trajectories, no baseline of one number per parameter has less variance",
)


# -- why is this biased? --------------------------------------------------------------------------


def action_baseline_bias(
    probs: Array,
    visits: Array,
    baseline: Array,
    *,
    zero: bool = False,
    sign: bool = False,
    indicator: bool = False,
    unweighted_actions: bool = False,
    first_step: bool = False,
    mean_visits: bool = False,
    unvisited: bool = False,
) -> Array:
    r"""Compute -E[Σ_t ∇log π(a_t|s_t) b(s_t, a_t)], or what a mistake makes of it.

    :param probs: π(a|s), of shape (S, A)
    :param visits: p(s_t = s), of shape (T, S)
    :param baseline: b(s, a), of shape (S, A)
    :param zero: Take it for a baseline of the state alone
    :param sign: Leave out the minus sign
    :param indicator: Take [a = a'] for the score
    :param unweighted_actions: Take every action for equally likely
    :param first_step: Count the first step alone
    :param mean_visits: Average over the steps instead of summing
    :param unvisited: Count every state once
    :return: Bias by θ_sa, of shape (S, A)
    """
    expected = np.zeros_like(baseline) if indicator else (probs * baseline).sum(1, keepdims=True)
    weight = np.full_like(probs, 1 / probs.shape[1]) if unweighted_actions else probs
    summed = visits[0] if first_step else visits.mean(0) if mean_visits else visits.sum(0)
    if unvisited:
        summed = np.ones_like(summed)
    answer: Array = -summed[:, None] * weight * (baseline - expected)
    return answer * (0 if zero else -1 if sign else 1)


def _bias_cases() -> tuple[Case, ...]:
    cases = []
    for seed, (label, n_states, n_actions, horizon) in enumerate(
        [
            ("one state, three actions and one step", 1, 3, 1),
            ("three states, two actions and four steps", 3, 2, 4),
        ]
    ):
        rng = np.random.default_rng(seed)
        arguments = {
            "probs": softmax(rng.normal(size=(n_states, n_actions))),
            "visits": rng.dirichlet(np.ones(n_states), size=horizon),
            "baseline": rng.normal(2.0, 1.0, (n_states, n_actions)),
        }
        cases.append(Case(label, arguments))
    return tuple(cases)


def _measure_bias(run: Run) -> str:
    """Compare with the exact expectation of an estimate that is biased, minus ∇J."""
    w = world()
    baseline: Array = np.asarray(np.random.default_rng(3).normal(2.0, 1.0, w.probs.shape))
    to_go: Array = w.rewards[::-1].cumsum(axis=0)[::-1]
    biased = w.p @ w.estimates(to_go - baseline[w.states, w.actions])
    bias = biased - w.gradient()
    found = run(w.probs, w.mdp.visits(w.probs), baseline).ravel()
    off = float(np.linalg.norm(found - bias) / np.linalg.norm(bias))
    if off < EXACT:
        return ""
    share = float(np.linalg.norm(bias) / np.linalg.norm(w.gradient()))
    return (
        f"over all {len(w.p)} trajectories of an MDP, b(s, a) biases by {share:.2g} of ∇J's "
        f"length, and the answer is off by {off:.2g} of that bias"
    )


BIASED = Exercise(
    "bias_of_action_baseline",
    "Why is this biased?",
    THEME,
    _bias_cases(),
    action_baseline_bias,
    {
        "zero": "0 is the bias of a baseline that depends on the state alone; this one depends on "
        "the action, and E[∇log π b] is not 0",
        "sign": "the sign is wrong: the baseline is subtracted",
        "indicator": "∂ log π(a|s) / ∂θ_sa' is [a = a'] - π(a'|s): the second part is missing",
        "unweighted_actions": "actions are not weighted by π(a|s)",
        "first_step": "only the first step is counted: the estimate sums over all steps",
        "mean_visits": "this is a mean over the steps: the estimate sums over them",
        "unvisited": "states are not weighted by how often they are visited",
    },
    _measure_bias,
    "it is E[ĝ] - ∇J over all trajectories, to rounding",
)
