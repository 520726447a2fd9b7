"""How long a report takes, from stored runs to page: 10 algorithms, 5 environments, 10 seeds.

    python benchmarks/speed/report_speed.py

The runs are made up (noise around curves that level off), 50 evaluations of 10 episodes each; they
and their report are written to a temporary folder and removed again.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from sb3_course.benchmark.definition.grid import Grid, RunSpec
from sb3_course.benchmark.reporting.report import publish
from sb3_course.benchmark.statistics.scores import load_references
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.evaluation import Measurement

ENVIRONMENTS = ("CartPole-v1", "HalfCheetah-v4", "Hopper-v4", "Walker2d-v4", "Ant-v4")
EPISODES = 10


def made_up(spec: RunSpec, generator: np.random.Generator) -> RunResult:
    """Make up a run that learns something."""
    scale = load_references().environments[spec.environment]
    height = generator.uniform(0.2, 1.0)
    measurements = []
    for step in spec.config.evaluation_steps:
        learned = height * (1 - np.exp(-4 * step / spec.config.total_timesteps))
        scores = learned + 0.1 * generator.normal(size=EPISODES)
        returns = scale.random + scores * (scale.expert - scale.random)
        measurements.append(
            Measurement(step, step, step / 10_000, returns.tolist(), [1000] * EPISODES)
        )
    return RunResult(spec=spec, measurements=measurements, seconds=100.0)


def main() -> None:
    """Make up the runs, and time their report."""
    grid = Grid.model_validate(
        {
            "name": "speed",
            "seeds": 10,
            "evaluation": {"n_points": 49, "episodes": EPISODES},
            "environments": {name: {"total_timesteps": 1_000_000} for name in ENVIRONMENTS},
            "algorithms": {f"Algorithm {i}": {"class": "A2C"} for i in range(10)},
        }
    )
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for spec in grid.runs():
            store.write(made_up(spec, generator))
        started = time.perf_counter()
        page = publish(grid, store)
        seconds = time.perf_counter() - started
        size = page.stat().st_size / 1e6
    print(f"{len(grid.runs())} runs: report in {seconds:.1f} s, page of {size:.1f} MB")


if __name__ == "__main__":
    main()
