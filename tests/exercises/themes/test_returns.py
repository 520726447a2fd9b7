import numpy as np
import pytest

from sb3_course import estimators
from sb3_course.exercises.checking import State
from sb3_course.exercises.themes.returns import GAE, REWARD_TO_GO, batch
from tests.exercises.answers import edited, verdict

TO_GO = [
    """
def reward_to_go(rewards, ends, gamma):
    returns = rewards.copy()
    for t in reversed(range(len(rewards) - 1)):
        returns[t] += gamma * ~ends[t] * returns[t + 1]
    return returns
""",
    """
def reward_to_go(rewards, ends, gamma):
    after, out = np.zeros(rewards.shape[1]), []
    for r, e in zip(rewards[::-1], ends[::-1]):
        after = np.where(e, r, r + gamma * after)
        out.append(after)
    return np.array(out[::-1])
""",
    """
def reward_to_go(rewards, ends, gamma):
    returns = []
    for t in range(rewards.shape[0]):
        row = []
        for n in range(rewards.shape[1]):
            total, factor = 0.0, 1.0
            for later in range(t, rewards.shape[0]):
                total += factor * rewards[later, n]
                factor *= gamma
                if ends[later, n]:
                    break
            row.append(total)
        returns.append(row)
    return torch.tensor(returns, dtype=torch.float32)
""",
]
TO_GO_WRONG = [
    ([("rewards.copy()", "gamma * rewards")], "once_more"),
    ([("gamma * ~ends[t]", "gamma**2 * ~ends[t]")], "twice"),
    ([("gamma * ~ends[t]", "~ends[t]")], "undiscounted"),
    ([(" * ~ends[t]", "")], "leak"),
    ([("~ends[t] ", "~ends[t + 1] ")], "early"),
    ([("~ends[t] ", "(~ends[t - 1] if t else 1) ")], "late"),
    ([("    return returns", "    return (returns - rewards) / gamma")], "exclusive"),
    (
        [
            ("reversed(range(len(rewards) - 1))", "range(1, len(rewards))"),
            ("~ends[t] * returns[t + 1]", "~ends[t - 1] * returns[t - 1]"),
        ],
        "past",
    ),
    (
        [("    return returns", "    return rewards + gamma * (returns - rewards) ")],
        "later_twice",
    ),
]
FROM_START = """
def reward_to_go(rewards, ends, gamma):
    returns, time = rewards.copy(), np.zeros(rewards.shape)
    for t in range(1, len(rewards)):
        time[t] = (time[t - 1] + 1) * ~ends[t - 1]
    returns *= gamma**time
    for t in reversed(range(len(rewards) - 1)):
        returns[t] += ~ends[t] * returns[t + 1]
    return returns
"""
TOTAL = edited(
    FROM_START,
    (
        "    return returns",
        "    for t in range(1, len(rewards)):\n"
        "        returns[t] = np.where(ends[t - 1], returns[t], returns[t - 1])\n"
        "    return returns",
    ),
)
ADVANTAGES = [
    """
def gae(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    deltas = rewards + gamma * next_values * ~terminated - values
    ends = terminated | truncated
    advantages = deltas.copy()
    for t in reversed(range(len(deltas) - 1)):
        advantages[t] += gamma * gae_lambda * ~ends[t] * advantages[t + 1]
    return advantages
""",
    """
def gae(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    goes_on = 1.0 - (terminated | truncated)
    advantages, last = np.empty_like(values), 0.0
    for t in range(len(values) - 1, -1, -1):
        target = rewards[t] + gamma * (1.0 - terminated[t]) * next_values[t]
        last = target - values[t] + gamma * gae_lambda * goes_on[t] * last
        advantages[t] = last
    return advantages
""",
    """
def gae(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    v = np.where(terminated, 0, next_values)
    g, last = np.zeros_like(values), v[-1]  # the λ-return
    for t in reversed(range(len(values))):
        last = np.where(truncated[t] | terminated[t], v[t], last)
        last = rewards[t] + gamma * ((1 - gae_lambda) * v[t] + gae_lambda * last)
        g[t] = last
    return g - values
""",
]
ADVANTAGES_WRONG = [
    ([("~terminated ", "~(terminated | truncated) ")], "no_bootstrap"),
    ([(" * ~terminated", " * (~terminated | truncated)")], "limit_wins"),
    ([(" * ~terminated", "")], "keeps_terminal"),
    ([(" * ~ends[t]", "")], "leak"),
    ([("ends = terminated | truncated", "ends = terminated")], "leak_at_limits"),
    ([("gamma * gae_lambda", "gae_lambda")], "lambda_only"),
    ([("gamma * gae_lambda", "gamma")], "gamma_only"),
    ([("return advantages", "return advantages + values")], "target"),
    (
        [
            (
                "    deltas",
                "    next_values = np.append(values[1:], next_values[-1:], 0)\n    deltas",
            )
        ],
        "of_reset",
    ),
    (
        [
            (
                "return advantages",
                "return (advantages - advantages.mean()) / (advantages.std() + 1e-8)",
            )
        ],
        "standardized",
    ),
]


@pytest.mark.parametrize("source", TO_GO)
def test_right_rewards_to_go(source):
    assert verdict("reward_to_go", source).state is State.DONE


@pytest.mark.parametrize(("edits", "flag"), TO_GO_WRONG)
def test_wrong_rewards_to_go(edits, flag):
    found = verdict("reward_to_go", edited(TO_GO[0], *edits))
    assert (found.state, found.lines[0]) == (State.WRONG, REWARD_TO_GO.mistakes[flag])


@pytest.mark.parametrize(("source", "flag"), [(FROM_START, "from_start"), (TOTAL, "total")])
def test_discounts_from_the_start(source, flag):
    assert verdict("reward_to_go", source).lines[0] == REWARD_TO_GO.mistakes[flag]


@pytest.mark.parametrize("source", ADVANTAGES)
def test_right_advantages(source):
    assert verdict("gae", source).state is State.DONE


@pytest.mark.parametrize(("edits", "flag"), ADVANTAGES_WRONG)
def test_wrong_advantages(edits, flag):
    found = verdict("gae", edited(ADVANTAGES[0], *edits))
    assert (found.state, found.lines[0]) == (State.WRONG, GAE.mistakes[flag])


def test_what_follows_is_measured():
    """A missing bootstrap biases where a limit cuts; a missing V(s_t) only adds variance."""
    cut, target = (verdict("gae", edited(ADVANTAGES[0], *ADVANTAGES_WRONG[i][0])) for i in (0, 7))
    assert "limit cuts" in cut.lines[-1] and "off by" in cut.lines[-1]
    assert "unbiased, with" in target.lines[-1]


def test_answers_are_those_of_the_estimators():
    for case in REWARD_TO_GO.cases:
        wanted = estimators.reward_to_go(*case.arguments.values())
        assert REWARD_TO_GO.answer(**case.arguments) == pytest.approx(wanted)
    for case in GAE.cases:
        a = case.arguments
        ends = a["terminated"] | a["truncated"]
        following = np.where(a["terminated"], 0.0, a["next_values"])
        deltas = estimators.td_errors(a["rewards"], a["values"], following, a["gamma"])
        wanted = estimators.gae(deltas, ends, a["gamma"], a["gae_lambda"])
        assert GAE.answer(**a) == pytest.approx(wanted)


def test_batches_are_as_drawn():
    rewards, marks, _ = batch(0, ".T.", "L.T")
    assert rewards.shape == (3, 2)
    assert marks.tolist() == [[".", "L"], ["T", "."], [".", "T"]]
