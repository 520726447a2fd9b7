import pandas as pd
import pytest

from sb3_course.benchmark.plan import GridOutcome
from sb3_course.benchmark.storage import manifest
from sb3_course.benchmark.storage.result import Measurement, RunResult
from sb3_course.common.errors import UserError
from sb3_course.homework import hw2, learning_curves
from sb3_course.homework.experiments import EXPERIMENTS

CHEETAH = EXPERIMENTS["cheetah"]


@pytest.fixture(autouse=True)
def nothing_shipped(monkeypatch, tmp_path):
    """Leave aside the runs that come with the package; a test may put others there."""
    monkeypatch.setattr(hw2, "shipped", lambda path: tmp_path / "package" / path)


def made_up(spec):
    """A run whose return rises to 400 times the seed."""
    config = spec.config
    n, steps = config.evaluation_episodes, config.evaluation_steps
    heights = [400.0 * spec.seed * step / steps[-1] for step in steps]
    measurements = [Measurement(s, s, 1.0, [h] * n, [9] * n) for s, h in zip(steps, heights)]
    return RunResult(spec=spec, measurements=measurements, seconds=1.0)


def stored(tmp_path, algorithms=None, seeds=2):
    """Make up the runs of some algorithms; None for all."""
    planned = hw2.plan(CHEETAH, seeds, 1.0, tmp_path, [])
    for spec in planned.runs:
        if algorithms is None or spec.algorithm in algorithms:
            planned.kept.write(made_up(spec))
    return planned


def test_stored_runs_are_drawn_packed_and_checked(tmp_path):
    planned = stored(tmp_path)
    published = hw2.publish(CHEETAH, planned)
    folder = tmp_path / "homework_cheetah"
    assert published.figure == folder / "figures" / "learning_curves.png"
    assert published.figure.stat().st_size > 0 and published.failures == []
    (outcome,) = published.outcomes
    assert outcome.row[1:] == ("200 at 500,000 steps", "baseline", "no")  # of 300
    assert (folder / "runs.jsonl").exists() and (folder / "returns.csv").exists()
    again = hw2.plan(CHEETAH, 2, 1.0, tmp_path, [])
    assert again.todo == []


def test_runs_that_come_with_the_package_are_not_repeated(tmp_path):
    package = tmp_path / "package" / "results"
    planned = stored(package)
    manifest.write_manifest(planned.grid, planned.kept.folder, "made up", 1, 0.0)
    planned.kept.pack()
    assert hw2.plan(CHEETAH, 2, 1.0, tmp_path / "mine", []).todo == []
    # Those of another size, and those that somebody wants to make alone, are to be run.
    assert len(hw2.plan(CHEETAH, 2, 0.5, tmp_path / "mine", []).todo) == 8
    assert len(hw2.plan(CHEETAH, 2, 1.0, tmp_path / "other", [], fresh=True).todo) == 8
    assert len(hw2.plan(CHEETAH, 2, 1.0, tmp_path / "mine", [], fresh=True).todo) == 8
    # And what is there already counts.
    planned = hw2.plan(CHEETAH, 3, 1.0, tmp_path / "mine", [])
    assert {spec.seed for spec in planned.todo} == {2}


def test_missing_runs_are_left_out_and_said(tmp_path):
    published = hw2.publish(CHEETAH, stored(tmp_path, {"no baseline"}))
    assert [outcome.row[-1] for outcome in published.outcomes] == ["not run"]
    assert not (tmp_path / "homework_cheetah" / "runs.jsonl").exists()


def test_ones_own_returns_are_drawn_and_checked_beside(tmp_path, monkeypatch):
    drawn = []
    draw = learning_curves.draw
    monkeypatch.setattr(
        learning_curves, "draw", lambda *arguments: drawn.append(arguments) or draw(*arguments)
    )
    path = tmp_path / "mine.csv"
    path.write_text("step,return_mean\n0,-200\n123456,301\n500000,250\n")
    planned = stored(tmp_path, {"baseline"})
    published = hw2.publish(CHEETAH, planned, [f"mine={path}"])
    assert published.figure.name == "with_own_returns.png"
    ((table, environments, look),) = drawn
    mine = table[table["algorithm"] == "mine"]
    assert mine["step"].tolist() == [0, 123_456, 500_000]  # as they were measured
    assert environments == ["HalfCheetah-v4"]
    assert list(look) == ["mine", "baseline"]  # on top
    assert look["mine"].color == learning_curves.OWN_COLOR != look["baseline"].color
    own = published.outcomes[-1]
    assert (own.says, own.by, own.holds) == (
        "yours, on HalfCheetah-v4: 300 or more",
        "mine",
        True,
    )
    assert own.reached == "301 at 123,456 steps"


