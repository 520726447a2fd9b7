import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from stable_baselines3 import A2C

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.execution import executors
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.cli import app, grids, terminal
from tests.benchmark.helpers import HERE, InThisProcess, content, tiny


@pytest.fixture
def grid(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(**changes):
        (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content(**changes)))
        return "grid.yaml"

    return write


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rn"], ["rn", "sb3-course --help"]),
        (["run"], ["GRID"]),
        (["run", "none.yaml"], ["none.yaml"]),
        (["run", "grid.yaml", "--workers", "0"], ["--workers", "1"]),
        (["run", "grid.yaml", "--only", "sed=0"], ["'sed'", "algorithm, environment, seed"]),
        (["run", "grid.yaml", "--only", "algorithm=B"], ["'B'", "allowed: A2C"]),
        (["run", "grid.yaml", "--executor", "slurm"], ["'slurm'", "'local', 'ray'"]),
        (["run", "grid.yaml", "--address", "auto"], ["--address is for --executor ray"]),
        (["report", "grid.yaml"], ["no results", "`sb3-course run`"]),
        (["regression", "none.yaml"], ["none.yaml"]),
        (["regression", "grid.yaml"], ["A2C on CartPole-v1", "0 stored runs", "at least 10"]),
        (["regression", "grid.yaml", "--seeds", "0"], ["--seeds", "1"]),
        (["train", "A2", "CartPole-v1"], ["'A2'", "did you mean 'A2C'"]),
        (["train", "A2C", "CartPol-v1"], ["'CartPol-v1'", "did you mean 'CartPole-v1'"]),
        (["train", "A2C", "CartPole-v1", "-p", "gama=1"], ["'gama'", "did you mean 'gamma'"]),
        (["train", "A2C", "CartPole-v1", "-p", "gamma"], ["'gamma'", "KEY=VALUE"]),
        (["train", "A2C", "CartPole-v1", "-p", "learning_rate=-1"], ["learning_rate", "given -1"]),
        (["train", "A2C", "CartPole-v1", "-p", "gamma=[1"], ["'gamma=[1'", "not valid YAML"]),
        (["train", "A2C", "CartPole-v1", "--backend", "envpol"], ["'envpol'", "'envpool'"]),
        (["train", "A2C", "CartPole-v1", "--out", "grid.yaml/a.zip"], ["--out", "grid.yaml"]),
        (["status", "none.yaml"], ["none.yaml", "cannot be read"]),
        (["enjoy", "none.zip", "CartPole-v1"], ["none.zip", "train"]),
        (["enjoy", "grid.yaml", "CartPole-v1"], ["grid.yaml", "no zip file"]),
        (["enjoy", "grid.yaml", "--video", "a.mp4", "--render"], ["--video", "--render"]),
    ],
)
def test_wrong_arguments_get_one_clear_line(grid, capsys, words, expected):
    grid()
    assert app.invoke(words) == terminal.MISUSED
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    for part in expected:
        assert part in error


@pytest.mark.parametrize(
    "command", ["run", "demo", "status", "report", "regression", "train", "enjoy"]
)
def test_help_teaches_by_example(capsys, command):
    assert app.invoke([command, "--help"]) == terminal.OK
    text = capsys.readouterr().out
    assert "For example:" in text
    assert len(re.findall(rf"sb3-course {command}", text)) >= 2


