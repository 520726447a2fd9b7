"""The benchmark suite from Python, on grids that take a moment, in this process."""

import inspect
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml

from sb3_course import benchmark
from sb3_course.benchmark import api, load_results, plan, run_grid, write_report
from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.definition.yaml_source import GridError
from sb3_course.benchmark.execution import executors
from sb3_course.benchmark.plan import plan_grid, run_plan
from sb3_course.benchmark.reporting import report
from sb3_course.benchmark.storage.result import Measurement, RunResult
from sb3_course.benchmark.storage.returns_table import COLUMNS
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from tests.benchmark.helpers import InThisProcess, content

TWO = {"A": {"class": "A2C"}, "B": {"class": "A2C", "params": {"gamma": 0.9}}}
GRID = content(algorithms=TWO)
ALL = [("A", 0), ("A", 1), ("B", 0), ("B", 1)]


class MakesUp(InThisProcess):
    """Every run ends at once with made-up returns; the runs of ``fails`` fail."""

    started, fails, interrupted_at = [], (), None

    def start(self, spec):
        if self.interrupted_at == name(spec):
            raise KeyboardInterrupt
        self.started.append(name(spec))
        failure = "Traceback\nOSError: made to fail" if name(spec) in self.fails else None
        returns = [[9.0 + spec.seed] * 3, [20.0, 30.0, 100.0], [100.0 + spec.seed, 200.0, 300.0]]
        measurements = [
            Measurement(step, step + 1, step / 3, values, [9, 9, 12])
            for step, values in zip(spec.config.evaluation_steps, returns)
        ]
        self._ended.append(
            RunResult(spec=spec, measurements=[] if failure else measurements, failure=failure)
        )


def name(spec):
    return spec.algorithm, spec.seed


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(monkeypatch):
    """Made-up runs; ``started`` lists them."""
    made_up = type("MakesUp", (MakesUp,), {"started": []})
    monkeypatch.setattr(executors, "LocalProcesses", made_up)
    return made_up


@pytest.fixture
def published(monkeypatch):
    """Names of the grids whose reports are written, which takes seconds otherwise."""
    published = []

    def publish(grid, store):
        published.append(grid.name)
        page = store.folder / "report.html"
        page.write_text("")
        return page

    monkeypatch.setattr("sb3_course.benchmark.reporting.report.publish", publish)
    return published


def stored(results="results"):
    return Store(Path(results) / "tiny").read(load_grid(GRID).runs())


# -- run_grid -------------------------------------------------------------------------------------


def test_a_grid_from_a_mapping_and_one_from_a_file_have_the_same_results(folder, monkeypatch):
    monkeypatch.setattr(executors, "LocalProcesses", InThisProcess)
    (folder / "grid.yaml").write_text(yaml.safe_dump(content(seeds=1)))
    outcomes = [
        run_grid(content(seeds=1), results="a", report=False),
        run_grid(folder / "grid.yaml", results=folder / "b", report=False),
        run_grid("grid.yaml", results="a", report=False),
    ]
    (first,), (second,), (third,) = (outcome.results for outcome in outcomes)
    assert first.spec.id == second.spec.id
    assert first == third  # nothing was left to do
    assert [m.step for m in first.measurements] == [0, 100, 200]
    for one, other in zip(first.measurements, second.measurements, strict=True):
        assert one.returns == other.returns
        assert len(one.returns) == 3


def test_finished_runs_are_skipped_and_failed_ones_repeated(runs):
    runs.fails = [("A", 1)]
    outcome = run_grid(GRID, report=False)
    assert [name(result.spec) for result in outcome.results] == ALL
    assert [name(result.spec) for result in outcome.failures] == [("A", 1)]
    assert outcome.failures[0].reason == "OSError: made to fail"
    runs.fails, runs.started[:] = (), []
    outcome = run_grid(GRID, report=False)
    assert runs.started == [("A", 1)]
    assert outcome.failures == []
    assert outcome.results == stored()


def test_only_selects_runs(runs):
    outcome = run_grid(GRID, only=["algorithm=B", "seed=0", "seed=1"], report=False)
    assert runs.started == [("B", 0), ("B", 1)]
    assert [name(result.spec) for result in outcome.results] == [("B", 0), ("B", 1)]
    with pytest.raises(UserError, match="allowed: A, B"):
        run_grid(GRID, only=["algorithm=C"])


