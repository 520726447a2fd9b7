import numpy as np
import pytest

from sb3_course.benchmark.reporting import tables
from sb3_course.benchmark.reporting.sections import sections
from sb3_course.benchmark.statistics.analysis import analyze
from sb3_course.benchmark.storage.result import RunResult
from tests.benchmark import made_up
from tests.benchmark.statistics.test_analysis import incomplete


@pytest.fixture(scope="module")
def analysis():
    return analyze(*incomplete())


def cell(table, row, column):
    rows = {cells[0]: cells for cells in table.rows}
    return rows[row][table.header.index(column)]


def test_an_estimate_is_written_with_its_interval():
    assert tables.interval(0.834, 0.751, 0.9) == "0.83 [0.75, 0.90]"
    assert tables.interval(0.5, np.nan, np.nan) == "0.50 [one run]"


def test_cells_count_their_runs(analysis):
    assert cell(tables.returns(analysis), "NPG", "CartPole-v1").endswith("(2)")
    assert cell(tables.returns(analysis), "NPG", "HalfCheetah-v4").endswith("(3)")
    assert cell(tables.by_environment(analysis), "NPG", "CartPole-v1").endswith("] (2)")
    assert cell(tables.aggregates(analysis), "NPG", "Seeds") == "2"
    assert cell(tables.sample_efficiency(analysis), "REINFORCE (optimal baseline)", "Seeds") == "3"


def test_pairs_are_written_the_likely_better_one_first(analysis):
    changed = analysis.probability_of_improvement.assign(point=[0.1, 0.9, 0.4], low=[0.0, 0.7, 0.2])
    changed = changed.assign(high=[0.3, 1.0, 0.8], n_runs_x=2, n_runs_y=[2, 3, 3])
    object.__setattr__(analysis, "probability_of_improvement", changed)
    rows = tables.probability_of_improvement(analysis).rows
    first = ["P(BatchActorCritic > NPG)", "0.90 [0.70, 1.00]"]
    assert rows[0] == [*first, "BatchActorCritic is likely to score higher", "2"]
    optimal = "REINFORCE (optimal baseline)"
    assert rows[1][2:] == ["NPG is likely to score higher", "2 and 3"]
    assert rows[2][0] == f"P({optimal} > BatchActorCritic)"
    assert rows[2][1:] == ["0.60 [0.20, 0.80]", "not told apart", "3 and 2"]
    assert tables.told_apart(analysis) == {
        "BatchActorCritic": ["NPG (0.90 [0.70, 1.00])"],
        "NPG": [f"{optimal} (0.90 [0.70, 1.00])"],
    }


def test_runs_that_are_absent_for_one_reason_share_a_row():
    grid = made_up.grid()
    some = [r for r in made_up.results(grid) if r.spec.seed == 0]
    rows = tables.absent(analyze(grid, some)).rows
    assert ["NPG", "1, 2", "CartPole-v1, HalfCheetah-v4", "not run"] in rows
    assert len(rows) == 3


def test_what_runs_were_made_with_is_counted_where_it_differs():
    specs = made_up.grid().runs()[:3]
    made_with = [{"torch": "2.1", "cpu": "A", "envpool": None}, {"torch": "2.2", "cpu": "A"}, None]
    results = [RunResult(spec=s, made_with=m) for s, m in zip(specs, made_with)]
    manifest = {"versions": {"torch": "2.1"}, "workers": 2, "commands": ["x"], "grid": {"a": 1}}
    assert tables.made_with(results, manifest).rows == [
        ["torch", "2.1 (1 run), 2.2 (1 run)"],
        ["cpu", "A"],
        ["workers", "2"],
    ]


def test_the_summary_states_the_answers():
    grid = made_up.grid(seeds=3)
    content = sections(analyze(grid, made_up.results(grid)), {}, "")
    summary, *_, reproduction = content
    assert summary.paragraphs == [
        "Algorithms: 3. Environments: 2. Seeds: 3. 18 of 18 runs finished."
    ]
    text = "\n".join(summary.points)
    assert "Highest interquartile mean of scores: " in text
    assert "of 3 pairs told apart" in text
    assert "Highest mean return on CartPole-v1: " in text
    assert "With 3 seeds, the fewest in a cell, intervals are too narrow" in text
    assert reproduction.code == "sb3-course run made-up.yaml"
    absent = content[-2]
    assert absent.paragraphs == ["None: every run is in every statistic."]


def test_questions_are_answered_in_words_and_in_tables():
    grid = made_up.grid(questions={"Is it better?": ["NPG", "BatchActorCritic"]})
    answered = sections(analyze(grid, made_up.results(grid)), {}, "")[1]
    whole, by_environment = answered.tables
    ((question, x, y, *estimates, seeds),) = whole.rows
    assert (question, x, y, seeds) == ("Is it better?", "NPG", "BatchActorCritic", "3")
    (words,) = answered.points
    assert words.startswith("Is it better? A run of NPG scores higher than one of BatchActorCritic")
    for number in estimates:
        assert number in words
    assert words.endswith("(3 seeds).")
    assert by_environment.header == ["X against Y", "CartPole-v1", "HalfCheetah-v4"]
    assert len(by_environment.rows) == 1


def test_a_question_without_an_answer_is_not_passed_over():
    grid = made_up.grid(questions={"Is it better?": ["NPG", "BatchActorCritic"]})
    results = [r for r in made_up.results(grid) if r.spec.algorithm != "NPG"]
    section = sections(analyze(grid, results), {}, "")[1]
    assert section.points == [
        "Is it better? Not answered: no seed of NPG finished on every environment."
    ]
    assert section.tables == []


@pytest.mark.parametrize(
    ("commit", "first"), [("abc", "git checkout abc"), ("abc-dirty", "sb3-course run x.yaml")]
)
def test_how_to_reproduce_begins_with_the_code(commit, first):
    manifest = {"git_commit": commit, "commands": ["sb3-course run x.yaml"]}
    reproduction = sections(analyze(made_up.grid(), []), manifest, "name: x")[-1]
    assert reproduction.code.splitlines()[0] == first
    assert reproduction.details[0][1] == "name: x"