def test_help_does_not_import_torch():
    code = (
        "import sys; from sb3_course.cli.app import invoke; invoke(['run', '--help']);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_run_resume_report(grid, tmp_path, capsys, monkeypatch):
    """One run works, one fails; running again tries the failed one alone."""
    monkeypatch.setattr(executors, "LocalProcesses", InThisProcess)
    broken = {"class": f"{HERE}:Raises"}
    path = grid(seeds=1, algorithms={"A2C": {"class": "A2C"}, "Broken": broken})
    assert app.invoke(["run", path, "--dry-run"]) == terminal.OK
    assert capsys.readouterr().out.count("to do") == 3
    assert app.invoke(["run", path, "--workers", "1"]) == terminal.FAILED
    error = capsys.readouterr().err
    assert "ZeroDivisionError: made to fail" in error
    assert "1 runs failed" in error
    results = tmp_path / "results" / "tiny"
    assert "made to fail" in (results / "report.html").read_text()
    assert str(tmp_path) not in (results / "manifest.json").read_text()
    assert app.invoke(["run", path, "--dry-run"]) == terminal.OK
    assert "2 runs, 1 done, 1 to do" in capsys.readouterr().out
    assert app.invoke(["run", path, "--only", "algorithm=A2C"]) == terminal.OK
    assert (results / "zoo" / "a2c" / "CartPole-v1_1" / "evaluations.npz").exists()
    shutil.rmtree(results / "zoo")
    assert app.invoke(["report", path]) == terminal.OK
    assert (results / "zoo" / "a2c" / "CartPole-v1_1" / "evaluations.npz").exists()


def test_a_constructors_refusal_comes_before_any_run(grid, tmp_path, capsys):
    path = grid(algorithms={"A2C": {"class": "A2C", "params": {"learning_rate": -1}}})
    assert app.invoke(["run", path]) == terminal.MISUSED
    error = capsys.readouterr().err
    assert "algorithms.A2C.params.learning_rate: given -1" in error
    assert not (tmp_path / "results").exists()


def test_status_counts_runs_and_fails_if_one_has(grid, tmp_path, capsys):
    path = grid()
    assert app.invoke(["status", path]) == terminal.OK
    assert "2 runs: 0 done, 0 running, 0 failed, 2 missing" in capsys.readouterr().out
    spec = load_grid(tmp_path / path).runs()[0]
    (tmp_path / "results" / "tiny" / "failed").mkdir(parents=True)
    failed = tmp_path / "results" / "tiny" / "failed" / f"{spec.id}.json"
    failed.write_text(json.dumps({"failure": "Traceback\nOSError: made to fail"}))
    assert app.invoke(["status", path]) == terminal.FAILED
    assert "OSError: made to fail" in capsys.readouterr().out


@pytest.mark.parametrize("algo", ["A2C", "REINFORCE"])
def test_train_and_enjoy(grid, tmp_path, capsys, algo):
    grid()
    words = [algo, "CartPole-v1", "-p", "learning_rate=1e-3", "-p", "n_steps=16"]
    words += ["--timesteps", "100", "--n-envs", "2", "--backend", "dummy", "--normalize"]
    words += ["--tensorboard", "logs", "--out", "new/model"]
    assert app.invoke(["train", *words]) == terminal.OK
    assert "sb3-course enjoy new/model.zip" in capsys.readouterr().out
    assert list((tmp_path / "logs" / "CartPole-v1").glob(f"{algo}_1/events*"))
    assert app.invoke(["enjoy", "new/model.zip", "--episodes", "2"]) == terminal.OK
    plain = capsys.readouterr().out
    assert plain.count("episode ") == 2
    words = ["enjoy", "new/model", "--episodes", "2", "--video", "out.mp4"]
    assert app.invoke(words) == terminal.OK
    assert capsys.readouterr().out == plain + "saved out.mp4\n"
    assert (tmp_path / "out.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    ("stopped_by", "code"),
    [
        (KeyboardInterrupt, terminal.INTERRUPTED),
        (FloatingPointError, terminal.FAILED),
        (OSError, terminal.FAILED),
    ],
)
def test_what_was_learned_before_a_stop_is_saved(
    grid, tmp_path, capsys, monkeypatch, stopped_by, code
):
    def train(self):
        raise stopped_by("made to stop")

    grid()
    monkeypatch.setattr(A2C, "train", train)
    assert app.invoke(["train", "A2C", "CartPole-v1", "--n-envs", "1"]) == code
    assert "after 5 steps" in capsys.readouterr().err
    assert (tmp_path / "model.zip").exists()


def test_a_missing_extra_is_named(monkeypatch, capsys, grid):
    path = grid()
    monkeypatch.setitem(sys.modules, "pydantic", None)
    for module in ("api", "definition.grid"):
        monkeypatch.delitem(sys.modules, f"sb3_course.benchmark.{module}", raising=False)
    assert app.invoke(["report", path]) == terminal.FAILED
    assert "pip install 'sb3-course[benchmark]'" in capsys.readouterr().err


def test_demo_says_where_it_is_at_home(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(grids, "DEMO", tmp_path / "none.yaml")
    assert app.invoke(["demo"]) == terminal.MISUSED
    assert "checkout" in capsys.readouterr().err


def test_brackets_in_a_failure_are_no_markup(grid, capsys):
    (spec,) = tiny(algorithms={"A [/b]": {"class": "A2C"}}, seeds=1).runs()
    failed = RunResult(spec=spec, failure="KeyError: '[/x]'")
    assert grids._show_failures([failed]) == terminal.FAILED
    error = capsys.readouterr().err
    assert "A [/b]" in error
    assert "[/x]" in error


def test_results_that_cannot_be_written_get_one_clear_line(grid, tmp_path, capsys):
    (tmp_path / "taken").write_text("no folder")
    assert app.invoke(["run", grid(), "--results", "taken"]) == terminal.FAILED
    assert capsys.readouterr().err == "sb3-course: taken/tiny/logs: Not a directory\n"


def test_a_damaged_manifest_is_named(grid, tmp_path, capsys):
    (tmp_path / "results" / "tiny").mkdir(parents=True)
    (tmp_path / "results" / "tiny" / "manifest.json").write_text('{"grid')
    assert app.invoke(["report", grid()]) == terminal.MISUSED
    assert "manifest.json is damaged" in capsys.readouterr().err
