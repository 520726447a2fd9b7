"""How answers are judged that are wrong in a way of their own."""

import inspect
import re

import numpy as np
import pytest

from sb3_course.exercises.checking import State, check, close
from sb3_course.exercises.student_file import statements
from sb3_course.exercises.themes import EXERCISES
from tests.exercises.answers import PATH, verdict

RIGHT = """
def reward_to_go(rewards, ends, gamma):
    returns = rewards.copy()
    for t in reversed(range(len(rewards) - 1)):
        returns[t] += gamma * ~ends[t] * returns[t + 1]
    return {}
"""


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("None", "None is returned: is there a return statement?"),
        ("returns[0]", "with one episode of four steps, the shape is (1,) instead of (4, 1)"),
        ("returns.T", "the shape is (1, 4) instead of (4, 1)"),
        ("returns.astype(int)", "a ndarray of type int64 is returned instead of an array"),
        ("returns > 0", "a ndarray of type bool is returned"),
        ("'a word'", "a str of type <U6 is returned"),
        ("{1: returns}", "a dict of type object is returned"),
        ("[[1.0, 2.0], [3.0]]", "lists of different lengths are returned"),
        ("returns * np.nan", "with one episode of four steps, [0, 0] is nan: divided by 0?"),
        ("np.where(ends, np.inf, returns)", "[3, 0] is inf"),
        ("rewards.__imul__(0) + returns", "the argument rewards is changed: work on a copy of it"),
    ],
)
def test_what_cannot_be_compared_is_described(returned, said):
    found = verdict("reward_to_go", RIGHT.format(returned))
    assert found.state is State.WRONG
    assert len(found.lines) == 1 and said in found.lines[0]


@pytest.mark.parametrize("returned", ["returns.tolist()", "torch.tensor(returns)"])
def test_lists_and_tensors_are_numbers_as_well(returned):
    assert verdict("reward_to_go", RIGHT.format(returned)).state is State.DONE


def test_single_precision_is_precise_enough_and_worse_is_not():
    assert verdict("reward_to_go", RIGHT.format("returns.astype('f4')")).state is State.DONE
    assert verdict("reward_to_go", RIGHT.format("returns * (1 + 2e-6)")).state is State.WRONG
    assert verdict("reward_to_go", RIGHT.format("returns.round(3)")).state is State.WRONG


def test_an_error_of_pytorch_is_no_unfinished_exercise():
    """PyTorch raises NotImplementedError for an operator that a type lacks."""
    found = verdict("reward_to_go", RIGHT.format("torch.tensor(ends) @ torch.tensor(ends).T"))
    assert found.state is State.WRONG
    assert f"{PATH}:" in found.lines[0]
    unfinished = RIGHT.format("returns").replace("return returns", "raise NotImplementedError")
    assert verdict("reward_to_go", unfinished).state is State.TO_DO


def test_two_mistakes_at_once_are_both_told():
    source = RIGHT.format("returns").replace(" * ~ends[t]", "").replace("gamma * ", "")
    lines = verdict("reward_to_go", source).lines
    mistakes = EXERCISES["reward_to_go"].mistakes
    assert set(lines[:2]) == {mistakes["leak"], mistakes["undiscounted"]}


def test_an_unknown_mistake_is_located_and_measured():
    lines = verdict("reward_to_go", RIGHT.format("returns + 0.1 * (returns > 3)")).lines
    assert lines[0].startswith("first seen with one episode of four steps: [0, 0] is 4.1")
    assert re.search(r"right is 4\.\d+ \(\d of 4 numbers differ\)", lines[0])
    assert "over all 4,096 outcomes, its expectation is off by" in lines[1]


def test_a_mistake_in_one_case_alone_is_guessed_at():
    source = RIGHT.format("returns if len(rewards) > 4 else gamma * returns")
    first = verdict("reward_to_go", source).lines[0]
    assert first.startswith("with one episode of four steps, as if γ is applied once too often")


def test_right_in_the_cases_is_not_right_yet():
    source = RIGHT.format("returns if rewards.shape[1] < 100 else 2 * returns")
    (line,) = verdict("reward_to_go", source).lines
    assert line.startswith("right in the cases that were compared, but with two episodes in a row")
    assert line.endswith("its expectation is 2 times the true gradient")


def test_not_written_yet_and_missing_are_told_apart():
    stub = "def reward_to_go(rewards, ends, gamma):\n    raise NotImplementedError\n"
    assert verdict("reward_to_go", stub).state is State.TO_DO
    found = check(EXERCISES["reward_to_go"], None, PATH)
    assert found.state is State.WRONG and found.lines == (
        "answers.py has no function reward_to_go",
    )


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("returns[99]", "answers.py:10: IndexError: index 99 is out of bounds"),
        ("exit(3)", "answers.py:10: SystemExit: 3"),
        ("1 / 0", "answers.py:10: ZeroDivisionError: division by zero"),
    ],
)
def test_an_error_is_shown_with_its_line(returned, said):
    found = verdict("reward_to_go", RIGHT.format(returned))
    assert found.state is State.WRONG and found.lines[0].startswith(said)


def test_a_function_of_other_parameters_is_described():
    found = verdict("reward_to_go", "def reward_to_go(rewards):\n    return rewards\n")
    assert "takes 1 positional argument but 3 were given" in found.lines[0]


def test_nothing_is_close_to_what_is_not_finite():
    assert not close(np.zeros(2), np.array([0.0, np.nan]))
    assert not close(np.zeros(2), np.zeros(3))


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES.keys())
def test_each_exercise_has_mistakes_of_its_own(exercise):
    """Every flag of the answer is told, changes it, and can be told from every other flag."""
    flags = [
        p.name
        for p in inspect.signature(exercise.answer).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    ]
    assert flags == list(exercise.mistakes)
    assert len(exercise.mistakes) >= 5
    assert len(set(exercise.mistakes.values())) == len(exercise.mistakes)
    with np.errstate(all="ignore"):
        made = {
            flag: [exercise.answer(**case.arguments, **{flag: True}) for case in exercise.cases]
            for flag in exercise.mistakes
        }
    made["right"] = [exercise.answer(**case.arguments) for case in exercise.cases]
    names = list(made)
    for i, one in enumerate(names):
        for other in names[:i]:
            assert not all(map(close, made[one], made[other])), (one, other)


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES.keys())
def test_the_answer_itself_is_right_by_enumeration(exercise):
    assert exercise.measure(exercise.answer) == ""


def test_there_are_twelve_in_the_order_of_the_worksheet():
    assert len(EXERCISES) == 12
    assert list(EXERCISES) == list(statements())
    assert sum(exercise.planted is not None for exercise in EXERCISES.values()) == 6


def test_a_wrong_shape_is_told_in_enumeration_as_well():
    source = """
def optimal_baseline(probabilities, scores, returns):
    squares = probabilities @ scores**2
    b = probabilities @ (scores**2 * returns[:, None]) / np.where(squares > 0, squares, 1.0)
    return b[:3]
"""
    found = verdict("optimal_baseline", source)
    assert found.state is State.WRONG
    assert (
        "with one of all trajectories of a small MDP, the shape is (3,) instead" in found.lines[0]
    )


def test_an_answer_that_is_off_by_less_than_six_digits_show_is_called_nearly_right():
    lines = verdict("reward_to_go", RIGHT.format("returns * (1 + 3e-6)")).lines
    is_, right = re.search(r"is (\S+), right is (\S+) \(", lines[0]).groups()
    assert is_ != right and "nearly right: is an ε added?" in lines[0]
