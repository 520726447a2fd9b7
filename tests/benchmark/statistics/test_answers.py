from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sb3_course.benchmark.statistics.analysis import analyze_returns
from sb3_course.benchmark.statistics.design import Design
from sb3_course.benchmark.storage.returns_table import COLUMNS
from sb3_course.benchmark.storage.rounds import Rounds

QUESTION = "Is A better than B?"


def design(**changes):
    given = {"questions": {QUESTION: ("A", "B")}, **changes}
    return Design("made-up", ["A", "B", "C"], {"Mine": [0, 10]}, range(5), **given)


def table(n=5, lead=3.0, algorithms=("A", "B"), seed=0, environment="Mine"):
    """Make tidy returns of runs with two evaluations; A is ahead by the lead."""
    generator = np.random.default_rng(seed)
    rows = [
        (name, environment, i, step, value, 0.0, 9.0, step / 10, step, "[]")
        for name in algorithms
        for i in range(n)
        for end in [generator.normal(lead * (name == "A"))]
        for step, value in ((0, 0.0), (10, end))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def answer(of, returns):
    (row,) = analyze_returns(of, returns).answers.itertuples(index=False)
    return row


def test_a_large_difference_is_settled_and_has_a_winner():
    row = answer(design(), table(lead=9))
    assert row.settled and row.winner == "A" and row.point == 1
    assert row.p == row.p_holm == pytest.approx(2 / 252)
    assert row.power > 0.8 and row.seeds_needed <= 5
    assert (row.n_runs_x, row.n_runs_y, row.environments, row.rounds) == (5, 5, ["Mine"], 0)


def test_the_worse_algorithm_may_be_named_first():
    turned = design(questions={QUESTION: ("B", "A")})
    assert answer(turned, table(lead=9)).winner == "A"


def test_a_small_difference_is_not_settled_and_needs_more_seeds():
    row = answer(design(), table(lead=0.3))
    assert not row.settled and row.winner == ""
    assert row.seeds_needed > 5 and row.power < 0.8


def test_questions_share_the_level():
    two = design(questions={QUESTION: ("A", "B"), "And C?": ("A", "C")})
    answers = analyze_returns(two, table(lead=9, algorithms=("A", "B", "C"))).answers
    assert answers["p_holm"].tolist() == pytest.approx([4 / 252] * 2)


def test_a_question_that_cannot_be_answered_says_why_and_takes_no_share():
    two = design(questions={"And C?": ("A", "C"), QUESTION: ("A", "B")})
    lacking, row = analyze_returns(two, table(lead=9)).answers.itertuples(index=False)
    assert lacking.why == "no run of C has finished" and not lacking.settled
    assert np.isnan(lacking.point) and lacking.environments == []
    assert row.p_holm == pytest.approx(2 / 252)
    apart = pd.concat([table(algorithms=("A",)), table(algorithms=("B",), environment="Yours")])
    elsewhere = replace(design(), environments={"Mine": [0, 10], "Yours": [0, 10]})
    assert "no environment in common" in answer(elsewhere, apart).why


def test_an_environment_without_a_scale_is_as_good_as_any():
    assert "Mine" not in design().references.environments
    assert answer(design(), table(lead=9)).settled


def test_a_single_run_is_compared_and_has_no_power():
    row = answer(design(), table(n=1))
    assert row.point in (0, 1) and row.p == 1 and np.isnan(row.power)


ROUNDS = [list(range(5 * i, 5 * i + 5)) for i in range(4)]


def plan(*more, **counts):
    return Rounds(seeds=[*ROUNDS, *more], questions={QUESTION: ("A", "B")}, **counts)


def test_no_pair_is_told_apart_where_seeds_were_added_and_nothing_is_asked():
    """As among logs with a grid that ran until it was settled: a fixed test errs too often."""
    for rounds, apart in ((None, True), (plan(), False)):
        found = analyze_returns(design(questions={}, rounds=rounds), table(lead=9))
        assert found.probability_of_improvement["apart"].tolist() == [apart]


def test_rounds_are_judged_by_the_sequential_test():
    looked = plan(started={"A": 1, "B": 1}, looked={QUESTION: 1})
    # The bound of the first of four looks is a quarter of the level, which 2 of 252 are below.
    row = answer(design(rounds=looked), table(lead=9))
    assert row.settled and row.rounds == 1
    many = plan(*([s] for s in range(100, 110)), looked={QUESTION: 1})
    row = answer(design(rounds=many), table(lead=9))
    assert not row.settled and row.p < 0.05  # a look of fourteen, and not the only one


def test_the_looks_decide_about_the_pair_of_a_planned_question():
    """A test for a fixed number of seeds would find it, on seeds added until something differs."""
    many = plan(*([s] for s in range(100, 110)), looked={QUESTION: 1})
    returns = table(lead=9, algorithms=("A", "B", "C"))
    pairs = analyze_returns(design(rounds=many), returns).probability_of_improvement
    assert pairs["apart"].tolist() == [False, True, False]  # A and B, A and C, B and C
    later = design(rounds=many, questions={QUESTION: ("A", "B"), "And C?": ("C", "A")})
    pairs = analyze_returns(later, returns).probability_of_improvement
    assert not pairs["apart"].any()  # a question that was asked later is not settled by the rounds
    pairs = analyze_returns(design(), returns).probability_of_improvement
    assert pairs["apart"].tolist() == [True, True, False]


@pytest.mark.parametrize("again", [("A", "B"), ("B", "A")])
def test_a_question_that_is_asked_twice_takes_no_answer_back(again):
    looked = plan(started={"A": 1, "B": 1}, looked={QUESTION: 1})
    asked = design(rounds=looked, questions={QUESTION: ("A", "B"), "In other words?": again})
    found = analyze_returns(asked, table(lead=9))
    assert found.answers["settled"].tolist() == [True, False]
    assert found.probability_of_improvement["apart"].tolist() == [True]


def test_runs_of_a_round_that_was_not_looked_at_settle_nothing():
    looked = plan(started={"A": 2, "B": 2}, looked={QUESTION: 1})
    both = table(n=10, lead=0.0)
    later = (both["algorithm"] == "A") & (both["seed"] >= 5) & (both["step"] > 0)
    both.loc[later, "return_mean"] += 99
    assert not answer(design(rounds=looked), both).settled


def test_a_round_of_which_every_run_failed_settles_nothing():
    looked = plan(started={"A": 2, "B": 2}, looked={QUESTION: 2})
    row = answer(design(rounds=looked), table(lead=9))  # there are no runs of the second one
    assert not row.settled and row.rounds == 2


def test_a_settled_question_stays_settled_where_a_task_that_failed_is_done_later():
    """A has no run on a second task in the first round, by which the question is settled."""
    looked = plan(started={"A": 2, "B": 2}, looked={QUESTION: 2})
    two = design(rounds=looked)
    two = replace(two, environments={"Mine": [0, 10], "Yours": [0, 10]})
    mine, yours = table(n=10, lead=9), table(n=10, lead=0, environment="Yours")
    failed = (yours["algorithm"] == "A") & yours["seed"].isin(looked.seeds[0])
    row = answer(two, pd.concat([mine, yours[~failed]]))
    assert row.settled and row.winner == "A" and row.environments == ["Mine", "Yours"]


def test_the_winner_is_who_was_ahead_when_it_was_settled():
    """Both have gone on for another question since, and B has caught up."""
    looked = plan(started={"A": 4, "B": 4}, looked={QUESTION: 1})
    both = table(n=20, lead=9)
    later = (both["algorithm"] == "B") & (both["seed"] >= 5) & (both["step"] > 0)
    both.loc[later, "return_mean"] += 99
    row = answer(design(rounds=looked), both)
    assert row.point < 0.5 and row.settled and row.winner == "A"


def test_between_the_planned_looks_nothing_is_settled():
    row = answer(design(rounds=plan(started={"A": 1, "B": 1})), table(lead=9))
    assert row.p < 0.05 and not row.settled and row.winner == ""


def test_a_question_of_another_plan_is_not_settled_by_its_rounds():
    looked = plan(started={"A": 4, "B": 4, "C": 4}, looked={QUESTION: 4})
    returns = table(n=20, lead=9, algorithms=("A", "B", "C"))
    more = {QUESTION: ("A", "B"), "And C?": ("A", "C")}
    answers = analyze_returns(design(rounds=looked, questions=more), returns).answers
    assert answers["settled"].tolist() == [True, False]
    turned = design(rounds=looked, questions={QUESTION: ("A", "C")})
    assert not answer(turned, returns).settled


def test_a_question_that_was_dropped_keeps_its_share_of_the_level():
    both = {QUESTION: ("A", "B"), "And C?": ("A", "C")}
    rounds = Rounds(seeds=[[0, 1, 2, 3]], questions=both, looked={QUESTION: 1})
    # 2 of 70 choices are as extreme, which is below 5% and not below the half of it.
    assert not answer(design(rounds=rounds), table(n=4, lead=9)).settled
    alone = rounds.model_copy(update={"questions": {QUESTION: ("A", "B")}})
    assert answer(design(rounds=alone), table(n=4, lead=9)).settled
