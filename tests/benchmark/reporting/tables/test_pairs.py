import numpy as np
import pandas as pd
import pytest

from sb3_course.benchmark.reporting.content import NOTHING
from sb3_course.benchmark.reporting.tables import pairs
from sb3_course.benchmark.reporting.tables.layout import look
from sb3_course.benchmark.statistics.analysis import analyze
from sb3_course.benchmark.statistics.pairs import ALL
from tests.benchmark import made_up

ASKED = {
    "Is it better?": ["NPG", "BatchActorCritic"],
    "What does it bring?": ["REINFORCE (optimal baseline)", "NPG"],
}
OPTIMAL = "REINFORCE (optimal baseline)"


@pytest.fixture(scope="module")
def analysis():
    grid = made_up.grid(questions=ASKED)
    return analyze(grid, made_up.results(grid))


def answered(analysis, **columns):
    return made_up.changed(analysis, answers=analysis.answers.assign(**columns))


def test_a_settled_question_is_marked_and_drawn_in_the_winners_color(analysis):
    changed = answered(
        analysis,
        settled=[True, False],
        winner=["BatchActorCritic", ""],
        point=[0.1, 0.6],
        low=[0.0, 0.4],
        high=[0.2, 0.8],
    )
    settled, unsettled = pairs.questions(changed).cells
    assert [cell.text for cell in settled] == ["Is it better?", "0.10", "BatchActorCritic"]
    assert settled[0].note == "NPG against BatchActorCritic"
    assert settled[1].note == "[0.00, 0.20]"
    assert settled[1].bar.color == look(analysis)["BatchActorCritic"].hex
    assert settled[1].bar.mark == 50
    assert (settled[2].bold, settled[2].state) == (True, "yes")
    assert unsettled[1].bar.color == pairs.OPEN
    assert (unsettled[2].text, unsettled[2].bold, unsettled[2].state) == ("open", False, "no")


def test_a_question_without_an_answer_says_why():
    grid = made_up.grid(questions=ASKED)
    results = [r for r in made_up.results(grid) if r.spec.algorithm != "NPG"]
    analysis = analyze(grid, results)
    for row in pairs.questions(analysis).cells:
        assert (row[1].text, row[1].bar) == (NOTHING, None)
        assert (row[2].text, row[2].state) == ("not answered", "no")
        assert row[2].note == "no run of NPG has finished"
    assert pairs.power(analysis).rows == []


def test_power_and_seeds_are_written_with_their_uncertainty(analysis):
    changed = answered(
        analysis,
        p=[0.0001, 0.2],
        p_holm=[0.0002, 0.2],
        power=[0.912, np.nan],
        power_low=[0.6, np.nan],
        power_high=[1.0, np.nan],
        seeds_needed=[234.0, np.inf],
        seeds_low=[5.0, 12.0],
        seeds_high=[np.inf, np.inf],
    )
    table = pairs.power(changed)
    assert table.header == ["Question", "p", "p (Holm)", "Seeds", "Power", "Seeds for 80%"]
    first, second = ([f"{cell.text} {cell.note}".strip() for cell in row] for row in table.cells)
    assert first[1:] == ["<0.001", "<0.001", "3", "91% [60%, 100%]", "234 [5, >1,000]"]
    assert second[1:] == ["0.200", "0.200", "3", "—", ">1,000 [12, >1,000]"]


def test_rounds_are_a_column_if_seeds_were_added_in_rounds(analysis):
    table = pairs.power(answered(analysis, rounds=[3, 0]))
    assert table.header[-1] == "Rounds"
    assert [row[-1].text for row in table.cells] == ["3", "0"]


def test_the_measures_of_questions_are_columns(analysis):
    table = pairs.differences(analysis)
    assert table.header == [
        "Question",
        "P(X > Y)",
        "P(X > Y) over the run",
        "IQM at the end",
        "IQM over the run",
    ]
    row = table.cells[0]
    assert row[0].text == "NPG against BatchActorCritic"
    assert [cell.bar is not None for cell in row] == [False, True, True, False, False]
    rows = analysis.comparisons
    mine = rows[(rows["environment"] == ALL) & (rows["measure"] == "IQM at the end")]
    assert row[3].text == f"{mine.iloc[0]['point']:.2f}"


def test_questions_are_answered_on_each_environment(analysis):
    first, *_ = tables = list(pairs.by_environment(analysis))
    assert len(tables) == 4
    assert first.header == ["Question", "CartPole-v1", "HalfCheetah-v4"]
    assert len(first.rows) == 2


def test_pairs_are_written_with_the_probably_better_algorithm_first(analysis):
    table = analysis.probability_of_improvement
    changed = made_up.changed(
        analysis,
        probability_of_improvement=table.assign(
            point=[0.1, 0.9, 0.4],
            low=[0.0, 0.7, 0.2],
            high=[0.3, 1.0, 0.8],
            n_runs_x=2,
            n_runs_y=[2, 3, 3],
            p=[0.001, 0.01, 0.5],
            p_holm=[0.003, 0.02, 0.5],
            apart=[True, True, False],
        ),
    )
    rows = pairs.probability_of_improvement(changed).cells
    texts = [[cell.text for cell in row] for row in rows]
    assert texts == [
        ["BatchActorCritic over NPG", "0.90", "0.001", "0.003", "BatchActorCritic", "2"],
        [f"NPG over {OPTIMAL}", "0.90", "0.010", "0.020", "NPG", "2 and 3"],
        [f"{OPTIMAL} over BatchActorCritic", "0.60", "0.500", "0.500", "open", "3 and 2"],
    ]
    assert [row[1].note for row in rows] == ["[0.70, 1.00]", "[0.70, 1.00]", "[0.20, 0.80]"]
    assert rows[2][1].bar.color == pairs.OPEN
    assert pairs.told_apart(changed) == {
        "BatchActorCritic": ["NPG (0.90 [0.70, 1.00])"],
        "NPG": [f"{OPTIMAL} (0.90 [0.70, 1.00])"],
    }


def test_environments_of_pairs_are_named_if_they_differ(analysis):
    table = analysis.probability_of_improvement
    assert "Environments" not in pairs.probability_of_improvement(analysis).header
    some = pd.Series([["CartPole-v1"], ["CartPole-v1", "HalfCheetah-v4"], ["HalfCheetah-v4"]])
    changed = made_up.changed(analysis, probability_of_improvement=table.assign(environments=some))
    shown = pairs.probability_of_improvement(changed)
    assert shown.header[-1] == "Environments"
    assert shown.cells[1][-1].text == "CartPole-v1, HalfCheetah-v4"
