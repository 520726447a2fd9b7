import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest
import yaml
from gymnasium.envs.registration import EnvSpec

from sb3_course.benchmark.api import load_results
from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.execution import executors
from sb3_course.benchmark.plan import GridOutcome
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.store import Store
from sb3_course.cli import app, running
from sb3_course.cli.parts import grid_options, terminal
from tests.benchmark.helpers import HERE, InThisProcess, content, ended, tiny
from tests.benchmark.tuning.made_up import searched

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run"], ["GRID"]),
        (["run", "none.yaml"], ["none.yaml"]),
        (["run", "grid.yaml", "--workers", "0"], ["--workers", "1"]),
        (["run", "grid.yaml", "--only", "sed=0"], ["'sed'", "algorithm, environment, seed"]),
        (["run", "grid.yaml", "--only", "algorithm=B"], ["'B'", "allowed: A2C"]),
        (["run", "grid.yaml", "--executor", "slurm"], ["'slurm'", "'local', 'ray'"]),
        (["run", "grid.yaml", "--address", "auto"], ["--address requires --executor ray"]),
        (["run", "grid.yaml", "--runtime-env", "e"], ["--runtime-env requires --executor ray"]),
        (["run", "grid.yaml", "--executor", "ray", "--runtime-env", "e"], ["e cannot be read"]),
        (["run", "grid.yaml", "--no-wait", "--rerun"], ["--rerun", "leave out --no-wait"]),
        (["run", "grid.yaml", "--no-wait", "--until-settled"], ["leave out", "--no-wait"]),
        (["run", "grid.yaml", "--max-seeds", "9"], ["--max-seeds requires --until-settled"]),
        (["run", "grid.yaml", "--track-video"], ["--track-video requires --track"]),
        (["report", "grid.yaml"], ["no results", "`sb3-course run`"]),
        (["regression", "none.yaml"], ["none.yaml"]),
        (["regression", "grid.yaml"], ["A2C on CartPole-v1", "0 stored runs", "needs at least"]),
        (["regression", "grid.yaml", "--seeds", "0"], ["--seeds", "1"]),
        (["status", "none.yaml"], ["none.yaml", "cannot be read"]),
    ],
)
def test_wrong_arguments_get_one_clear_line(grid, misused, words, expected):
    grid()
    error = misused(words)
    for part in expected:
        assert part in error


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


def test_who_does_not_wait_writes_no_report(grid, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(executors, "LocalProcesses", InThisProcess)
    path = grid(seeds=2)
    assert app.invoke(["run", path, "--no-wait", "--only", "seed=0"]) == terminal.OK
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 1 runs have ended"
    assert app.invoke(["run", path, "--no-wait"]) == terminal.OK
    assert capsys.readouterr().out.splitlines()[-1] == "2 of 2 runs have ended"
    assert not (tmp_path / "results/tiny/report.html").exists()


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
    failed = RunResult(spec=spec, failure="Traceback\nOSError: made to fail")
    Store(tmp_path / "results" / "tiny").write(failed)
    assert app.invoke(["status", path]) == terminal.FAILED
    assert "OSError: made to fail" in capsys.readouterr().out


def test_the_recorded_command_names_no_folder_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    elsewhere, inside = tmp_path.parent / "else" / "g.yaml", tmp_path / "grids" / "my grid.yaml"
    monkeypatch.setattr(sys, "argv", ["x", "run", str(elsewhere), str(inside), "--only", "seed=0"])
    assert grid_options.command_line() == "sb3-course run g.yaml 'grids/my grid.yaml' --only seed=0"


def test_the_demo_ends_with_its_report_and_the_answer_in_three_lines(grid, monkeypatch, capsys):
    monkeypatch.setattr(executors, "LocalProcesses", InThisProcess)
    cart_pole = content()["environments"]["CartPole-v1"]
    both = {"CartPole-v1": cart_pole, "Acrobot-v1": {**cart_pole, "total_timesteps": 100}}
    algorithms = {"A2C": {"class": "A2C"}, "NPG": {"class": "NPG", "params": {"n_steps": 10}}}
    path = Path(grid(environments=both, algorithms=algorithms)).resolve()
    monkeypatch.setattr(running, "DEMO", path)
    assert app.invoke(["demo"]) == terminal.OK
    page, *answer = capsys.readouterr().out.strip().splitlines()[-4:]
    assert page == "results/tiny/report.html"
    assert Path(page).exists()
    assert re.fullmatch(r"Acrobot-v1: (A2C|NPG) -\d+, (A2C|NPG) -\d+", answer[0])
    assert re.fullmatch(r"CartPole-v1: (A2C|NPG) \d+, (A2C|NPG) \d+", answer[1])
    assert answer[2].startswith("Means of 2 seeds")


def test_the_demos_own_grid_is_complete_and_its_runs_are_three_seeds_of_six_algorithms():
    assert running.DEMO == ROOT / "benchmarks" / "demo.yaml"
    runs = load_grid(running.DEMO).runs()
    assert len(runs) == 36


def test_brackets_in_a_failure_are_no_markup(grid, capsys):
    (spec,) = tiny(algorithms={"A [/b]": {"class": "A2C"}}, seeds=1).runs()
    failed = RunResult(spec=spec, failure="KeyError: '[/x]'")
    assert running._show_failures([failed]) == terminal.FAILED
    error = capsys.readouterr().err
    assert "A [/b]" in error
    assert "[/x]" in error


ON_A_GRID = [
    "run GRID",
    "run GRID --dry-run",
    "run GRID --rerun",
    "status GRID",
    "report GRID",
    "references GRID",
    "regression GRID",
    "tune GRID",
    "slurm GRID --array 2 --time 1:00:00",
    "demo",
    "homework hw1 --files .",
    "homework hw2 analysis",
]


@pytest.mark.parametrize("command", ON_A_GRID)
@pytest.mark.parametrize("place", ["taken", "taken/deeper", "/dev/null"])
def test_results_that_cannot_be_written_get_one_clear_line(grid, tmp_path, misused, command, place):
    (tmp_path / "taken").write_text("no folder")
    error = misused([*command.replace("GRID", grid()).split(), "--results", place])
    assert f"'--results': {place.partition('/deeper')[0]} is a file; allowed: a folder" in error
    assert (tmp_path / "taken").read_text() == "no folder"


@pytest.mark.parametrize("command", ON_A_GRID)
@pytest.mark.parametrize("place", ["link", "link/deeper"])
def test_results_that_are_a_link_to_nothing_get_one_clear_line(
    grid, tmp_path, misused, command, place
):
    """Such as that to a disk which is not mounted."""
    (tmp_path / "link").symlink_to("gone")
    error = misused([*command.replace("GRID", grid()).split(), "--results", place])
    assert "link is a link to gone, which is not there" in error
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("command", ["run", "report", "status", "references", "regression", "tune"])
def test_a_grids_results_that_are_a_link_to_nothing_are_told(grid, tmp_path, misused, command):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "tiny").symlink_to("gone")
    error = misused([command, grid(**(searched() if command == "tune" else {}))])
    assert "results/tiny is a link to gone, which is not there" in error