def test_rerun_replaces_the_results_of_selected_runs(runs, folder):
    run_grid(GRID, report=False)
    old = [result.model_copy(update={"seconds": 77.0}) for result in stored()]
    for result in old:
        Store(folder / "results" / "tiny").write(result)
    assert run_grid(GRID, report=False).results == old
    outcome = run_grid(GRID, only=["algorithm=B"], rerun=True, report=False)
    assert [result.seconds for result in outcome.results] == [0.0, 0.0]
    assert [result.seconds for result in stored()] == [77.0, 77.0, 0.0, 0.0]
    run_grid(GRID, rerun=True, report=False)
    assert [result.seconds for result in stored()] == [0.0] * 4


def test_a_rerun_with_failures_leaves_the_stored_results(runs, published):
    run_grid(GRID, report=False)
    before, runs.fails = stored(), [("A", 1)]
    outcome = run_grid(GRID, rerun=True)
    assert [name(result.spec) for result in outcome.failures] == [("A", 1)]
    assert outcome.page is None
    assert published == []
    assert stored() == before


def test_the_report_is_written_unless_it_is_declined(runs, published, folder):
    assert run_grid(GRID, report=False).page is None
    assert published == []
    page = run_grid(GRID).page
    assert published == ["tiny"]
    assert page.resolve() == folder / "results" / "tiny" / "report.html"


def test_the_report_is_written_again_where_results_or_grid_have_changed(runs, published):
    run_grid(GRID)
    run_grid(GRID)
    assert len(published) == 1
    run_grid({**GRID, "questions": {"Better?": ["A", "B"]}})
    assert len(published) == 2
    run_grid({**GRID, "seeds": 3})
    assert len(published) == 3


def test_an_interrupt_keeps_finished_runs_and_the_same_call_continues(runs, folder):
    runs.interrupted_at = ("B", 0)
    with pytest.raises(KeyboardInterrupt):
        run_grid(GRID, report=False)
    assert [name(result.spec) for result in stored()] == [("A", 0), ("A", 1)]
    assert (folder / "results" / "tiny" / "manifest.json").exists()
    runs.interrupted_at, runs.started[:] = None, []
    run_grid(GRID, report=False)
    assert runs.started == [("B", 0), ("B", 1)]


def test_the_manifest_names_the_call_or_the_command(runs, folder):
    run_grid(GRID, only=["seed=0"], report=False)
    run_plan(plan_grid(GRID), report=False, command="sb3-course run grid.yaml")
    manifest = json.loads((folder / "results" / "tiny" / "manifest.json").read_text())
    calls = ["sb3_course.benchmark.run_grid('tiny')", "sb3-course run grid.yaml"]
    assert manifest["commands"] == calls
    assert manifest["workers"] == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"algorithms": {"a": {"class": "A2"}}}, "algorithms.a.class: unknown algorithm 'A2'"),
        (
            {"algorithms": {"a": {"class": "A2C", "params": {"learning_rate": -1}}}},
            "algorithms.a.params.learning_rate: given -1; A2C refuses it",
        ),
        ({"sedes": 3}, "sedes: unknown key 'sedes'; did you mean 'seeds'?"),
    ],
)
def test_mistakes_in_a_mapping_are_reported_before_any_run(folder, changes, expected):
    with pytest.raises(GridError) as caught:
        run_grid(content(**changes))
    assert str(caught.value).startswith(f"grid: {expected}")
    assert list(folder.iterdir()) == []


def test_a_plan_lists_runs_and_executes_none(runs, folder):
    run_grid(GRID, only=["seed=1"], report=False)
    runs.started.clear()
    plan = plan_grid(GRID)
    assert [name(spec) for spec in plan.runs] == ALL
    assert [name(spec) for spec in plan.todo] == [("A", 0), ("B", 0)]
    assert [name(spec) for spec in plan_grid(GRID, rerun=True).todo] == ALL
    assert runs.started == []


# -- load_results and write_report ----------------------------------------------------------------


