"""The callback, with trackers that keep what they get in memory."""

import csv
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

from sb3_course import NPG
from sb3_course.common.tracking import callback as module
from sb3_course.common.tracking.callback import Track, tracked
from sb3_course.common.tracking.tracker import TrackedRun, Tracking
from tests.contract.helpers import copy_parameters, equal_tensors

RUN = TrackedRun("npg_seed0", "NPG · seed 0", "NPG", {"seed": 0}, ("NPG",))


class Kept:
    """Tracker that keeps everything, and fails where it is told to."""

    def __init__(self):
        self.fails_in, self.error = (), None
        self.logged, self.videos, self.finished = [], [], None

    def log(self, values, step):
        self._fail("log")
        self.logged.append((step, dict(values)))

    def video(self, path, step):
        self._fail("video")
        self.videos.append((step, path.read_bytes()))

    def finish(self, complete):
        self._fail("finish")
        self.finished = complete

    def _fail(self, where):
        if where in self.fails_in:
            raise self.error


@pytest.fixture
def trackers(monkeypatch):
    """Trackers by name, of which a test may make some fail."""
    known = {name: Kept() for name in ("first", "second")}

    def open_tracker(name, tracking, run):
        random.random(), np.random.rand(), torch.rand(1)  # as a tracker that makes up a name
        known[name]._fail("open")
        known[name].run = run
        return known[name]

    monkeypatch.setattr(module, "open_tracker", open_tracker)
    return known


def callback(tmp_path, told=None, video=False, film=lambda model, path: path.write_bytes(b"film")):
    told = [] if told is None else told
    tracking = Tracking(("first", "second"), "project", tmp_path, video)
    return Track(tracking, RUN, told.append, film)


def model(cls=NPG):
    return cls("MlpPolicy", "CartPole-v1", n_steps=50, seed=0, device="cpu")


def train(algorithm, track, steps=200, *callbacks):
    with tracked(track) as added:
        algorithm.learn(steps, [*callbacks, *added], log_interval=1)


def test_trackers_get_what_the_log_gets(trackers, tmp_path):
    algorithm = model()
    algorithm.set_logger(configure(str(tmp_path / "csv"), ["csv"]))
    train(algorithm, callback(tmp_path))
    rows = list(csv.DictReader((tmp_path / "csv" / "progress.csv").open()))
    first = trackers["first"]
    assert [step for step, _ in first.logged] == [50, 100, 150, 200, 200]
    for row, (_, values) in zip(rows, first.logged):
        assert {key: float(row[key]) for key in values} == pytest.approx(values)
        assert {"rollout/ep_rew_mean", "time/fps"} <= values.keys()
    assert "train/kl_divergence" in first.logged[-1][1]  # of the last update, after the last dump
    assert "time/iterations" not in first.logged[0][1]  # excluded from TensorBoard as well
    assert trackers["second"].logged == first.logged
    assert first.finished is True and first.run is RUN
    assert len(algorithm.logger.output_formats) == 1  # as it was


class Odd(NPG):
    """Logs whatever is a number, and what is none."""

    def train(self):
        super().train()
        for name, value in ODD.items():
            self.logger.record(name, value)


ODD = {
    "array": np.array([1.5]),
    "nested": np.array([[2]]),
    "tensor": torch.tensor([3.5, 4.5]),  # of which TensorBoard makes a histogram
    "flag": True,
    "word": np.array("word"),
    "several": np.arange(3),
    "object": np.array([None]),
}


def test_anything_that_is_one_number_is_sent_and_nothing_ends_the_training(trackers, tmp_path):
    algorithm = model(Odd)
    train(algorithm, callback(tmp_path), 100)
    assert algorithm.num_timesteps == 100
    sent = {key: value for _, values in trackers["first"].logged for key, value in values.items()}
    numbers = {"array": 1.5, "nested": 2.0, "flag": 1.0}
    assert {key: value for key, value in sent.items() if key in ODD} == numbers


@pytest.mark.parametrize("cls", [NPG, A2C])
def test_the_training_is_the_same(cls, trackers, tmp_path):
    plain = model(cls).learn(200)
    watched = model(cls)
    train(watched, callback(tmp_path, video=True))
    assert equal_tensors(copy_parameters(plain), copy_parameters(watched))
    assert trackers["first"].videos


@pytest.mark.parametrize("where", ["open", "log", "finish"])
@pytest.mark.parametrize("error", [OSError("no network"), SystemExit(1)], ids=["error", "exit"])
def test_a_tracker_that_fails_is_told_once_and_left_out(where, error, trackers, tmp_path):
    told = []
    trackers["first"].fails_in, trackers["first"].error = (where,), error
    algorithm = model()
    train(algorithm, callback(tmp_path, told))
    (line,) = told
    assert line.startswith("first: ") and line.endswith("the run goes on without it")
    assert algorithm.num_timesteps == 200
    assert len(trackers["second"].logged) == 5 and trackers["second"].finished is True
    assert trackers["first"].finished is None


class Interrupt(BaseCallback):
    """Callback that presses Ctrl-C at a step."""

    def _on_step(self):
        if self.num_timesteps == 130:
            raise KeyboardInterrupt
        return True


def test_nothing_is_lost_when_a_training_is_interrupted(trackers, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(model(), callback(tmp_path, video=True), 200, Interrupt())
    first = trackers["first"]
    assert [step for step, _ in first.logged] == [50, 100, 130]
    assert "train/kl_divergence" in first.logged[-1][1]
    assert first.finished is False and first.videos == []


def test_a_video_is_added_if_it_is_asked_for(trackers, tmp_path):
    train(model(), callback(tmp_path, video=True))
    train(model(), callback(tmp_path))
    assert trackers["first"].videos == trackers["second"].videos == [(200, b"film")]


def test_a_video_that_cannot_be_made_loses_nothing(trackers, tmp_path):
    def film(model, path):
        raise RuntimeError("no renderer")

    told = []
    train(model(), callback(tmp_path, told, video=True, film=film))
    assert told == ["video: RuntimeError: no renderer; the run goes on without it"]
    assert trackers["first"].finished is True and trackers["first"].videos == []


def test_no_tracker_is_imported_unless_it_is_asked_for():
    modules = "sb3_course.training, sb3_course.benchmark.execution.train_run, sb3_course.cli.app"
    code = f"import sys, {modules}; print({{'wandb', 'mlflow', 'trackio'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n"
