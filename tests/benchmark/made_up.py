"""Made-up results of a grid, for tables and figures."""

from dataclasses import replace

import numpy as np

from sb3_course.benchmark.definition.grid import Grid, RunSpec
from sb3_course.benchmark.reporting.content import Record
from sb3_course.benchmark.statistics.analysis import Analysis
from sb3_course.benchmark.storage.result import Measurement, RunResult
from sb3_course.benchmark.storage.store import Store

ENVIRONMENTS = (
    "CartPole-v1",
    "HalfCheetah-v4",
    "Hopper-v4",
    "Ant-v4",
    "InvertedDoublePendulum-v4",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
    "Swimmer-v4",
)
ALGORITHMS = (
    "NPG",
    "BatchActorCritic",
    "REINFORCE (optimal baseline)",
    "TRPO",
    "ISPG",
    "OnlineActorCritic",
    "PPO",
    "A2C",
    "A method of mine",
    "REINFORCE (value baseline)",
    "SAC",
    "TD3",
)


def grid(n_algorithms=3, n_environments=2, seeds=3, **changes) -> Grid:
    content = {
        "name": "made-up",
        "seeds": seeds,
        "evaluation": {"n_points": 4, "episodes": 3},
        "environments": {
            name: {"total_timesteps": 1000 * (i + 1)}
            for i, name in enumerate(ENVIRONMENTS[:n_environments])
        },
        "algorithms": {name: {"class": "A2C"} for name in ALGORITHMS[:n_algorithms]},
    }
    return Grid.model_validate({**content, **changes})


def finished(spec: RunSpec, generator: np.random.Generator, until=1.0) -> RunResult:
    """Make up a run which was measured up to a fraction of its budget."""
    height = generator.uniform(50, 4000)
    steps = [s for s in spec.config.evaluation_steps if s <= until * spec.config.total_timesteps]
    measurements = [
        Measurement(
            s, s, s / 100, generator.normal(height * s / steps[-1], 20, 3).tolist(), [9] * 3
        )
        for s in steps
    ]
    return RunResult(spec=spec, measurements=measurements, seconds=1.0)


def results(of: Grid) -> list[RunResult]:
    generator = np.random.default_rng(0)
    return [finished(spec, generator) for spec in of.runs()]


def written(folder, results):
    """Store results, each in a file of its own."""
    for result in results:
        Store(folder).write(result)
    return results


def record(of: Grid, results: list[RunResult], manifest=None) -> Record:
    """Return how the runs of a grid were made."""
    return Record(results, len(of.runs()), manifest or {}, f"name: {of.name}")


def changed(analysis: Analysis, **tables) -> Analysis:
    """Return an analysis with some other tables."""
    return replace(analysis, **tables)


def read(folder):
    """Return the results of the runs of the plain made-up grid in a folder."""
    return Store(folder).read(grid().runs())


def single(folder):
    """Return the names of the files of single runs."""
    return sorted(path.name for path in (folder / "runs").glob("*.json"))


def lines(folder):
    """Return the lines of the file of all runs."""
    return (folder / "runs.jsonl").read_text().splitlines(keepends=True)
