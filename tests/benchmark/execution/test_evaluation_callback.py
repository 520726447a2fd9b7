"""What is measured besides returns."""

import json

import numpy as np
import pytest

from sb3_course.benchmark.execution.evaluation_callback import metrics_of
from sb3_course.benchmark.execution.train_run import attempt, run_one
from sb3_course.benchmark.storage.result import parsed, problem_of, text_of
from tests.benchmark.helpers import changed, tiny

OWN = "tests.own_envs"


def walk(metrics=(), **settings):
    """A run of a few steps on an environment with settings."""
    environment = {"id": f"{OWN}:Walk-v0", "total_timesteps": 60, "n_envs": 2, **settings}
    grid = tiny(
        environments={"A walk": environment},
        evaluation={"n_points": 1, "episodes": 3, "metrics": list(metrics)},
    )
    return grid.runs()[0]


def test_success_is_measured_without_being_asked_and_a_metric_on_request():
    plain, asked = run_one(walk()), run_one(walk(["distance"]))
    assert all(m.metrics.keys() == {"is_success"} for m in plain.measurements)
    for m in asked.measurements:
        assert m.metrics.keys() == {"distance", "is_success"}
        # An episode that ends before its limit has reached the goal.
        reached = np.array(m.metrics["distance"]) < 0.3
        assert m.metrics["is_success"] == reached.tolist()
        assert (np.array(m.lengths)[~reached] == 20).all()
    assert [m.returns for m in plain.measurements] == [m.returns for m in asked.measurements]


def test_evaluation_builds_the_very_same_environment():
    """Arguments, wrappers, frames and time limit, at other rewards than those learned from."""
    settings = {
        "kwargs": {"goal": 5.0},
        "wrappers": [{f"{OWN}:Scaled": {"times": 1000.0}}],
        "frame_stack": 3,
        "time_limit": 4,
        "normalize": True,
    }
    result = run_one(walk(["distance"], **settings))
    for m in result.measurements:
        assert m.lengths == [4] * 3
        assert all(4 <= d <= 6.3 for d in m.metrics["distance"])  # from the goal of 5
        assert all(-4 * 6.3 <= r <= -4 * 4 for r in m.returns)  # and not 1000 times as much
    assert result == parsed(text_of(result))


def test_wrappers_change_what_is_learned_from():
    scaled = run_one(walk(wrappers=[{f"{OWN}:Scaled": {"times": -1.0}}]))
    plain = run_one(walk())
    assert scaled.measurements[0].returns == plain.measurements[0].returns  # before training
    assert scaled.measurements[1].returns != plain.measurements[1].returns


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (
            "speed",
            "'speed' in the last info of evaluation episode 0 is missing; the info has: dist",
        ),
        ("word", "'word' in the last info of evaluation episode 0 is 'none'; allowed: a finite n"),
        ("nothing", "is None; allowed: a finite number"),
    ],
)
def test_a_metric_that_is_missing_or_no_number_fails_the_run_and_says_so(metric, expected):
    failed = attempt(walk([metric]))
    assert expected in failed.reason
    assert failed.measurements == []


def test_numbers_of_every_kind_are_taken():
    infos = [{"a": np.float32(0.5), "b": np.bool_(True)}, {"a": np.array([2]), "b": 0}]
    assert metrics_of(infos, ["a", "b"]) == {"a": [0.5, 2.0], "b": [1.0, 0.0]}
    assert metrics_of([{"is_success": True}, {}], []) == {}  # not in every episode
    assert metrics_of([{"is_success": True}, {"is_success": None}], []) == {}
    for odd in ("yes", float("nan"), float("inf"), [True, False], [[1], [1, 2]], {"goal": True}):
        assert metrics_of([{"is_success": True}, {"is_success": odd}], []) == {}  # nobody asked
    assert metrics_of([{"is_success": np.array([True])}], []) == {"is_success": [1.0]}
    assert metrics_of([{"is_success": True}], ["is_success"]) == {"is_success": [1.0]}
    for bad in (np.nan, np.inf, "1", [1, 2], np.zeros(2), {}):
        with pytest.raises(ValueError, match="allowed: a finite number"):
            metrics_of([{"a": bad}], ["a"])


def test_without_metrics_nothing_is_stored_of_them():
    environments = {"CartPole-v1": {"total_timesteps": 60, "n_envs": 2, "backend": "dummy"}}
    spec = tiny(environments=environments, evaluation={"n_points": 1, "episodes": 3}).runs()[0]
    text = text_of(run_one(spec))
    assert "metrics" not in text
    assert "env_settings" not in text
    assert json.loads(text)["measurements"][0].keys() == {
        *("step", "num_timesteps", "wall_time", "returns", "lengths")
    }


def test_a_stored_run_without_its_metrics_is_made_again():
    spec = walk(["distance"])
    result = run_one(spec)
    assert problem_of(result, spec) is None
    other = changed(spec, metrics=["distance", "word"])
    lacking = result.model_copy(update={"spec": other})
    assert problem_of(lacking, other) == "at step 0 it has 0 word of 3 episodes"
    result.measurements[0].metrics["is_success"].pop()
    assert problem_of(result, spec) == "at step 0 it has 2 is_success of 3 episodes"
