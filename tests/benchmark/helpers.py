import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import gymnasium
import numpy as np
from stable_baselines3 import A2C

from sb3_course.benchmark.definition.grid import Grid, RunConfig, RunSpec
from sb3_course.benchmark.execution.train_run import attempt
from sb3_course.benchmark.storage.result import Measurement, RunResult

HERE = "tests.benchmark.helpers"
FILES = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.yaml"))
GRIDS = [path for path in FILES if "\nalgorithms:" in path.read_text()]
"""Grids that this project runs."""


class Raises(A2C):
    """Fails in its first update."""

    def train(self):
        raise ZeroDivisionError("made to fail")


class Dies(A2C):
    """Ends its process."""

    def train(self):
        os._exit(7)


class Exits(A2C):
    """Exits as a script does."""

    def train(self):
        raise SystemExit("made to leave")


class Interrupts(A2C):
    """Raises what a user's Ctrl-C raises."""

    def train(self):
        raise KeyboardInterrupt


class Vanishes(A2C):
    """Ends its process, as if all were well."""

    def train(self):
        os._exit(0)


class Hangs(A2C):
    """Never returns."""

    def train(self):
        while True:
            time.sleep(1.0)


class EatsMemory(A2C):
    """Allocates and never frees."""

    def train(self):
        eaten = []
        while True:
            eaten.append(np.ones(2**24))


class NaNRewards(gymnasium.Wrapper):
    """Rewards are NaN."""

    def step(self, action):
        obs, _, terminated, truncated, info = self.env.step(action)
        return obs, float("nan"), terminated, truncated, info


gymnasium.register(
    "NaNRewards-v0",
    entry_point=lambda: NaNRewards(gymnasium.make("CartPole-v1", max_episode_steps=20)),
)


class PassesOn(A2C):
    """Passes its arguments on."""

    def __init__(self, *args, extra=1, **kwargs):
        super().__init__(*args, **kwargs)


def content(**changes) -> dict:
    grid = {
        "name": "tiny",
        "seeds": 2,
        "evaluation": {"every": 100, "episodes": 3},
        "environments": {"CartPole-v1": {"total_timesteps": 200, "n_envs": 2, "backend": "dummy"}},
        "algorithms": {"A2C": {"class": "A2C"}},
    }
    return {**grid, **changes}


def tiny(**changes) -> Grid:
    return Grid.model_validate(content(**changes))


class InThisProcess:
    """Executor that runs in the calling process, without the time that processes take to start."""

    slots = workers = 1

    def __init__(self, *_, **__):
        self._ended = []

    def start(self, spec):
        self._ended.append(attempt(spec))

    def poll(self, seconds):
        ended, self._ended = self._ended, []
        return ended

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def ended(spec: RunSpec, **facts) -> RunResult:
    """Result with every evaluation that is due."""
    n = spec.config.evaluation_episodes
    due = spec.config.evaluation_steps
    measurements = [Measurement(step, step, 0.0, [1.0] * n, [1] * n) for step in due]
    return RunResult(**{"spec": spec, "measurements": measurements, **facts})


def changed(spec: RunSpec, **changes) -> RunSpec:
    config = RunConfig.model_validate({**spec.config.model_dump(), **changes})
    return spec.model_copy(update={"config": config})


@cache
def loaded_by_sb3() -> set[str]:
    """Packages that SB3 loads by itself; until 2.7 matplotlib and pandas are among them."""
    code = "import sys, stable_baselines3; print(*{m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
