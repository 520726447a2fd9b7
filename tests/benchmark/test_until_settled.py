from dataclasses import replace
from functools import partial
from io import StringIO

import numpy as np
import pytest
import yaml
from rich.console import Console

from sb3_course.benchmark.api import compare_with_stored
from sb3_course.benchmark.plan import GridOutcome, run_plan
from sb3_course.benchmark.storage.result import Measurement, RunResult
from sb3_course.benchmark.storage.rounds import read_rounds, write_rounds
from sb3_course.benchmark.until_settled import in_rounds
from sb3_course.common.errors import UserError

GRID = {
    "name": "mine",
    "seeds": 4,
    "evaluation": {"n_points": 1, "episodes": 1},
    "environments": {"CartPole-v1": {"total_timesteps": 100}},
    "algorithms": {
        "good": {"class": "A2C"},
        "bad": {"class": "A2C", "params": {"gamma": 0.5}},
        "same": {"class": "A2C", "params": {"gamma": 0.9}},
    },
    "questions": {"Good or bad?": ["good", "bad"], "Good or the same?": ["good", "same"]},
}
LEVEL = {"good": 9.0, "bad": 0.0, "same": 9.0}


class Execution:
    """Makes up results of the runs that are due, and counts its calls."""

    def __init__(self, fails=(), stops_at=None):
        self.calls, self.fails, self.stops_at = [], fails, stops_at

    def __call__(self, plan):
        if self.stops_at == len(self.calls):
            raise KeyboardInterrupt
        self.calls.append(sorted({spec.algorithm for spec in plan.todo}))
        for spec in plan.todo:
            seed = [spec.seed, *map(ord, spec.algorithm)]
            value = np.random.default_rng(seed).normal(LEVEL[spec.algorithm])
            ends = [Measurement(s, s, s / 10, [v], [9]) for s, v in ((0, 0.0), (100, value))]
            failed = (spec.algorithm, spec.seed) in self.fails
            result = RunResult(spec=spec, measurements=[] if failed else ends)
            plan.store.write(
                result.model_copy(update={"failure": "ValueError: made"}) if failed else result
            )
        return GridOutcome(plan.store.read(plan.runs), None)


def run(folder, execution, max_seeds=12, grid=GRID):
    return in_rounds(grid, max_seeds, folder, execution, Console(quiet=True))


@pytest.fixture(autouse=True)
def _no_report(monkeypatch):
    monkeypatch.setattr("sb3_course.benchmark.until_settled.publish_grid", lambda *_: "page")


def test_the_algorithms_of_open_questions_get_more_seeds(tmp_path):
    execution = Execution()
    outcome = run(tmp_path, execution)
    assert execution.calls[0] == ["bad", "good", "same"]
    assert execution.calls[-1] == ["good", "same"]  # the other question was settled before
    rounds = read_rounds(tmp_path / "mine")
    assert rounds.looked["Good or the same?"] == 3 == len(execution.calls)
    assert rounds.looked["Good or bad?"] < 3
    assert rounds.seeds == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert rounds.started["bad"] == rounds.looked["Good or bad?"]
    assert outcome.page == "page"
    n_runs = sum(4 * n for n in rounds.started.values())
    assert len({result.spec.id for result in outcome.results}) == n_runs


def test_an_edit_while_rounds_run_changes_nothing(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(GRID))

    class Edits(Execution):
        def __call__(self, plan):
            file.write_text("name: half a fi")
            return super().__call__(plan)

    edited = Edits()
    run(tmp_path, edited, grid=file)
    run(tmp_path / "other", whole := Execution())
    assert edited.calls == whole.calls


def test_it_ends_when_everything_is_settled(tmp_path):
    alone = {**GRID, "questions": {"Good or bad?": ["good", "bad"]}}
    execution = Execution()
    run(tmp_path, execution, max_seeds=400, grid=alone)
    assert 1 <= len(execution.calls) < 10


def test_after_an_interruption_the_same_call_goes_on(tmp_path):
    whole = Execution()
    run(tmp_path / "whole", whole)
    for stop in range(3):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", Execution(stops_at=1 if stop else 0))
    run(tmp_path / "parts", Execution())
    assert read_rounds(tmp_path / "parts/mine") == read_rounds(tmp_path / "whole/mine")
    again = Execution()
    run(tmp_path / "whole", again)  # nothing is left to do
    assert again.calls == [] or again.calls == [[]]


def test_failed_runs_leave_a_smaller_round(tmp_path):
    run(tmp_path, Execution(fails={("good", 1), ("bad", 2)}))
    assert read_rounds(tmp_path / "mine").looked["Good or bad?"] >= 1


def test_plans_that_cannot_be_are_refused(tmp_path):
    execution = Execution()
    with pytest.raises(UserError, match="needs questions"):
        run(tmp_path, execution, grid={**GRID, "questions": {}})
    with pytest.raises(UserError, match="--max-seeds 3; allowed: at least the grid's 4 seeds"):
        run(tmp_path, execution, max_seeds=3)
    own = {**GRID["algorithms"], "good": {"class": "A2C", "seeds": 2}}
    with pytest.raises(UserError, match="remove `seeds` of good"):
        run(tmp_path, execution, grid={**GRID, "algorithms": own})
    assert execution.calls == []
    run(tmp_path, execution, max_seeds=12)
    with pytest.raises(UserError, match="3 rounds of 4 seeds.*continue with --max-seeds 12"):
        run(tmp_path, execution, max_seeds=40)


