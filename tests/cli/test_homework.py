import importlib
from types import SimpleNamespace

import pytest

from sb3_course.cli import app
from sb3_course.cli.parts import terminal
from sb3_course.homework import hw2
from sb3_course.homework.expectations import Outcome


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Replace the runs by a function that records its arguments."""
    calls = []
    outcome = SimpleNamespace(failures=[], error=None)

    def plan(experiment, *arguments):
        calls.append((experiment.name, *arguments))
        grid = SimpleNamespace(name=experiment.name)
        return SimpleNamespace(rerun=False, grid=grid, runs=[1, 2], todo=[1], notes=["a note"])

    def run(experiment, planned, own, **how):
        if outcome.error is not None:
            raise outcome.error
        rows = [Outcome("says", "reached", "by [it]", True)]
        return hw2.Published(tmp_path / "figure.png", rows, outcome.failures)

    monkeypatch.setattr(hw2, "plan", plan)
    monkeypatch.setattr(hw2, "run", run)
    monkeypatch.chdir(tmp_path)
    return calls, outcome


def test_options_are_passed_on_and_what_came_of_it_is_printed(published, capsys):
    calls, _ = published
    words = ["cheetah", "--seeds", "2", "--fraction", "0.1", "--returns", "mine=a.csv"]
    assert app.invoke(["homework", "hw2", *words]) == terminal.OK
    ((name, seeds, fraction, results, own, fresh),) = calls
    assert not fresh
    assert (name, seeds, fraction, results.name, own) == (
        "cheetah",
        2,
        0.1,
        "results",
        ["mine=a.csv"],
    )
    out = capsys.readouterr().out
    for part in (
        "2 runs, 1 done, 1 to do",
        "a note",
        "by [it]",
        "yes",
        "With 0.1 of the steps",
        "figure.png",
    ):
        assert part in out


def test_experiments_come_in_the_handouts_order(published):
    calls, _ = published
    assert app.invoke(["homework", "hw2", "pendulum", "cartpole"]) == terminal.OK
    assert [call[0] for call in calls] == ["cartpole", "pendulum"]


def test_ctrl_c_stops_and_says_what_is_kept(published, capsys):
    calls, outcome = published
    outcome.error = KeyboardInterrupt()
    assert app.invoke(["homework", "hw2", "pendulum", "cartpole"]) == terminal.INTERRUPTED
    assert len(calls) == 1
    assert "the same command continues" in capsys.readouterr().err


def test_failed_runs_are_told(published, capsys):
    _, outcome = published
    outcome.failures = [SimpleNamespace(spec=SimpleNamespace(label="a run"), reason="broke")]
    assert app.invoke(["homework", "hw2", "cartpole"]) == terminal.FAILED
    assert "failed: a run: broke" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cartpol"], "did you mean 'cartpole'"),
        (["cartpole", "--fraction", "2"], "fraction 2; allowed"),
        (["cartpole", "--seeds", "0"], "for '--seeds'"),
        (["cartpole", "--returns", "mine"], "allowed: NAME=PATH"),
        (["cartpole", "--returns", "mine=nowhere"], "nowhere: no such file"),
        (["cartpole", "cheetah", "--returns", "a=b"], "--returns requires one EXPERIMENT"),
        (["analysis", "--returns", "a=b"], "--returns requires one EXPERIMENT"),
    ],
)
def test_mistakes_have_one_line(misused, words, message, tmp_path):
    assert message in misused(["homework", "hw2", *words, "--results", str(tmp_path)])


def test_hw1_lists_what_is_missing_and_prints_a_table(monkeypatch, tmp_path, capsys):
    pytest.importorskip("imitation")
    homework1 = importlib.import_module("sb3_course.homework.hw1")
    calls = []
    monkeypatch.setattr(homework1, "find_tasks", lambda folder: ([], [f"Ant in {folder.name}"]))
    monkeypatch.setattr(homework1, "plan", lambda *arguments: calls.append(arguments) or [])
    monkeypatch.setattr(homework1, "execute", lambda *arguments: None)
    row = ("a task", *["1"] * (len(homework1.TABLE) - 1))
    monkeypatch.setattr(homework1, "publish", lambda *_: ([row], tmp_path / "rounds.png"))
    words = ["--files", "mine", "--seeds", "2", "--rounds", "1", "--results", str(tmp_path)]
    assert app.invoke(["homework", "hw1", *words]) == terminal.OK
    assert calls == [([], 2, 1)]
    out, err = capsys.readouterr()
    assert "a task" in out and "rounds.png" in out and "left out: Ant in mine" in err


@pytest.mark.parametrize("words", [[], ["--files", "nowhere"], ["--files", "."]])
def test_hw1_says_which_files_it_wants(misused, words, monkeypatch, tmp_path):
    pytest.importorskip("imitation")
    monkeypatch.chdir(tmp_path)
    assert "--files" in (line := misused(["homework", "hw1", *words])) or "Ant.pkl" in line
