"""What a run costs the suite itself, by the number of runs: store, locks, status and report.

`python benchmarks/cluster/costs.py` makes up 100, 1,000 and 10,000 finished runs (26 evaluations of
10 episodes) and measures what a command does with them, into `results/cluster_costs/costs.csv`, in
CPU seconds, since wall time is that of a machine with other work. `--most 1000` stops earlier.
"""

import csv
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sb3_course.benchmark.definition.grid import Grid, RunSpec
from sb3_course.benchmark.execution import runner
from sb3_course.benchmark.execution.clusters.shared_folder import unshared
from sb3_course.benchmark.execution.heartbeat import beat, heartbeat_file, heartbeats, logs_folder
from sb3_course.benchmark.execution.run_queue import ByteLocks, RunLocks, RunQueue
from sb3_course.benchmark.storage.manifest import configuration
from sb3_course.benchmark.storage.result import Measurement, RunResult
from sb3_course.benchmark.storage.store import Store

SIZES = (100, 1_000, 10_000)
ENVIRONMENTS = ("CartPole-v1", "HalfCheetah-v4", "Hopper-v4", "Walker2d-v4", "Ant-v4")
ALGORITHMS, EVALUATIONS, EPISODES = 10, 26, 10
"""A grid may have 300,000 evaluations: 29 in each of 10,000 runs."""
OUT = Path(__file__).resolve().parents[2] / "results" / "cluster_costs" / "costs.csv"
Row = tuple[int, str, float, str]


def grid(n: int) -> Grid:
    """Return a grid of n runs."""
    return Grid.model_validate(
        {
            "name": "costs",
            "seeds": n // (ALGORITHMS * len(ENVIRONMENTS)),
            "evaluation": {"n_points": EVALUATIONS - 1, "episodes": EPISODES},
            "environments": {name: {"total_timesteps": 1_000_000} for name in ENVIRONMENTS},
            "algorithms": {f"Algorithm {i}": {"class": "A2C"} for i in range(ALGORITHMS)},
        }
    )


def made_up(spec: RunSpec, generator: np.random.Generator) -> RunResult:
    """Return a run that learns something."""
    height = generator.uniform(100, 1000)
    measurements = []
    for step in spec.config.evaluation_steps:
        learned = height * (1 - np.exp(-4 * step / spec.config.total_timesteps))
        returns = learned + 50 * generator.normal(size=EPISODES)
        measurements.append(
            Measurement(step, step, step / 1e4, returns.tolist(), [1000] * EPISODES)
        )
    return RunResult(spec=spec, measurements=measurements, seconds=100.0)


def cpu(action: Callable[[], Any]) -> float:
    """Return the CPU seconds of this process for an action."""
    before = time.process_time()
    action()
    return time.process_time() - before


def hold(folder: Path, specs: list[RunSpec], ready: Any) -> None:
    """Lock runs in another process, until it is killed."""
    locks = RunLocks(folder)
    for spec in specs:
        locks.acquire(spec)
    ready.send(None)
    time.sleep(1e6)


def store_costs(n: int, specs: list[RunSpec], store: Store) -> Iterator[Row]:
    """Measure what writing, reading and packing runs costs."""
    generator = np.random.default_rng(0)
    results = [made_up(spec, generator) for spec in specs]
    yield n, "store: write a run", cpu(lambda: [store.write(r) for r in results]) / n, "s"
    size = sum(file.stat().st_size for file in (store.folder / "runs").glob("*.json"))
    yield n, "store: size of a run", size / n / 1000, "kB"
    yield (
        n,
        "command: see what is done, one file a run",
        cpu(lambda: runner.to_do(specs, store)),
        "s",
    )
    yield n, "store: pack", cpu(store.pack), "s"
    again = Store(store.folder)
    yield n, "command: see what is done, packed", cpu(lambda: runner.to_do(specs, again)), "s"


