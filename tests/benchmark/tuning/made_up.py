"""Runs of trials that are made up: how good a setting is follows from its numbers and the seed."""

import numpy as np

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.storage.result import Measurement, RunResult
from sb3_course.benchmark.storage.store import Store
from sb3_course.benchmark.tuning import tuner
from sb3_course.benchmark.tuning.study import SharedStudy
from sb3_course.benchmark.tuning.subject import subjects_of
from tests.benchmark.helpers import content

RANGES = {
    "gamma": {"low": 0.8, "high": 0.999},
    "n_steps": [4, 8, 16],
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
}


def searched(ranges=None, environments=("CartPole-v1",), algorithms=None, **search):
    """Return the content of a grid with a search."""
    one = {"total_timesteps": 400, "n_envs": 2, "backend": "dummy"}
    search = {
        "algorithms": {"A2C": ranges or RANGES},
        "trials": 8,
        "seeds": 3,
        "confirm": {"best": 2, "seeds": 2},
        **search,
    }
    return content(
        evaluation={"every": 100, "episodes": 2},
        environments=dict.fromkeys(environments, one),
        algorithms=algorithms or {"A2C": {"class": "A2C"}},
        search=search,
    )


def quality(spec):
    """Return of a run: best at γ 0.9, better with more steps, and of its seed."""
    params = spec.config.params
    noise = np.random.default_rng([spec.seed, len(spec.environment)]).normal()
    gamma, steps = params.get("gamma", 0.99), params.get("n_steps") or 5
    return 100 - 1000 * (gamma - 0.9) ** 2 + steps / 4 + noise


def made(spec, value=None):
    """Return the result of a run, which learns evenly."""
    value = quality(spec) if value is None else value
    total, n = spec.config.total_timesteps, spec.config.evaluation_episodes
    ends = [
        Measurement(s, s, s / 100, [value * s / total] * n, [9] * n)
        for s in spec.config.evaluation_steps
    ]
    return RunResult(spec=spec, measurements=ends, seconds=1.0)


class MadeUp:
    """Executor that makes results up, and keeps what it was asked for."""

    def __init__(self, slots=1, fails=lambda spec: False, stops_after=None, made_with=None):
        self.slots = self.workers = slots
        self.started, self._ended = [], []
        self._fails, self._stops_after, self._made_with = fails, stops_after, made_with

    def start(self, spec):
        if self._stops_after is not None and len(self.started) >= self._stops_after:
            raise KeyboardInterrupt
        assert spec.id not in {r.spec.id for r in self._ended}, "twice at a time"
        self.started.append(spec)
        failure = "ValueError: made to fail" if self._fails(spec) else None
        result = RunResult(spec=spec, failure=failure) if failure else made(spec)
        self._ended.append(result.model_copy(update={"made_with": self._made_with}))

    def poll(self, seconds):
        ended, self._ended = self._ended, []
        return ended

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended = []


def tune(monkeypatch, folder, grid, executor=None, **options):
    """Tune with made-up runs; return what was found and the executor."""
    executor = executor or MadeUp()
    monkeypatch.setattr(tuner, "make_executor", lambda *_, **__: executor)
    return tuner.tune_grid(grid, results=folder, **options), executor


def subject(**search):
    """Return what the only study of a grid is about."""
    (only,) = subjects_of(load_grid(searched(**search)), {})
    return only


def study(storage, folder, **search):
    return SharedStudy(storage, folder, subject(**search))


def store(folder):
    return Store(folder / "tiny" / "tuning")
