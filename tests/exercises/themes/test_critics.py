import pytest

from sb3_course.exercises.checking import State, close
from sb3_course.exercises.themes.critics import ADVANTAGE_STEP, CRITIC_STEP
from tests.exercises.answers import edited, given, verdict

PLANTED = {name: given(name) for name in ("advantage_update", "critic_update")}
ACTOR = edited(PLANTED["advantage_update"], ("gather(1, actions)", "gather(1, actions).squeeze(1)"))
ACTORS = [
    ACTOR,
    edited(PLANTED["advantage_update"], ("returns - values", "(returns - values)[:, None]")),
    edited(
        PLANTED["advantage_update"],
        ("[states].gather(1, actions)", "[states, actions[:, 0]]"),
        ("-(log_prob * advantages).mean()", "-torch.dot(log_prob, advantages) / len(values)"),
    ),
]  # fmt: skip
ACTOR_WRONG = [
    ([("returns - values", "returns")], "no_values"),
    ([("log_softmax(theta, dim=1)", "log_softmax(theta, dim=0)")], "over_states"),
    ([("returns - values", "returns - values\n    advantages = (advantages - advantages.mean()) "
       "/ (advantages.std() + 1e-8)")], "standardized"),
    ([("returns - values", "returns - values\n    advantages = (advantages - advantages.mean()) "
       "/ advantages.std(correction=0)")], "standardized_by_n"),
    ([("log_prob * advantages", "log_prob.detach() * advantages + 0 * theta.sum()")], "stays"),
    ([(".mean()", ".sum()")], "summed"),
    ([("loss = -", "loss = ")], "descends"),
    ([("torch.log_softmax", "torch.softmax")], "no_log"),
]  # fmt: skip
CRITIC = edited(PLANTED["critic_update"], ("terminated | truncated", "terminated"))
CRITICS = [
    CRITIC,
    edited(
        CRITIC,
        ("    loss", "    with torch.no_grad():\n"
         "        after = torch.where(terminated, 0.0, values[next_states])\n"
         "    targets = rewards + gamma * after\n    loss"),
        ("0.5 * (values[states] - targets).square().mean()",
         "torch.nn.functional.mse_loss(values[states], targets) / 2"),
    ),
    """
def critic_update(
    values, states, rewards, next_states, terminated, truncated, gamma, learning_rate
):
    old, new = values.detach(), values.detach().clone()
    for s, r, following, end in zip(states, rewards, next_states, terminated):
        error = r + (0 if end else gamma * old[following]) - old[s]
        new[s] += learning_rate * error / len(states)
    return new
""",
]  # fmt: skip
CRITIC_WRONG = [
    ([("* ~done", "")], "keeps_terminal"),
    ([("done = terminated", "done = truncated")], "swapped"),
    ([("done = terminated", "done = terminated & ~truncated")], "limit_wins"),
    ([(".detach() * ~done", " * ~done")], "residual"),
    ([("0.5 * ", "")], "doubled"),
    ([(".mean()", ".sum()")], "summed"),
    ([("- learning_rate", "+ learning_rate")], "ascends"),
    ([("gamma * ", "")], "undiscounted"),
]


@pytest.mark.parametrize("source", ACTORS)
def test_right_steps_by_advantages(source):
    assert verdict("advantage_update", source).state is State.DONE


@pytest.mark.parametrize("case", ADVANTAGE_STEP.cases, ids=lambda case: case.label)
def test_the_planted_bug_changes_every_step_by_advantages(case):
    """Equal transitions would leave only the sum of their advantages, and many mistakes alike."""
    right = ADVANTAGE_STEP.answer(**case.arguments)
    assert not close(ADVANTAGE_STEP.answer(**case.arguments, broadcast=True), right)


@pytest.mark.parametrize(("edits", "flag"), ACTOR_WRONG)
def test_wrong_steps_by_advantages(edits, flag):
    found = verdict("advantage_update", edited(ACTOR, *edits))
    assert (found.state, found.lines[0]) == (State.WRONG, ADVANTAGE_STEP.mistakes[flag])


@pytest.mark.parametrize("source", CRITICS)
def test_right_critics(source):
    assert verdict("critic_update", source).state is State.DONE


@pytest.mark.parametrize(("edits", "flag"), CRITIC_WRONG)
def test_wrong_critics(edits, flag):
    found = verdict("critic_update", edited(CRITIC, *edits))
    assert (found.state, found.lines[0]) == (State.WRONG, CRITIC_STEP.mistakes[flag])


@pytest.mark.parametrize(
    ("name", "symptom"),
    [("advantage_update", "its expectation is off by"), ("critic_update", "it does, by")],
)
def test_planted_bugs_are_to_do_and_their_symptom_is_measured(name, symptom):
    found = verdict(name, PLANTED[name])
    assert found.state is State.TO_DO and symptom in found.lines[0]