def test_results_are_loaded_as_a_table_with_a_row_for_each_evaluation(runs):
    runs.fails = [("A", 1)]
    run_grid(GRID, report=False)
    table = load_results(GRID)
    assert list(table.columns) == COLUMNS
    keys = table[["algorithm", "environment", "seed", "step"]].itertuples(index=False, name=None)
    assert list(keys) == [
        (algorithm, "CartPole-v1", seed, step)
        for algorithm, seed in (("A", 0), ("B", 0), ("B", 1))
        for step in (0, 100, 200)
    ]
    row = table.iloc[-1]
    assert row["return_mean"] == (101 + 200 + 300) / 3
    assert row["return_std"] == np.std([101, 200, 300])
    assert row["episode_length"] == 10.0
    assert row["wall_time"] == 66.667
    assert row["num_timesteps"] == 201
    assert json.loads(row["episode_returns"]) == [101.0, 200.0, 300.0]


def test_results_of_another_folder_are_loaded_from_a_file(runs, folder):
    (folder / "grid.yaml").write_text(yaml.safe_dump(GRID))
    run_grid("grid.yaml", results="other", report=False)
    assert len(load_results("grid.yaml", results="other")) == 12


@pytest.mark.parametrize("function", [load_results, write_report])
def test_without_results_the_error_names_what_makes_them(function):
    with pytest.raises(UserError, match=r"no results in results/tiny; run `sb3-course run` or run"):
        function(GRID)


def test_the_report_holds_what_is_stored(runs, folder):
    runs.fails = [("A", 1)]
    run_grid(GRID, report=False)
    page = write_report(GRID)
    assert page.resolve() == folder / "results" / "tiny" / "report.html"
    text = page.read_text()
    assert "CartPole-v1" in text
    assert "OSError: made to fail" in text
    assert (page.parent / "returns.csv").exists()
    zoo = page.parent / "zoo" / "b" / "CartPole-v1_1" / "evaluations.npz"
    assert np.load(zoo)["results"][-1].tolist() == [100.0, 200.0, 300.0]


def test_damage_is_warned_of_or_handed_on(runs, folder):
    run_grid(GRID)
    packed = folder / "results" / "tiny" / "runs.jsonl"
    packed.write_text(packed.read_text().replace("300.0", "999.0", 1))
    told = []
    write_report(GRID, tell=told.extend)
    assert len(told) == 1 and "line 1 of results/tiny/runs.jsonl is damaged" in told[0]
    with pytest.warns(UserWarning, match="line 1 of .*runs.jsonl is damaged"):
        write_report(GRID)


def test_the_report_of_a_grid_is_the_same_elsewhere(runs, folder):
    grid = {**GRID, "questions": {"Better?": ["A", "B"]}}
    run_grid(grid)
    here = (folder / "results" / "tiny" / "README.md").read_text()
    assert "Better?" in here
    page = write_report(grid, out="elsewhere")
    assert page == Path("elsewhere/report.html")
    assert (folder / "elsewhere" / "README.md").read_text() == here
    assert write_report(grid, out="results/tiny").resolve().parent == folder / "results" / "tiny"
    run_grid({**grid, "name": "other"}, report=False)
    with pytest.raises(UserError, match="results/other holds the results of a grid"):
        write_report(grid, out="results/other")


@pytest.mark.parametrize("call", [run_grid, write_report])
def test_a_grid_that_is_edited_is_the_one_that_its_folder_means(runs, published, call, folder):
    run_grid(GRID)
    call({**GRID, "questions": {"Better?": ["A", "B"]}})
    manifest = json.loads((folder / "results" / "tiny" / "manifest.json").read_text())
    assert manifest["grid"]["questions"] == {"Better?": ["A", "B"]}
    assert len(manifest["commands"]) == 1


# -- the documentation ----------------------------------------------------------------------------


def test_the_package_offers_the_interface_and_nothing_else():
    assert {getattr(benchmark, public) for public in benchmark.__all__} == {
        run_grid,
        load_results,
        write_report,
    }
    with pytest.raises(AttributeError, match="has no attribute 'run_gird'"):
        _ = benchmark.run_gird


def examples():
    """Return the code blocks in the docstrings of the interface, in the order of its functions."""
    documented = [api, plan.plan_grid, api.run_grid, api.load_results, api.write_report]
    texts = [inspect.cleandoc(documented.__doc__) for documented in documented]
    blocks = [
        re.findall(r"code-block:: python\n\n((?: {4}.*\n|\n)+)", f"{text}\n") for text in texts
    ]
    return [textwrap.dedent(block) for found in blocks for block in found]


