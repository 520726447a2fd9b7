import re
import subprocess
import sys

import pytest
import yaml

from sb3_course import cli
from sb3_course.benchmark import backends
from tests.benchmark.helpers import HERE, InThisProcess, content


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
        (["rn"], ["rn", "run"]),
        (["run"], ["GRID"]),
        (["run", "none.yaml"], ["none.yaml"]),
        (["run", "grid.yaml", "--workers", "0"], ["--workers", "1"]),
        (["run", "grid.yaml", "--only", "sed=0"], ["'sed'", "algorithm, environment, seed"]),
        (["run", "grid.yaml", "--only", "algorithm=B"], ["'B'", "allowed: A2C"]),
        (["run", "grid.yaml", "--backend", "slurm"], ["'slurm'", "'local', 'ray'"]),
        (["run", "grid.yaml", "--address", "auto"], ["--address is for --backend ray"]),
        (["report", "grid.yaml"], ["no results", "sb3-course run grid.yaml"]),
        (["train", "A2", "CartPole-v1"], ["'A2'", "did you mean 'A2C'"]),
        (["train", "A2C", "CartPol-v1"], ["'CartPol-v1'", "did you mean 'CartPole-v1'"]),
        (["train", "A2C", "CartPole-v1", "-p", "gama=1"], ["'gama'", "did you mean 'gamma'"]),
        (["train", "A2C", "CartPole-v1", "-p", "gamma"], ["'gamma'", "KEY=VALUE"]),
        (["enjoy", "none.zip", "CartPole-v1"], ["none.zip", "train"]),
    ],
)
def test_wrong_arguments_get_one_clear_line(grid, capsys, words, expected):
    grid()
    assert cli.invoke(words) == cli.MISUSED
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    for part in expected:
        assert part in error


@pytest.mark.parametrize("command", ["run", "demo", "report", "train", "enjoy"])
def test_help_teaches_by_example(capsys, command):
    assert cli.invoke([command, "--help"]) == cli.OK
    assert re.search(rf"sb3-course {command}", capsys.readouterr().out)


def test_help_does_not_import_torch():
    code = (
        "import sys; from sb3_course.cli import invoke; invoke(['run', '--help']);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_run_resume_report(grid, tmp_path, capsys, monkeypatch):
    """One run works, one fails; running again tries the failed one alone."""
    monkeypatch.setattr(backends, "LocalProcesses", InThisProcess)
    broken = {"class": f"{HERE}:Raises"}
    path = grid(seeds=1, algorithms={"A2C": {"class": "A2C"}, "Broken": broken})
    assert cli.invoke(["run", path, "--dry-run"]) == cli.OK
    assert capsys.readouterr().out.count("to do") == 3
    assert cli.invoke(["run", path, "--workers", "1"]) == cli.FAILED
    error = capsys.readouterr().err
    assert "ZeroDivisionError: made to fail" in error
    assert "1 runs failed" in error
    results = tmp_path / "results" / "tiny"
    assert "made to fail" in (results / "report.html").read_text()
    assert str(tmp_path) not in (results / "manifest.json").read_text()
    assert cli.invoke(["run", path, "--dry-run"]) == cli.OK
    assert "2 runs, 1 done, 1 to do" in capsys.readouterr().out
    assert cli.invoke(["run", path, "--only", "algorithm=A2C"]) == cli.OK
    assert cli.invoke(["report", path]) == cli.OK


def test_train_and_enjoy(grid, tmp_path, capsys):
    grid()
    words = ["A2C", "CartPole-v1", "-p", "learning_rate=1e-3", "--timesteps", "100"]
    assert cli.invoke(["train", *words, "--n-envs", "2", "--out", "new/model.zip"]) == cli.OK
    assert (tmp_path / "new" / "model.zip").exists()
    words = ["enjoy", "new/model.zip", "CartPole-v1", "--episodes", "2"]
    assert cli.invoke(words) == cli.MISUSED
    assert "--algo A2C" in capsys.readouterr().err
    assert cli.invoke([*words, "--algo", "A2C"]) == cli.OK
    assert capsys.readouterr().out.count("episode ") == 2


def test_train_and_enjoy_find_this_packages_classes_themselves(grid, capsys):
    grid()
    words = ["REINFORCE", "CartPole-v1", "-p", "n_steps=32", "--timesteps", "64"]
    assert cli.invoke(["train", *words, "--n-envs", "2", "--out", "model.zip"]) == cli.OK
    assert cli.invoke(["enjoy", "model.zip", "CartPole-v1", "--episodes", "2"]) == cli.OK
    assert "mean return" in capsys.readouterr().out


def test_a_missing_extra_is_named(monkeypatch, capsys, grid):
    path = grid()
    monkeypatch.setitem(sys.modules, "yaml", None)
    for module in ("grid", "source"):
        monkeypatch.delitem(sys.modules, f"sb3_course.benchmark.{module}", raising=False)
    assert cli.invoke(["report", path]) == cli.FAILED
    assert "pip install 'sb3-course[benchmark]'" in capsys.readouterr().err


def test_demo_says_where_it_is_at_home(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cli, "DEMO", tmp_path / "none.yaml")
    assert cli.invoke(["demo"]) == cli.MISUSED
    assert "checkout" in capsys.readouterr().err