def test_seeds_that_a_search_has_chosen_by_are_left_out(tmp_path):
    search = {
        "algorithms": {"good": {"gamma": [0.9, 0.99]}},
        "seeds": [5, 6],
        "confirm": {"seeds": [9, 15]},
    }
    run(tmp_path, Execution(), grid={**GRID, "search": search})
    assert read_rounds(tmp_path / "mine").seeds == [[0, 1, 2, 3], [4, 7, 8, 10], [11, 12, 13, 14]]


def test_the_number_of_seeds_has_a_bound(tmp_path):
    with pytest.raises(UserError, match="--max-seeds 1000000; allowed: up to 10,000"):
        run(tmp_path, Execution(), max_seeds=1_000_000)


def test_a_plan_whose_questions_or_seeds_have_changed_is_refused(tmp_path):
    run(tmp_path, Execution())
    execution = Execution()
    one = {"Good or bad?": ["good", "bad"]}
    for questions in (one, {**GRID["questions"], "Good or bad?": ["bad", "good"]}):
        with pytest.raises(UserError, match="was begun with the questions 'Good or bad\\?', 'Good"):
            run(tmp_path, execution, grid={**GRID, "questions": questions})
    with pytest.raises(UserError, match="the seeds of mine have changed"):
        run(tmp_path, execution, grid={**GRID, "seeds": 6})
    with pytest.raises(UserError, match="adds seeds from 4294967295 upwards; allowed: .* 429496"):
        run(tmp_path / "other", execution, grid={**GRID, "seeds": [2**32 - 2]})
    assert execution.calls == []


def test_a_question_without_a_run_of_a_round_gets_no_more_rounds(tmp_path):
    shown = StringIO()
    execution = Execution(fails={("same", seed) for seed in range(99)})
    console = Console(file=shown, width=200)
    in_rounds(GRID, 12, tmp_path, execution, console)
    rounds = read_rounds(tmp_path / "mine")
    assert rounds.started["same"] == 1 and rounds.looked.get("Good or the same?", 0) == 0
    assert rounds.looked["Good or bad?"] >= 1
    assert sum("same" in names for names in execution.calls) == 1  # and none is tried again
    assert "no run of same on CartPole-v1 finished with seeds 0, 1, 2, 3; the" in shown.getvalue()
    again = Execution()
    run(tmp_path, again)
    assert "same" in again.calls[0]
    assert read_rounds(tmp_path / "mine").looked["Good or the same?"] == 3


def test_a_round_that_failed_on_one_environment_is_not_looked_at(tmp_path):
    execution = Execution(fails={("good", seed) for seed in range(4, 8)})
    alone = {**GRID, "questions": {"Good or the same?": ["good", "same"]}}
    run(tmp_path, execution, grid=alone)
    rounds = read_rounds(tmp_path / "mine")
    assert (rounds.started["good"], rounds.looked["Good or the same?"]) == (2, 1)


def test_what_another_command_has_added_stays(tmp_path):
    class Other(Execution):
        def __call__(self, plan):
            mine = read_rounds(tmp_path / "mine")
            ahead = mine.model_copy(update={"started": {**mine.started, "bad": 3}})
            write_rounds(tmp_path / "mine", ahead)
            return super().__call__(plan)

    run(tmp_path, Other())
    assert read_rounds(tmp_path / "mine").started["bad"] == 3


def test_a_comparison_with_stored_runs_knows_those_of_all_rounds(tmp_path):
    run(tmp_path, Execution())
    n_runs = 4 * read_rounds(tmp_path / "mine").started["good"]
    assert n_runs > 4
    with pytest.raises(UserError, match=f"good on CartPole-v1 has {n_runs} stored runs"):
        compare_with_stored(GRID, 99, results=tmp_path)


@pytest.mark.slow
def test_real_runs_are_settled(tmp_path):
    lazy = {"class": "A2C", "params": {"learning_rate": 1e-9}}
    grid = {
        **GRID,
        "environments": {"CartPole-v1": {"total_timesteps": 3000, "n_envs": 4}},
        "algorithms": {"A2C": {"class": "A2C"}, "lazy": lazy},
        "questions": {"Does learning help?": ["A2C", "lazy"]},
    }
    execute = partial(run_plan, workers=2, report=False)
    outcome = in_rounds(grid, 16, tmp_path, execute, Console(quiet=True))
    assert not outcome.failures
    assert read_rounds(tmp_path / "mine").looked["Does learning help?"] <= 4
    assert replace(outcome, page=None).results


def test_a_mistake_in_the_grid_leaves_no_plan(tmp_path):
    wrong = {
        **GRID,
        "algorithms": {**GRID["algorithms"], "same": {"class": "A2C", "params": {"gama": 1}}},
    }
    with pytest.raises(UserError, match="gama"):
        in_rounds(wrong, 8, tmp_path, Execution(), Console(quiet=True))
    assert read_rounds(tmp_path / "mine") is None
