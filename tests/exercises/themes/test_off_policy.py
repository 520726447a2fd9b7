import pytest

from sb3_course.exercises.checking import State
from sb3_course.exercises.themes.off_policy import PER_DECISION, WEIGHTED_STEP
from tests.exercises.answers import edited, given, verdict

RETURNS = [
    """
def per_decision_returns(log_new, log_old, rewards, ends, gamma):
    log_weights = log_new - log_old
    for t in range(1, len(rewards)):
        log_weights[t] += ~ends[t - 1] * log_weights[t - 1]
    returns = np.exp(log_weights) * rewards
    for t in reversed(range(len(rewards) - 1)):
        returns[t] += gamma * ~ends[t] * returns[t + 1]
    return returns
""",
    """
def per_decision_returns(log_new, log_old, rewards, ends, gamma):
    # As a recursion on ratios: [wQ]_t = w_{t-1} q_t, q_t = ρ_t (r_t + γ q_{t+1})
    ratio, q, w = np.exp(log_new - log_old), np.zeros_like(rewards), np.ones_like(rewards)
    following = 0.0
    for t in reversed(range(len(rewards))):
        q[t] = ratio[t] * (rewards[t] + gamma * np.where(ends[t], 0.0, following))
        following = q[t]
    for t in range(1, len(rewards)):
        w[t] = np.where(ends[t - 1], 1.0, w[t - 1] * ratio[t - 1])
    return w * q
""",
]
RETURNS_WRONG = [
    (
        [
            ("    returns = ", "    w = log_weights\n    for t in reversed(range(len(w) - 1)):\n"
             "        w[t] = np.where(ends[t], w[t], w[t + 1])\n    returns = "),
        ],
        "trajectory",
    ),
    ([("np.exp(log_weights) * rewards", "rewards.copy()"),
      ("return returns", "return np.exp(log_weights) * returns")], "prefix"),
    ([("log_weights[t] += ~ends[t - 1] * log_weights[t - 1]", "pass")], "step"),
    ([("return returns",
       "return returns / np.exp(log_weights - log_new + log_old)")], "from_t"),
    ([("log_new - log_old", "log_old - log_new")], "inverted"),
    ([("np.exp(log_weights)", "log_weights")], "logarithms"),
    ([("~ends[t - 1] * ", "")], "leak"),
    ([("gamma * ", "")], "undiscounted"),
    ([("np.exp(log_weights) * rewards", "rewards.copy()")], "unweighted"),
]  # fmt: skip
PLANTED = given("off_policy_update")
STEP = edited(PLANTED, ("old_log_prob = log_prob.detach()", "old_log_prob = old_log_prob.sum(0)"))
STEPS = [
    STEP,
    edited(
        STEP,
        ("(log_prob - old_log_prob).exp()", "(log_prob - old_log_prob).exp().detach()"),
        ("weights * rewards", "weights * log_prob * rewards"),
    ),
    """
def off_policy_update(theta, old_log_prob, states, actions, rewards, learning_rate):
    table, step = theta.detach(), torch.zeros_like(theta)
    probs = torch.softmax(table, dim=1)
    for s, a, r, old in zip(states.T, actions.T, rewards.T, old_log_prob.T):
        w = (probs[s, a].log() - old).sum().exp()
        for x, y in zip(s, a):
            step[x] -= w * r.sum() * probs[x]
            step[x, y] += w * r.sum()
    return table + learning_rate * step.detach() / states.shape[1]
""",
]
STEPS_WRONG = [
    ([("weights * rewards", "weights * log_prob * rewards")], "undetached"),
    (
        [
            ("[states, actions].sum(dim=0)", "[states, actions]"),
            ("old_log_prob.sum(0)", "old_log_prob"),
            ("weights * rewards.sum(dim=0)).mean()", "weights * rewards.sum(dim=0)).sum(0).mean()"),
        ],
        "step",
    ),
    (
        [
            ("(log_prob - old_log_prob).exp()", "(old_log_prob - log_prob).exp().detach()"),
            ("weights * rewards", "weights * log_prob * rewards"),
        ],
        "inverted",
    ),
    (
        [
            ("(log_prob - old_log_prob).exp()", "(log_prob - old_log_prob).exp()\n"
             "    weights = weights / weights.mean().detach()"),
        ],
        "self_normalized",
    ),
    ([(".mean()", ".sum()")], "summed"),
    ([("loss = -", "loss = ")], "descends"),
]  # fmt: skip


@pytest.mark.parametrize("source", RETURNS)
def test_right_returns(source):
    assert verdict("per_decision_returns", source).state is State.DONE


@pytest.mark.parametrize(("edits", "flag"), RETURNS_WRONG)
def test_wrong_returns(edits, flag):
    found = verdict("per_decision_returns", edited(RETURNS[0], *edits))
    assert (found.state, found.lines[0]) == (State.WRONG, PER_DECISION.mistakes[flag])


def test_weights_of_whole_trajectories_are_unbiased_with_more_variance():
    found = verdict("per_decision_returns", edited(RETURNS[0], *RETURNS_WRONG[0][0]))
    assert "unbiased, with" in found.lines[-1]
    found = verdict("per_decision_returns", edited(RETURNS[0], *RETURNS_WRONG[2][0]))
    assert "its expectation is off by" in found.lines[-1]


@pytest.mark.parametrize("source", STEPS)
def test_right_steps(source):
    assert verdict("off_policy_update", source).state is State.DONE


@pytest.mark.parametrize(("edits", "flag"), STEPS_WRONG)
def test_wrong_steps(edits, flag):
    found = verdict("off_policy_update", edited(STEP, *edits))
    assert (found.state, found.lines[0]) == (State.WRONG, WEIGHTED_STEP.mistakes[flag])


def test_the_planted_bug_is_to_do():
    found = verdict("off_policy_update", PLANTED)
    assert found.state is State.TO_DO and "its expectation is off by" in found.lines[0]
