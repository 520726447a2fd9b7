import pytest

from sb3_course.exercises.checking import State
from sb3_course.exercises.exercise import STILL_THERE
from sb3_course.exercises.themes.updates import REINFORCE_STEP, TO_GO_STEP
from tests.exercises.answers import edited, given, verdict

PLANTED = {name: given(name) for name in ("reinforce_update", "reward_to_go_update")}
MEAN = edited(
    PLANTED["reinforce_update"],
    ("returns - returns.mean()", "returns - (returns.sum() - returns) / (len(returns) - 1)"),
)
MEANS = [
    MEAN,
    edited(
        PLANTED["reinforce_update"],
        ("returns - returns.mean()", "(returns - returns.mean()) / (1 - 1 / len(returns))"),
    ),
    edited(
        PLANTED["reinforce_update"],
        ("returns - returns.mean()",
         "returns - torch.stack([torch.cat([returns[:i], returns[i + 1:]]).mean() "
         "for i in range(len(returns))])"),
        ("(log_prob * advantages).mean()", "log_prob @ advantages / len(returns)"),
    ),
]  # fmt: skip
MEAN_WRONG = [
    ([("returns - (returns.sum() - returns) / (len(returns) - 1)", "returns")], "none"),
    ([("(log_prob * advantages).mean()", "(log_prob * advantages).sum()")], "summed"),
    ([("(log_prob * advantages).mean()", "(log_prob * advantages).sum() / states.numel()")],
     "per_step"),
    ([("returns - (returns.sum() - returns) / (len(returns) - 1)",
       "(returns - returns.mean()) / (returns.std() + 1e-8)")], "standardized"),
    ([("returns - (returns.sum() - returns) / (len(returns) - 1)",
       "(returns - returns.mean()) / returns.std(correction=0)")], "standardized_by_n"),
    ([("loss = -", "loss = ")], "descends"),
    ([("[states, actions].sum(dim=0)", "[states, actions].exp().sum(dim=0)")], "no_log"),
]  # fmt: skip
TO_GO = edited(
    PLANTED["reward_to_go_update"], ("gamma * returns[t + 1]", "gamma * ~ends[t] * returns[t + 1]")
)
TO_GOS = [
    TO_GO,
    edited(
        PLANTED["reward_to_go_update"],
        ("+= gamma * returns[t + 1]",
         "= torch.where(ends[t], rewards[t], rewards[t] + gamma * returns[t + 1])"),
    ),
    edited(TO_GO, ("[states, actions]", "[states].gather(2, actions[..., None])[..., 0]")),
]  # fmt: skip
TO_GO_WRONG = [
    ([("~ends[t]", "~ends[t + 1]")], "early"),
    ([("rewards.clone()", "rewards * ~ends")], "last_lost"),
    ([("gamma * ", "")], "undiscounted"),
    ([("    log_prob", "    for t in range(1, len(rewards)):\n"
       "        returns[t] = torch.where(ends[t - 1], returns[t], returns[t - 1])\n    log_prob")],
     "total"),
    ([(".mean()", ".sum()")], "summed"),
    ([("loss = -", "loss = ")], "descends"),
    ([("torch.log_softmax", "torch.softmax")], "no_log"),
]  # fmt: skip


def test_a_planted_bug_beside_another_mistake_is_not_given_away():
    source = edited(
        PLANTED["reinforce_update"], (".mean()\n    (gradient", ".sum()\n    (gradient")
    )
    lines = verdict("reinforce_update", source).lines
    assert lines[:2] == (STILL_THERE, REINFORCE_STEP.mistakes["summed"])


@pytest.mark.parametrize("source", MEANS)
def test_right_steps_with_a_mean(source):
    assert verdict("reinforce_update", source).state is State.DONE


@pytest.mark.parametrize(("edits", "flag"), MEAN_WRONG)
def test_wrong_steps_with_a_mean(edits, flag):
    found = verdict("reinforce_update", edited(MEAN, *edits))
    assert (found.state, found.lines[0]) == (State.WRONG, REINFORCE_STEP.mistakes[flag])


@pytest.mark.parametrize("source", TO_GOS)
def test_right_steps_with_rewards_to_go(source):
    assert verdict("reward_to_go_update", source).state is State.DONE


@pytest.mark.parametrize(("edits", "flag"), TO_GO_WRONG)
def test_wrong_steps_with_rewards_to_go(edits, flag):
    found = verdict("reward_to_go_update", edited(TO_GO, *edits))
    assert (found.state, found.lines[0]) == (State.WRONG, TO_GO_STEP.mistakes[flag])


@pytest.mark.parametrize(
    ("name", "symptom"),
    [
        ("reinforce_update", "its expectation is 0.5 times the true gradient"),
        ("reward_to_go_update", "it is unbiased, with"),
    ],
)
def test_planted_bugs_are_to_do_and_their_symptom_is_measured(name, symptom):
    found = verdict(name, PLANTED[name])
    assert found.state is State.TO_DO and symptom in found.lines[0]
