import pytest

from sb3_course.benchmark.tuning import tuner
from sb3_course.benchmark.tuning.page import sections
from sb3_course.cli import app
from sb3_course.cli.parts import terminal
from tests.benchmark.tuning.made_up import MadeUp, searched


@pytest.fixture
def tuned(grid, monkeypatch):
    """Write a grid with a search, whose runs are made up."""
    monkeypatch.setattr(sections, "write_tuning_page", lambda *_: "page")

    def write(executor=None, **search):
        executor = executor or MadeUp()
        monkeypatch.setattr(tuner, "make_executor", lambda *_, **__: executor)
        return grid(**searched(**search))

    return write


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tune"], ["GRID"]),
        (["tune", "none.yaml"], ["none.yaml", "cannot be read"]),
        (["tune", "grid.yaml", "--workers", "0"], ["--workers", "1"]),
        (["tune", "grid.yaml", "--address", "auto"], ["--address requires --executor ray"]),
        (["tune", "grid.yaml", "--runtime-env", "e"], ["--runtime-env requires --executor ray"]),
        (["tune", "grid.yaml", "--executor", "ray", "--runtime-env", "e"], ["e cannot be read"]),
        (["tune", "grid.yaml", "--only", "algorithm=B"], ["--only", "'B'", "allowed: A2C"]),
        (["tune", "grid.yaml", "--only", "seed=0"], ["'seed'", "algorithm, environment"]),
    ],
)
def test_wrong_arguments_get_one_clear_line(tuned, misused, words, expected):
    tuned()
    error = misused(words)
    for part in expected:
        assert part in error


def test_a_grid_without_a_search_gets_one_clear_line(grid, misused):
    assert "has no `search`, as in search: {algorithms: " in misused(["tune", grid()])


def test_what_would_be_tuned_is_listed_without_running(tuned, tmp_path, capsys):
    assert app.invoke(["tune", tuned(), "--dry-run"]) == terminal.OK
    line = capsys.readouterr().out.strip()
    assert line == (
        "A2C on CartPole-v1: 8 trials (1 seed, 25% of the steps → 1 seed → 3 seeds), the best "
        "2 on 2 fresh seeds: about 5,067 steps"
    )
    assert not (tmp_path / "results").exists()


def test_runs_for_the_sensitivity_are_in_the_plan(tuned, capsys):
    assert app.invoke(["tune", tuned(sensitivity=3), "--dry-run"]) == terminal.OK
    runs = (3 + 3 + 3) * 2  # values of three parameters on two fresh seeds
    assert (
        capsys.readouterr()
        .out.strip()
        .endswith(
            f"2 fresh seeds, {runs} runs for the sensitivity: about {5_067 + runs * 400:,} steps"
        )
    )


def test_results_that_cannot_be_written_are_told_in_a_dry_run_as_well(tuned, misused):
    said = misused(["tune", tuned(), "--dry-run", "--results", "/dev/null"])
    assert "'--results': /dev/null is a file; allowed: a folder" in said


def test_tune_status_and_run_what_was_found(tuned, tmp_path, capsys):
    path = tuned()
    assert app.invoke(["tune", path]) == terminal.OK
    out = capsys.readouterr().out
    assert "chosen of 8 trials" in out
    assert "a luck of " in out
    assert "results/tiny/tuning/tuned.yaml" in out
    assert app.invoke(["status", path]) == terminal.OK
    status = capsys.readouterr().out
    assert "A2C on CartPole-v1" in status
    row = next(line for line in status.splitlines() if line.split()[:2] == ["A2C", "on"])
    assert row.split()[3:8] == ["8", "8", "8", "0", "0"]  # trials, of, ended, running, refused
    assert "A2C on CartPole-v1: chosen: " in status
    assert app.invoke(["run", "results/tiny/tuning/tuned.yaml", "--dry-run"]) == terminal.OK
    assert "tiny_tuned: 2 runs" in capsys.readouterr().out
    assert app.invoke(["report", path]) == terminal.MISUSED  # nothing of the grid itself has run
    assert "no results" in capsys.readouterr().err


def test_ctrl_c_keeps_what_there_is(tuned, capsys):
    path = tuned(MadeUp(stops_after=6))
    assert app.invoke(["tune", path]) == terminal.INTERRUPTED
    assert "trials and runs are kept; the same command continues" in capsys.readouterr().err
    rest = MadeUp()
    assert app.invoke(["tune", tuned(rest)]) == terminal.OK
    assert len(rest.started) > 0


def test_nothing_to_choose_is_a_failure(tuned, capsys):
    grid = tuned(MadeUp(fails=lambda spec: spec.seed > 102))  # the fresh seeds
    assert app.invoke(["tune", grid]) == terminal.FAILED
    out = capsys.readouterr().out
    assert "nothing was chosen" in out
    assert "as in the grid: A2C · CartPole-v1 · seed 103: ValueError: made to fail" in out


def test_what_was_not_asked_for_is_no_failure(tuned, grid):
    """Such as the study of another algorithm that another command is at."""
    algorithms = {name: {"class": "A2C"} for name in ("Mine", "Other")}
    tuned(MadeUp(fails=lambda spec: spec.algorithm == "Other" and spec.seed > 102))
    content = searched(algorithms=algorithms)
    content["search"]["algorithms"] = {name: {"n_steps": [5, 8]} for name in algorithms}
    words = ["tune", grid(**content)]
    assert app.invoke([*words, "--only", "algorithm=Other"]) == terminal.FAILED
    assert app.invoke([*words, "--only", "algorithm=Mine"]) == terminal.OK
    assert app.invoke(words) == terminal.FAILED


def test_trials_without_any_value_are_told_with_what_to_do(tuned, capsys):
    grid = tuned(failing := MadeUp(fails=lambda spec: True))
    for _ in range(2):
        assert app.invoke(["tune", grid]) == terminal.MISUSED
        told = capsys.readouterr().err
        assert "none of 8 trials has had a return; the last one: A2C" in told
        assert "once that is fixed, move the journal in" in told
    assert {spec.seed for spec in failing.started} == {100}  # neither fresh seeds nor sensitivity


def test_what_ray_brings_is_handed_on(grid, monkeypatch, tmp_path):
    given = []

    def make(*_, runtime_env):
        given.append(runtime_env)
        return MadeUp()

    monkeypatch.setattr(sections, "write_tuning_page", lambda *_: "page")
    monkeypatch.setattr(tuner, "make_executor", make)
    (tmp_path / "environment.yaml").write_text("pip: [numpy]\n")
    words = ["--executor", "ray", "--runtime-env", str(tmp_path / "environment.yaml")]
    assert app.invoke(["tune", grid(**searched()), *words]) == terminal.OK
    assert given and all(env == {"pip": ["numpy"]} for env in given)
