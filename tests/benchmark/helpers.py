import os

from stable_baselines3 import A2C

from sb3_course.benchmark.backends import progress_file
from sb3_course.benchmark.grid import Grid, RunConfig, RunSpec
from sb3_course.benchmark.run import attempt

HERE = "tests.benchmark.helpers"


class Raises(A2C):
    """Fails in its first update."""

    def train(self):
        raise ZeroDivisionError("made to fail")


class Dies(A2C):
    """Takes its process with it."""

    def train(self):
        os._exit(7)


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


def in_this_process(specs, folder, workers=1):
    """Be a backend without the seconds that processes take to start."""
    for spec in specs:
        yield [attempt(spec, progress_file(folder, spec))]


def changed(spec: RunSpec, **changes) -> RunSpec:
    config = RunConfig.model_validate({**spec.config.model_dump(), **changes})
    return spec.model_copy(update={"config": config})