def test_what_takes_no_results_is_told_before_episodes_are_played(grid, misused, monkeypatch):
    monkeypatch.setattr(gymnasium, "make", lambda *_, **__: pytest.fail("it is measured"))
    error = misused(["references", grid(), "--results", "/proc/none"])
    assert "--results: /proc/none/tiny cannot be written (No such file or directory)" in error


@pytest.mark.parametrize(
    ("place", "reason"),
    [("taken", "is a file; allowed: a folder"), ("taken/x", "cannot be written (Not a directory)")],
)
def test_logs_that_cannot_be_written_are_told_before_any_run(
    grid, tmp_path, misused, place, reason
):
    (tmp_path / "taken").write_text("no folder")
    assert misused(["run", grid(), "--tensorboard", place]).endswith(
        f"--tensorboard: {place} {reason}"
    )
    assert not list((tmp_path / "results").rglob("*.json"))


def test_a_damaged_manifest_is_named(grid, tmp_path, capsys):
    (tmp_path / "results" / "tiny").mkdir(parents=True)
    (tmp_path / "results" / "tiny" / "manifest.json").write_text('{"grid')
    assert app.invoke(["report", grid()]) == terminal.MISUSED
    assert "manifest.json is damaged" in capsys.readouterr().err


@pytest.fixture
def finished(grid, tmp_path, monkeypatch):
    """A grid of two runs that have finished, and its file."""
    monkeypatch.setattr(executors, "LocalProcesses", InThisProcess)
    path = grid()
    for spec in load_grid(path).runs():
        Store(tmp_path / "results" / "tiny").write(ended(spec))
    return path


@pytest.mark.parametrize("text", [b"\xff", b'{"spec": Infinity}'])
def test_a_damaged_result_is_listed_by_every_command_and_made_again(
    finished, tmp_path, capsys, text
):
    store = Store(Path("results") / "tiny")
    path = store.path(load_grid(finished).runs()[0])
    path.write_bytes(text)
    for command in ("status", "report"):
        assert app.invoke([command, finished]) == terminal.FAILED
        error = capsys.readouterr().err
        assert error.startswith(f"sb3-course: {path} is damaged (")
        assert error.endswith(": `sb3-course run` makes the run again\n")
    page = (store.folder / "README.md").read_text()
    assert "1 of 2 runs finished, 1 failed" in page
    assert "is damaged" in page
    assert len((store.folder / "returns.csv").read_text().splitlines()) == 1 + 3
    with pytest.warns(UserWarning, match="is damaged"):
        assert set(load_results(finished)["seed"]) == {1}
    assert app.invoke(["run", finished]) == terminal.OK
    assert "2 runs, 1 done, 1 to do" in capsys.readouterr().out
    assert app.invoke(["status", finished]) == terminal.OK
    assert "2 done" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["run"], ["report"], ["run", "--only", "seed=1"]])