def lock_costs(n: int, specs: list[RunSpec], folder: Path) -> Iterator[Row]:
    """Measure the locks: taken, released, and asked for in vain."""
    with RunLocks(folder) as locks:

        def take_and_release() -> None:
            for spec in specs:
                locks.acquire(spec)
                locks.release(spec)

        yield n, "locks: take and release", cpu(take_and_release) / n, "s"
    yield n, "locks: probe at the start", cpu(lambda: ByteLocks(folder / ".probe")), "s"
    yield n, "locks: look at the mount", cpu(lambda: unshared(folder)), "s"
    context = get_context("fork")
    mine, theirs = context.Pipe()
    other = context.Process(target=hold, args=[folder, specs, theirs])
    other.start()
    mine.recv()
    empty = Store(folder / "none")
    with RunLocks(folder) as locks:
        queue = RunQueue(specs, empty, locks)
        yield n, "queue: a look at runs that others have", cpu(lambda: list(queue.next(1))) / n, "s"
    other.kill()
    other.join()


def heartbeat_costs(n: int, specs: list[RunSpec], folder: Path) -> Iterator[Row]:
    """Measure heartbeats: written by runs, and read by all who show progress."""
    logs = logs_folder(folder)
    logs.mkdir(exist_ok=True)
    files = [heartbeat_file(logs, spec.id) for spec in specs]
    yield n, "heartbeat: write", cpu(lambda: [beat(file, 5, 1.0) for file in files]) / n, "s"
    yield n, "heartbeat: read all", cpu(lambda: list(heartbeats(logs))), "s"
    for file in files:
        file.unlink()


def command_costs(n: int, folder: Path, words: list[str]) -> Iterator[Row]:
    """Measure a whole command, with the imports, in a process of its own."""
    code = "from sb3_course.cli.app import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=folder, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, words
    yield n, f"{words[0]}: the command", usage.ru_utime + usage.ru_stime, "s"
    yield n, f"{words[0]}: memory", usage.ru_maxrss / 1024, "MiB"


def costs(n: int) -> Iterator[Row]:
    """Measure everything with n runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked = grid(n)
        (folder / "costs.yaml").write_text(yaml.safe_dump(configuration(asked), sort_keys=False))
        specs, store = asked.runs(), Store(folder / "results" / "costs")
        yield n, "grid: list the runs", cpu(lambda: [spec.id for spec in asked.runs()]), "s"
        yield from store_costs(n, specs, store)
        yield from lock_costs(n, specs, store.folder)
        yield from heartbeat_costs(n, specs, store.folder)
        yield from command_costs(n, folder, ["status", "costs.yaml"])
        yield from command_costs(n, folder, ["report", "costs.yaml"])
        page = store.folder / "report.html"
        yield n, "report: size of the page", page.stat().st_size / 1e6, "MB"


def main() -> None:
    """Measure, print and store."""
    parser = ArgumentParser()
    parser.add_argument("--most", type=int, default=max(SIZES))
    most = parser.parse_args().most
    rows = []
    for n in SIZES:
        if n > most:
            break
        for row in costs(n):
            rows.append(row)
            print(f"{row[0]:>7,}  {row[1]:<45} {row[2]:.3g} {row[3]}", flush=True)
        write(rows)


def write(rows: list[Row]) -> None:
    """Write what has been measured so far, and the table that the page on it shows."""
    OUT.parent.mkdir(exist_ok=True)
    with OUT.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["runs", "what", "value", "unit"])
        writer.writerows([n, what, f"{value:.3g}", unit] for n, what, value, unit in rows)
    OUT.with_suffix(".md").write_text(table(rows))


def table(rows: list[Row]) -> str:
    """Return the figures as a table, one column for each number of runs."""
    sizes = sorted({n for n, *_ in rows})
    values = {(what, n): shown(value, unit) for n, what, value, unit in rows}
    lines = [
        "| | " + " | ".join(f"{n:,} runs" for n in sizes) + " |",
        "|---|" + "---|" * len(sizes),
    ]
    for what in dict.fromkeys(what for _, what, *_ in rows):
        lines.append(f"| {what} | " + " | ".join(values.get((what, n), "") for n in sizes) + " |")
    return "\n".join(lines) + "\n"


def shown(value: float, unit: str) -> str:
    """Return a figure with a unit that suits its size."""
    if unit != "s":
        return f"{value:.0f} {unit}" if value >= 100 else f"{value:.2g} {unit}"
    scales = ((1.0, "s"), (1e3, "ms"), (1e6, "µs"))
    factor, name = next((scale for scale in scales if value * scale[0] >= 1), scales[-1])
    return f"{float(f'{value * factor:.2g}'):g} {name}"


if __name__ == "__main__":
    main()
