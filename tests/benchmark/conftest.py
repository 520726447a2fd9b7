from pathlib import Path

import pytest
import yaml
from stable_baselines3 import A2C

from sb3_course.benchmark.grid import Grid, RunConfig, RunSpec


class Raises(A2C):
    """Fails in its first update."""

    def train(self):
        raise ZeroDivisionError("made to fail")


class Dies(A2C):
    """Takes its process with it."""

    def train(self):
        import os

        os._exit(7)


def tiny_config(**changes) -> dict:
    config = {
        "name": "tiny",
        "seeds": 2,
        "evaluation": {"every": 100, "episodes": 3},
        "environments": {"CartPole-v1": {"total_timesteps": 200, "n_envs": 2, "backend": "dummy"}},
        "algorithms": {"A2C": {"class": "A2C"}},
    }
    return {**config, **changes}


@pytest.fixture
def grid() -> Grid:
    return Grid.model_validate(tiny_config())


@pytest.fixture
def spec(grid) -> RunSpec:
    return grid.runs()[0]


@pytest.fixture
def write_grid(tmp_path):
    def write(**changes) -> Path:
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump(tiny_config(**changes)))
        return path

    return write


def changed(spec: RunSpec, **changes) -> RunSpec:
    config = RunConfig.model_validate({**spec.config.model_dump(), **changes})
    return spec.model_copy(update={"config": config})