def test_a_damaged_manifest_is_told_before_any_run(finished, capsys, words):
    Path("results/tiny/manifest.json").write_bytes(b"\xff")
    Store(Path("results/tiny")).path(load_grid(finished).runs()[0]).unlink()
    assert app.invoke([words[0], finished, *words[1:]]) == terminal.MISUSED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sb3-course: results/tiny/manifest.json is damaged (")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"name": "g" * 121}, "name: "),
        ({"environments": {"E" * 300: {"total_timesteps": 1}}}, "environments."),
        ({"environments": {"é" * 61: {"total_timesteps": 1}}}, "environments."),
        ({"algorithms": {"A" * 61: {"class": "A2C"}}}, "algorithms: "),
    ],
)
@pytest.mark.parametrize("command", ["run", "status", "report"])
def test_a_name_that_no_file_can_have_is_told_with_the_limit(
    grid, tmp_path, capsys, changes, part, command
):
    assert app.invoke([command, grid(**changes)]) == terminal.MISUSED
    error = capsys.readouterr().err
    assert part in error
    assert "allowed: 120 bytes" in error or "1 to 60 printable characters" in error
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_full_disk_is_one_line_that_names_the_file_and_nothing_is_lost(
    finished, capsys, monkeypatch, code
):
    store, (first, second) = Store(Path("results/tiny")), load_grid(finished).runs()
    store.path(second).unlink()

    left = iter([os.fsync])  # for the manifest, before the run

    def full(handle):
        if (sync := next(left, None)) is None:
            raise OSError(code, os.strerror(code))
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert app.invoke(["run", finished]) == terminal.FAILED
    assert capsys.readouterr().err == f"sb3-course: {store.path(second)}: {os.strerror(code)}\n"
    assert store.sound([first, second]) == {first.id}
    assert {p.name for p in store.folder.rglob(".*")} == {".lock", ".manifest.lock"}
    assert app.invoke(["run", finished]) == terminal.OK


def test_what_a_killed_command_left_is_swept_by_the_next(finished, tmp_path):
    left = tmp_path / "results" / "tiny" / "runs" / ".x.json.abcd1234.sb3-course"
    for command in ("run", "report"):
        left.touch()
        os.utime(left, (0, 0))
        assert app.invoke([command, finished]) == terminal.OK
        assert not left.exists()


@pytest.mark.parametrize("command", ["status", "report", "run --dry-run", "--help"])
def test_a_terminal_in_ascii_shows_everything(tmp_path, command):
    algorithms = {"A ± … é": {"class": "A2C"}, "B" * 60: {"class": "A2C"}}
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(content(algorithms=algorithms), allow_unicode=True), "utf-8")
    store = Store(tmp_path / "results" / "tiny")
    for spec in load_grid(path).runs():
        store.write(ended(spec))
    store.write(RunResult(spec=load_grid(path).runs()[0], failure="ValueError: ± …"))
    code = "from sb3_course.cli.app import main; main()"
    ascii_only = {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}
    words = command.split() if command == "--help" else [*command.split(), "grid.yaml"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, **ascii_only, "PYTHONCOERCECLOCALE": "0"},
    )
    assert done.stderr == b""
    assert done.returncode == 0
    assert done.stdout.decode("ascii")
    if command in ("status", "run --dry-run"):
        assert b"A \\xb1 \\u2026 \\xe9" in done.stdout


class Raises(gymnasium.Env):
    """Cannot be reset."""

    observation_space = action_space = gymnasium.spaces.Discrete(1)

    def reset(self, **_):
        raise RuntimeError("no display")


def test_an_environment_that_raises_costs_no_other_its_reference(
    grid, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(gymnasium.registry, "Raises-v0", EnvSpec("Raises-v0", Raises))
    settings = {"total_timesteps": 100}
    path = grid(
        environments={"Raises-v0": settings, "Low": {"id": "Pendulum-v1", **settings}},
        references={"Low": {"expert": -99999}},
    )
    assert app.invoke(["references", path, "--episodes", "2"]) == terminal.FAILED
    out, err = capsys.readouterr()
    assert err == "sb3-course: Raises-v0: random actions on Raises-v0: RuntimeError: no display\n"
    assert "Low: random actions -" in out and "expert -99999 is not above random" in out
    (stored,) = tmp_path.glob("results/*/references.json")
    assert list(json.loads(stored.read_text())) == ["Low"]
    stored.write_text("[]")
    assert app.invoke(["run", path]) == terminal.MISUSED  # before hours of work, not after
    assert "references.json is damaged" in capsys.readouterr().err


def test_keep_holds_for_rounds_too(grid, monkeypatch):
    kept = []

    def in_rounds(grid, max_seeds, results, execute, console, keep):
        kept.append((max_seeds, keep))
        return GridOutcome([], None)

    monkeypatch.setattr("sb3_course.benchmark.until_settled.in_rounds", in_rounds)
    for words in ([], ["--keep"], ["--max-seeds", "7"]):
        assert app.invoke(["run", grid(), "--until-settled", *words]) == terminal.OK
    assert kept == [(30, False), (30, True), (7, False)]
