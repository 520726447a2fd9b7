"""What the benchmark suite costs beside the runs themselves.

`python benchmarks/speed/overhead.py` does 40 runs of about a second on two processes, and compares
the time from the start of the first to the end of the last with the runs' own seconds shared by
two; then it lists what is left to do of 10,000 finished runs. Last come whole commands, three times
each, with CPU seconds beside wall time as the median and the spread: the report of 500 made-up runs
(10 algorithms, 5 environments, 10 seeds, 50 evaluations of 10 episodes), and texts of `--help`.
With `--commands`, it measures these alone.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import yaml
from rich.console import Console

from sb3_course.benchmark.definition.grid import Grid, RunSpec
from sb3_course.benchmark.execution import runner
from sb3_course.benchmark.execution.executors import LocalProcesses
from sb3_course.benchmark.execution.worker import Outcome, WorkerSettings
from sb3_course.benchmark.statistics.scores import load_references
from sb3_course.benchmark.storage.manifest import configuration
from sb3_course.benchmark.storage.result import Measurement, RunResult, text_of
from sb3_course.benchmark.storage.store import Store

WORKERS, RUNS, FINISHED, REPETITIONS = 2, 40, 10_000, 3


def grid(runs: int, steps: int) -> Grid:
    """Make a grid of short runs.

    :param runs: how many
    :param steps: environment steps of each
    """
    return Grid.model_validate(
        {
            "name": "overhead",
            "seeds": runs,
            "evaluation": {"n_points": 1, "episodes": 1},
            "environments": {"CartPole-v1": {"total_timesteps": steps, "n_envs": 4}},
            "algorithms": {"A2C": {"class": "A2C"}},
        }
    )


class Clocked(LocalProcesses):
    """Notes when runs end."""

    def __init__(self, workers: int, settings: WorkerSettings) -> None:
        super().__init__(workers, settings)
        self.ends: list[tuple[float, float]] = []

    def poll(self, seconds: float) -> list[Outcome]:
        """Collect runs, and note the moment and each run's own seconds."""
        outcomes = super().poll(seconds)
        now = time.perf_counter()
        self.ends += [(now, run.seconds) for run in outcomes if isinstance(run, RunResult)]
        return outcomes


def overhead(folder: Path) -> dict[str, float]:
    """Compare the time that a grid takes, after its processes have started, with its runs' own."""
    specs = grid(RUNS, 6_000).runs()
    executor = Clocked(WORKERS, WorkerSettings(folder / "logs", hours=1.0))
    runner.run_all(specs, Store(folder), executor, Console(quiet=True))
    own = [seconds for _, seconds in executor.ends]
    elapsed = executor.ends[-1][0] - min(end - seconds for end, seconds in executor.ends)
    pure = sum(own) / WORKERS
    return {"run": pure * WORKERS / RUNS, "pure": pure, "elapsed": elapsed, "ratio": elapsed / pure}


def skipping(folder: Path) -> float:
    """Return the seconds that it takes to see that 10,000 runs are finished."""
    store, many = Store(folder), grid(FINISHED, 100)
    (folder / "runs").mkdir(parents=True)
    for spec in many.runs():
        due, n = spec.config.evaluation_steps, spec.config.evaluation_episodes
        measurements = [Measurement(step, step, 0.1, [1.5] * n, [9] * n) for step in due]
        store.path(spec).write_text(text_of(RunResult(spec=spec, measurements=measurements)))
    started = time.perf_counter()
    assert not runner.to_do(many.runs(), store)
    return time.perf_counter() - started


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


def command(*arguments: str) -> dict[str, str]:
    """Return the CPU and the wall seconds of a command, imports included: median [least, most]."""
    code = "from sb3_course.cli.app import main; main()"
    cpu, wall = [], []
    for _ in range(REPETITIONS):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
        wall.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"cpu": spread(cpu), "wall": spread(wall)}


def spread(seconds: list[float]) -> str:
    """Return the median of times, and the least and the most of them."""
    return f"{median(seconds):.2f} [{min(seconds):.2f}, {max(seconds):.2f}]"


def report() -> dict[str, object]:
    """Return the seconds from stored runs to the page of a report, and the page's megabytes."""
    of_many = Grid.model_validate(
        {
            "name": "speed",
            "seeds": 10,
            "evaluation": {"n_points": 49, "episodes": EPISODES},
            "environments": {name: {"total_timesteps": 1_000_000} for name in ENVIRONMENTS},
            "algorithms": {f"Algorithm {i}": {"class": "A2C"} for i in range(10)},
        }
    )
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name) / of_many.name)
        for spec in of_many.runs():
            store.write(made_up(spec, generator))
        store.pack()
        file = Path(name) / "speed.yaml"
        file.write_text(yaml.safe_dump(configuration(of_many), sort_keys=False))
        seconds = command("report", str(file), "--results", name)
        size = (store.folder / "report.html").stat().st_size / 1e6
    return {"report": seconds, "page_megabytes": round(size, 3)}


def main() -> None:
    """Measure and print."""
    measured: dict[str, object] = {}
    if "--commands" not in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as name:
            measured |= {k: round(v, 3) for k, v in overhead(Path(name) / "overhead").items()}
            measured["skipping_10000"] = round(skipping(Path(name) / "many"), 3)
    measured |= report()
    for arguments in ([], ["train"], ["report"]):
        measured[" ".join([*arguments, "--help"])] = command(*arguments, "--help")
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