def test_ones_own_best_run_is_judged_as_the_handout_judges(tmp_path):
    """LunarLander's best run, not the mean over seeds, as for the stored ones."""
    path = tmp_path / "mine.csv"
    path.write_text("seed,step,return_mean\n0,0,0\n0,9,190\n1,0,0\n1,9,10\n")
    experiment = EXPERIMENTS["lunarlander"]
    planned = hw2.plan(experiment, 1, 1.0, tmp_path / "none", [f"mine={path}"], fresh=True)
    own = hw2.publish(experiment, planned, [f"mine={path}"]).outcomes[-1]
    assert own.row == (
        "yours, on LunarLander-v3: 180 or more at best, in one run",
        "190 at 9 steps",
        "mine",
        "yes",
    )


def tidy_runs(algorithm, measured):
    columns = ["seed", "step", "return_mean"]
    table = pd.DataFrame(measured, columns=columns).assign(algorithm=algorithm, environment="e")
    return table.assign(num_timesteps=table["step"], wall_time=0.0)


def test_a_name_of_the_grid_is_no_name_of_ones_own(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("step,return_mean\n0,1\n")
    with pytest.raises(UserError, match="choose another"):
        hw2.plan(CHEETAH, 1, 1.0, tmp_path, [f"baseline={path}"])


def test_curves_are_mean_and_range_over_seeds(tmp_path):
    table = tidy_runs("a", [(0, 0, 1.0), (0, 10, 3.0), (1, 0, 5.0), (1, 5, 4.0)])
    found = learning_curves.curves(table, {"e": [0, 5, 10]})
    assert found[learning_curves.CURVES[2:]].to_numpy().tolist() == [
        [0, 3, 1, 5],
        [5, 3, 2, 4],  # later the second run has ended, and a mean would be of the first alone
    ]


def test_ones_own_curves_do_not_depend_on_each_other():
    mine = tidy_runs("a", [(0, 0, 10.0), (0, 50, 200.0), (0, 100, 150.0)])
    mine = pd.concat([mine, tidy_runs("a", [(1, 0, 20.0), (1, 50, 100.0)])])
    other = tidy_runs("b", [(0, step, float(step)) for step in range(0, 101, 10)])
    alone = learning_curves.own_curves(mine)
    assert alone[["step", "point"]].to_numpy().tolist() == [[0, 15], [50, 150]]
    both = learning_curves.own_curves(pd.concat([mine, other]))
    pd.testing.assert_frame_equal(both[both["algorithm"] == "a"], alone)
    assert len(both[both["algorithm"] == "b"]) == 11


@pytest.mark.parametrize("left", ["", ".rerun/commit", "figures"])
def test_a_folder_without_runs_is_none_to_keep(left, tmp_path):
    """An interrupted --fresh leaves one."""
    package = tmp_path / "package" / "results"
    planned = stored(package)
    manifest.write_manifest(planned.grid, planned.kept.folder, "made up", 1, 0.0)
    planned.kept.pack()
    (tmp_path / "mine" / "homework_cheetah" / left).mkdir(parents=True)
    assert hw2.plan(CHEETAH, 2, 1.0, tmp_path / "mine", []).todo == []


def test_new_runs_that_fail_are_told_and_change_nothing(tmp_path, monkeypatch):
    stored(tmp_path)
    planned = hw2.plan(CHEETAH, 2, 1.0, tmp_path, [], fresh=True)
    failed = [RunResult(spec=planned.runs[0], failure="made to fail")]
    monkeypatch.setattr(hw2, "run_plan", lambda *_, **__: GridOutcome(failed, None))
    published = hw2.run(CHEETAH, planned)
    assert published == hw2.Published(None, [], failed)
