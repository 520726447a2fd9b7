"""``sb3-course run --rerun`` replaces stored results once all new runs have finished."""

import json
from pathlib import Path

import pytest
import yaml

from sb3_course.benchmark import plan
from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.execution import executors, rerun
from sb3_course.benchmark.storage import provenance
from sb3_course.benchmark.storage.store import Store
from sb3_course.cli import app
from sb3_course.cli.parts import terminal
from tests.benchmark.helpers import InThisProcess, content, ended, tiny

ALGORITHMS = {"A": {"class": "A2C"}, "B": {"class": "A2C", "params": {"gamma": 0.9}}}
OLD = "as it was"


class Trains(InThisProcess):
    """Every run ends at once; the runs of C fail."""

    def start(self, spec):
        failure = "made to fail" if spec.algorithm == "C" else None
        self._ended.append(ended(spec, failure=failure, made_with={"git_commit": "new"}))


@pytest.fixture(params=["files", "packed"])
def stored(tmp_path, monkeypatch, request):
    """A grid of four runs, stored; each is marked as an old one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(executors, "LocalProcesses", Trains)
    monkeypatch.setattr(plan, "publish_grid", lambda grid, store: store.folder / "report.html")
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content(algorithms=ALGORITHMS)))
    store = Store(tmp_path / "results" / "tiny")
    for spec in load_grid(tmp_path / "grid.yaml").runs():
        store.write(ended(spec, made_with={"git_commit": OLD}))
    if request.param == "packed":
        store.pack()
    manifest = {"commands": ["sb3-course run old.yaml"], "duration_seconds": 5.0}
    (store.folder / "manifest.json").write_text(json.dumps(manifest))
    return store


def renew(*words):
    return app.invoke(["run", "grid.yaml", "--rerun", "--workers", "1", *words])


def old(store):
    """Which of the stored runs are still the old ones."""
    results = store.read(load_grid(Path("grid.yaml")).runs())
    return [(r.spec.algorithm, r.spec.seed) for r in results if r.made_with["git_commit"] == OLD]


ALL = [("A", 0), ("A", 1), ("B", 0), ("B", 1)]


def interrupt_at(monkeypatch, algorithm):
    """Interrupt as by Ctrl-C when the first run of an algorithm is to start."""

    class Interrupted(Trains):
        def start(self, spec):
            if spec.algorithm == algorithm:
                raise KeyboardInterrupt
            super().start(spec)

    monkeypatch.setattr(executors, "LocalProcesses", Interrupted)


def test_how_many_runs_of_former_settings_a_rerun_removes_is_told_first(stored, capsys):
    assert renew("--dry-run") == terminal.OK
    assert "will be removed" not in capsys.readouterr().out
    other = {**ALGORITHMS, "A": {"class": "A2C", "params": {"gamma": 0.5}}}
    Path("grid.yaml").write_text(yaml.safe_dump(content(algorithms=other)))
    words = "at the end, 2 stored runs of the same names and seeds with other settings will be"
    assert renew("--dry-run") == terminal.OK
    assert words in capsys.readouterr().out
    assert renew("--dry-run", "--only", "algorithm=A") == terminal.OK
    assert "will be removed" not in capsys.readouterr().out  # nor are they
    assert len(Store(stored.folder).finished()) == 4
    assert renew() == terminal.OK
    assert words in capsys.readouterr().out
    assert len(Store(stored.folder).finished()) == 4


def test_everything_is_repeated_and_replaced(stored, capsys):
    assert renew() == terminal.OK
    assert "tiny: 4 runs to repeat, 0 done, 4 to do" in capsys.readouterr().out
    assert old(stored) == []
    assert not (stored.folder / rerun.STAGED).exists()
    manifest = json.loads((stored.folder / "manifest.json").read_text())
    assert [command.split()[0] for command in manifest["commands"]] == ["sb3-course"]
    assert "sb3-course run old.yaml" not in manifest["commands"]


def test_runs_with_other_settings_are_removed_and_those_of_other_grids_stay(stored):
    spec = load_grid(Path("grid.yaml")).runs()[0]
    params = {"params": {"gamma": 0.5}}
    earlier = spec.model_copy(update={"config": spec.config.model_copy(update=params)})
    (other,) = tiny(seeds=[7]).runs()
    for one in (earlier, other):
        stored.write(ended(one))
    failed = earlier.model_copy(update={"seed": other.seed})
    stored.write(ended(failed).model_copy(update={"failure": "made to fail", "measurements": []}))
    stored.pack()
    assert renew("--only", "algorithm=A") == terminal.OK
    assert stored.has_finished(earlier)
    assert renew() == terminal.OK
    assert not stored.has_finished(earlier)
    assert stored.has_finished(other)
    assert stored.failed() == {failed.id}
    assert len(stored.finished()) == 5


def test_plain_run_leaves_what_is_stored(stored):
    assert app.invoke(["run", "grid.yaml"]) == terminal.OK
    assert old(stored) == ALL


def test_dry_run_changes_nothing(stored, capsys):
    assert renew("--dry-run") == terminal.OK
    assert capsys.readouterr().out.count("to do  ") == 4
    assert old(stored) == ALL
    assert not (stored.folder / rerun.STAGED).exists()


def test_only_renews_what_it_names(stored):
    other = stored.folder / "runs" / "of-an-earlier-grid.json"
    other.write_text("{}")
    assert renew("--only", "algorithm=B", "--only", "seed=1") == terminal.OK
    assert old(stored) == [("A", 0), ("A", 1), ("B", 0)]
    assert other.exists()
    manifest = json.loads((stored.folder / "manifest.json").read_text())
    assert manifest["commands"][0] == "sb3-course run old.yaml"
    assert len(manifest["commands"]) == 2
    assert manifest["duration_seconds"] >= 5.0


def test_an_interrupt_leaves_what_is_stored_and_the_same_command_continues(
    stored, monkeypatch, capsys
):
    interrupt_at(monkeypatch, "B")
    assert renew() == terminal.INTERRUPTED
    assert old(stored) == ALL
    monkeypatch.setattr(executors, "LocalProcesses", Trains)
    capsys.readouterr()
    assert renew() == terminal.OK
    assert "4 runs to repeat, 2 done, 2 to do" in capsys.readouterr().out
    assert old(stored) == []


@pytest.mark.parametrize("commit", ["abc", "abc-dirty", None])
def test_new_runs_of_other_code_do_not_count(stored, monkeypatch, capsys, commit):
    """Where files differ from the commit, the commit does not identify the code."""
    monkeypatch.setattr(rerun, "git_commit", lambda: commit)
    interrupt_at(monkeypatch, "B")
    assert renew() == terminal.INTERRUPTED
    if commit == "abc":
        monkeypatch.setattr(rerun, "git_commit", lambda: "another")
    else:
        monkeypatch.setattr(rerun, "digest_of_code", lambda: "another")
    monkeypatch.setattr(executors, "LocalProcesses", Trains)
    capsys.readouterr()
    assert renew() == terminal.OK
    assert "4 runs to repeat, 0 done, 4 to do" in capsys.readouterr().out


def test_an_interrupt_among_the_copies_loses_nothing(stored, monkeypatch):
    write, written = Store.write, []

    def interrupted(store, result):
        if store.folder.name == stored.folder.name:
            written.append(result)
            if len(written) == 3:
                raise KeyboardInterrupt
        write(store, result)

    monkeypatch.setattr(Store, "write", interrupted)
    assert renew() == terminal.INTERRUPTED
    assert len(old(stored)) == 2
    monkeypatch.setattr(Store, "write", write)
    assert renew() == terminal.OK
    assert old(stored) == []


def test_a_part_that_is_done_leaves_the_new_runs_of_another_part(stored, monkeypatch, capsys):
    interrupt_at(monkeypatch, "B")
    assert renew() == terminal.INTERRUPTED
    monkeypatch.setattr(executors, "LocalProcesses", Trains)
    capsys.readouterr()
    assert app.invoke(["status", "grid.yaml"]) == terminal.OK
    told = "--rerun by one state of the code: 2 done, 0 running, 0 failed, 2 missing; these replace"
    assert told in capsys.readouterr().out
    assert renew("--only", "algorithm=B") == terminal.OK
    assert old(stored) == [("A", 0), ("A", 1)]
    capsys.readouterr()
    assert renew("--only", "algorithm=A") == terminal.OK
    assert "2 runs to repeat, 2 done, 0 to do" in capsys.readouterr().out
    assert old(stored) == []


def test_a_command_that_was_killed_after_its_last_run_continues(stored, monkeypatch, capsys):
    monkeypatch.setattr(plan, "replace_stored", lambda *_, **__: None)
    assert renew() == terminal.OK
    monkeypatch.undo()
    monkeypatch.chdir(stored.folder.parents[1])
    monkeypatch.setattr(plan, "publish_grid", lambda grid, store: store.folder / "report.html")
    (staged,) = (stored.folder / rerun.STAGED).iterdir()
    (staged / "manifest.json").unlink()
    capsys.readouterr()
    assert renew() == terminal.OK
    assert "4 runs to repeat, 4 done, 0 to do" in capsys.readouterr().out
    assert old(stored) == []
    assert not (stored.folder / "manifest.json").exists()  # it described other runs


def test_two_commands_that_end_together_replace_once(stored, monkeypatch):
    """The other one copies everything and cleans up while this one is at its first copy."""
    specs = load_grid(Path("grid.yaml")).runs()
    staged = rerun.staging_store(stored, specs)
    for spec in specs:
        staged.write(ended(spec, made_with={"git_commit": "new"}))
    manifest = {"commands": ["sb3-course run new.yaml --store"], "duration_seconds": 1.0}
    (staged.folder / "manifest.json").write_text(json.dumps(manifest))
    write = Store.write

    def meanwhile(store, result):
        monkeypatch.setattr(Store, "write", write)
        rerun.replace_stored(stored, staged, specs, whole=True)
        write(store, result)

    monkeypatch.setattr(Store, "write", meanwhile)
    rerun.replace_stored(stored, staged, specs, whole=True)
    rerun.replace_stored(stored, staged, specs, whole=True)
    assert old(stored) == []
    assert json.loads((stored.folder / "manifest.json").read_text()) == manifest
    left = {path.name for path in stored.folder.iterdir()}
    assert left <= {"runs", "runs.jsonl", "failed", "manifest.json", ".manifest.lock"}


def test_a_failure_leaves_what_is_stored(stored, tmp_path, capsys):
    broken = {**ALGORITHMS, "C": {"class": "A2C"}}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content(algorithms=broken)))
    assert renew() == terminal.FAILED
    assert "are unchanged" in capsys.readouterr().err
    assert old(stored) == ALL


def test_the_digest_changes_with_a_line_and_with_a_name(tmp_path, monkeypatch):
    (tmp_path / "benchmark").mkdir()
    module = tmp_path / "benchmark" / "storage" / "provenance.py"
    monkeypatch.setattr(provenance, "__file__", str(module))
    digests = []
    for name, text in [("a.py", "x = 1"), ("a.py", "x = 2"), ("b.py", ""), ("notes.txt", "")]:
        (tmp_path / "benchmark" / name).write_text(text)
        digests.append(provenance.digest_of_code())
    assert len(set(digests)) == 3 and digests[-1] == digests[-2]


def test_new_runs_of_other_user_code_or_versions_do_not_count(stored, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "of_a_user.py"
    module.write_text("from stable_baselines3 import A2C as Mine")
    runs = load_grid(content(algorithms={"A": {"class": "of_a_user:Mine"}})).runs()
    first = rerun.staging_store(stored, runs).folder
    assert rerun.staging_store(stored, runs).folder == first
    module.write_text("from stable_baselines3 import A2C as Mine  # edited")
    second = rerun.staging_store(stored, runs).folder
    monkeypatch.setattr(rerun, "versions", lambda: {"torch": "another", "sb3-course": "1"})
    assert len({first, second, rerun.staging_store(stored, runs).folder}) == 3


def test_a_manifest_without_a_run_does_not_wait_for_the_next_command(stored):
    """Another command has replaced the runs; what this one writes is not of the next rerun."""
    specs = load_grid(Path("grid.yaml")).runs()
    staged = rerun.staging_store(stored, specs)
    staged.folder.mkdir(parents=True)
    (staged.folder / "manifest.json").write_text("{}")
    rerun.replace_stored(stored, staged, specs, whole=True)
    assert not (staged.folder / "manifest.json").exists()
