"""What a command finds done, and what it leaves should it be killed."""

import json
import os
import shutil

import pytest

from sb3_course.benchmark import plan
from sb3_course.benchmark.execution import executors
from sb3_course.benchmark.logs.reading import grid_of
from sb3_course.benchmark.plan import plan_grid, run_plan
from sb3_course.benchmark.storage.references import MeasuredReference, write_references
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from tests.benchmark.helpers import InThisProcess, content, ended

TWO = {"algorithms": {"A": {"class": "A2C"}, "B": {"class": "A2C", "params": {"gamma": 0.9}}}}


class MakesUp(InThisProcess):
    """Makes up results."""

    def start(self, spec):
        self._ended.append(ended(spec))


@pytest.fixture
def pages(monkeypatch, tmp_path):
    """Algorithms on each page that is written."""
    pages = []

    def publish(grid, store):
        pages.append(list(grid.algorithms))
        (store.folder / "report.html").write_text("")
        return store.folder / "report.html"

    monkeypatch.setattr("sb3_course.benchmark.reporting.report.publish", publish)
    monkeypatch.setattr(executors, "LocalProcesses", MakesUp)
    monkeypatch.chdir(tmp_path)
    return pages


def run(results="results", **sections):
    return run_plan(plan_grid(content(**{**TWO, **sections}), results=results))


def test_a_page_is_written_once_for_what_it_is_made_of(pages):
    run()
    assert run().page.exists()
    assert pages == [["A", "B"]]


def test_a_grid_that_was_edited_and_set_back_gets_its_page_again(pages):
    run()
    run(algorithms={"A": TWO["algorithms"]["A"]})
    run()
    assert pages == [["A", "B"], ["A"], ["A", "B"]]


@pytest.mark.parametrize("change", ["merged", "referenced", "page removed", "packed"])
def test_a_page_is_written_again_once_it_is_out_of_date(change, pages, tmp_path):
    run(seeds=2)
    folder = tmp_path / "results" / "tiny"
    if change == "merged":  # as with `rsync -a`, which keeps times
        (spec, *_) = plan_grid(content(**TWO, seeds=[7])).runs
        Store(tmp_path / "other").write(ended(spec))
        for path in (tmp_path / "other" / "runs").glob("*.json"):
            shutil.copy(path, folder / "runs")
        os.utime(folder / "runs", (1, 1))
    elif change == "referenced":
        found = MeasuredReference(random=1.0, low=0.0, high=2.0, episodes=3, seed=0, env={})
        write_references(folder, {"CartPole-v1": found})
    elif change == "page removed":
        (folder / "report.html").unlink()
    else:
        os.utime(folder / "runs.jsonl", (1, 1))
        os.utime(folder / "runs", (1, 1))
    run(seeds=2)
    assert len(pages) == 2


def test_a_run_that_ends_while_its_page_is_written_makes_it_out_of_date(pages, monkeypatch):
    written = plan.write_whole

    def meanwhile(path, text):
        (spec, *_) = plan_grid(content(**TWO, seeds=[7])).runs
        Store(path.parent).write(ended(spec))
        written(path, text)

    monkeypatch.setattr(plan, "write_whole", meanwhile)
    run()
    monkeypatch.setattr(plan, "write_whole", written)
    run()
    assert len(pages) == 2


def test_the_grid_of_runs_in_progress_is_the_new_one(pages, monkeypatch, tmp_path):
    """So that a report in between, or after a kill, has them all."""
    seen = []

    class Looks(MakesUp):
        def poll(self, seconds):
            grid, _ = grid_of(tmp_path / "results" / "tiny", tmp_path)
            seen.append(list(grid.seeds))
            return super().poll(seconds)

    run(seeds=1)
    monkeypatch.setattr(executors, "LocalProcesses", Looks)
    run(seeds=3)
    assert seen[0] == [0, 1, 2]
    manifest = json.loads((tmp_path / "results" / "tiny" / "manifest.json").read_text())
    assert len(manifest["commands"]) == 1


def test_results_without_a_manifest_are_told_from_logs(pages, tmp_path):
    (spec, *_) = plan_grid(content(**TWO)).runs
    Store(tmp_path / "results" / "tiny").write(ended(spec))
    with pytest.raises(UserError, match=r"has no manifest.json.*sb3-course report GRID.yaml"):
        grid_of(tmp_path / "results" / "tiny", tmp_path)