def made_up_logs(folder):
    """The logs of the documented examples: an evaluation of RL Zoo's, and a table."""
    run = folder / "rl-baselines3-zoo" / "logs" / "ppo" / "CartPole-v1_1"
    run.mkdir(parents=True)
    np.savez(run / "evaluations.npz", timesteps=[100, 200], results=[[1.0], [2.0]])
    (folder / "other").mkdir()
    table = "algorithm,environment,seed,step,return\nMine,CartPole-v1,0,100,3.5\n"
    (folder / "other" / "returns.csv").write_text(table)


def test_the_documented_examples_work(folder, monkeypatch, published):
    """Their grids are made small: the demonstration has other content, and ``mine`` fewer steps."""
    monkeypatch.setattr(executors, "LocalProcesses", InThisProcess)
    (folder / "benchmarks").mkdir()
    demo = content(name="demo", seeds=1, algorithms={"NPG": {"class": "NPG"}})
    (folder / "benchmarks" / "demo.yaml").write_text(yaml.safe_dump(demo))
    made_up_logs(folder)
    monkeypatch.setattr(report, "publish_logs", lambda logs, _: published.append(len(logs.runs)))
    names = {"plan_grid": plan_grid, "run_grid": run_grid, "load_results": load_results}
    names["write_report"] = write_report
    first, *others = examples()
    assert len(others) == 4
    exec(first, names)
    assert names["outcome"].failures == []
    assert len(names["table"]) == 3
    assert names["page"].is_file()
    for example in others:
        exec(example.replace("20_000", "200"), names)
    assert [len(names["plan"].runs), len(names["plan"].todo)] == [1, 0]
    assert len(names["outcome"].results) == 3
    assert names["outcome"].failures == []
    assert published == ["demo", "demo", "mine", "demo", 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": -1}, "workers must be a whole number of at least 1 or None, got -1"),
        ({"workers": 0}, "workers must be a whole number of at least 1 or None, got 0"),
        ({"workers": 1.5}, "workers must be a whole number"),
        ({"retries": -1}, "retries must be a whole number of at least 0, got -1"),
        ({"executor": "Ray"}, "unknown executor 'Ray'; did you mean 'ray'"),
        ({"track": "wandb"}, r"track must be a list, as in track=\['wandb'\]"),
        ({"only": "seed=0"}, r"only must be a list, as in only=\['seed=0'\]"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_runs(arguments, message):
    with pytest.raises(UserError, match=message):
        run_grid(GRID, **arguments)
    assert not Path("results").exists()


def test_a_video_that_cannot_be_is_told_before_anything_runs():
    blind = {"sb3_course.envs.dilemmas:Dilemmas-v0": {"total_timesteps": 200}}
    with pytest.raises(UserError, match="Dilemmas-v0 renders no images"):
        run_grid(GRID | {"environments": blind}, track=["tensorboard"], track_video=True)
    assert not Path("results").exists()


@pytest.mark.parametrize("arguments", [{"n_seeds": 0}, {"workers": 0}])
def test_a_comparison_needs_whole_numbers(arguments):
    with pytest.raises(UserError, match=r"must be a whole number of at least 1( or None)?, got 0"):
        api.compare_with_stored(GRID, **arguments)


def test_a_grid_has_no_layout(runs):
    run_grid(GRID, workers=1, report=False)
    for function in (load_results, write_report):
        with pytest.raises(UserError, match="a layout is of the paths of logs"):
            function(GRID, layout="{algorithm}")


SCRIPT = """
from sb3_course.benchmark import run_grid

run_grid({grid!r}, results={folder!r}, workers=1, retries=0, report=False)
"""


def test_a_script_without_a_guard_says_what_is_missing(tmp_path):
    """Its worker imports it, and so comes to the same call."""
    grid = content(seeds=1, algorithms={"A": {"class": "A2C"}})
    (tmp_path / "mine.py").write_text(SCRIPT.format(grid=grid, folder=str(tmp_path / "results")))
    ended = subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    said = 'the script that calls run_grid: place the call under `if __name__ == "__main__":`'
    assert ended.stderr.count(said) == 1
    assert not Store(tmp_path / "results" / grid["name"]).finished()
