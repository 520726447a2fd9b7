"""Measure what the regression tests catch: each planted bug on each task.

    python benchmarks/regression/power.py GRID --seeds 10 --workers 2

trains every task of a grid with every bug that it can have, and writes the returns to
`results/GRID/planted_bugs.jsonl` and the probabilities to `results/GRID/power.md`. An interrupted
command continues where it was; finished runs are kept as long as the grid's settings stay.

The probabilities are exact for the laws of the stored runs and of the runs with the bug, without
smoothing (`rank_test.alarm_probability`): no more simulation is needed than the runs themselves.
"""

import argparse
import json
import multiprocessing
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from planted_bugs import plants_of
from rich.progress import track

from sb3_course.benchmark.definition.grid import Grid, RunSpec, load_grid
from sb3_course.benchmark.execution.train_run import attempt
from sb3_course.benchmark.statistics import regression
from sb3_course.benchmark.statistics.hypothesis_tests.rank_test import (
    alarm,
    alarm_probability,
    critical_value,
    size,
)
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
SEEDS_FROM = 1000
"""First seed of the runs with a bug: none is stored."""
HALF = "half of the gain lost"

Job = tuple[str, RunSpec]


def planted_run(job: Job) -> dict[str, Any]:
    """Train one run with a bug.

    :param job: Name of the bug, and the run without it
    :return: Names, seed, id of the run and its summary; None where the run failed
    """
    bug, spec = job
    with plants_of(spec.config)[bug](spec.config) as config:
        result = attempt(spec.model_copy(update={"config": config}))
    summary = None if result.failure else regression.summary(result)
    return {"run": spec.id, "task": list(spec.names), "bug": bug, "summary": summary}


def jobs_of(grid: Grid, seeds: int) -> list[Job]:
    """Return all runs of a grid with all bugs.

    :param grid: Grid of a regression test
    :param seeds: Number of runs of each bug on each task
    """
    seeded = grid.model_copy(update={"seeds": list(range(SEEDS_FROM, SEEDS_FROM + seeds))})
    return [(bug, spec) for spec in seeded.runs() for bug in plants_of(spec.config)]


def train(jobs: Iterable[Job], file: Path, workers: int) -> list[dict[str, Any]]:
    """Train the runs that are missing in a file, and return all of them.

    :param jobs: Bugs and runs
    :param file: File with a line of JSON for each finished run
    :param workers: Number of processes
    """
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    wanted = {(bug, spec.id): (bug, spec) for bug, spec in jobs}
    kept = {(line["bug"], line["run"]): line for line in lines}
    kept = {key: line for key, line in kept.items() if key in wanted}
    todo = [job for key, job in wanted.items() if key not in kept]
    file.write_text("".join(json.dumps(line) + "\n" for line in kept.values()))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool, file.open("a") as out:
        runs = pool.map(planted_run, todo)
        for line in track(runs, f"{len(kept)} runs are done, these are left", total=len(todo)):
            out.write(json.dumps(line) + "\n")
            out.flush()
            kept[str(line["bug"]), str(line["run"])] = line
    return list(kept.values())


def table(
    stored: dict[regression.Task, list[RunResult]], lines: list[dict[str, Any]], k: int
) -> str:
    """Return the probabilities of false alarms and of alarms as a table in Markdown.

    A run that fails is caught, whatever its returns. A mark stands for what is caught by the first
    k runs with the bug themselves.

    :param stored: Stored runs of each task
    :param lines: Runs with bugs
    :param k: Number of new runs in a comparison
    """
    found: dict[tuple[str, regression.Task], list[float | None]] = defaultdict(list)
    for line in lines:
        algorithm, environment = line["task"]
        found[str(line["bug"]), (algorithm, environment)].append(line["summary"])
    bugs = list(dict.fromkeys(bug for bug, _ in found))
    false_alarm = regression.FALSE_ALARM / len(stored)
    n = min(len(runs) for runs in stored.values()) - k
    rows, alarms = [], 0.0
    for task, runs in stored.items():
        results = np.array([regression.summary(run) for run in runs])
        others = results[k:]
        alarms += (false := alarm_probability(others, results, k, false_alarm))
        cells = []
        for bug in bugs:
            summaries = found.get((bug, task), [])
            finished = [value for value in summaries if value is not None]
            share = len(finished) / len(summaries) if summaries else 0.0
            missed = (
                share**k * (1 - alarm_probability(others, finished, k, false_alarm))
                if finished
                else 0.0
            )
            new = summaries[:k]
            caught = None in new or bool(new and alarm(others, np.array(new), false_alarm))
            cells.append(f"{1 - missed:.3f}{' ✓' if caught else ''}" if summaries else "")
        _, half = regression.powers(runs, k, false_alarm)
        rows.append([" on ".join(task), *cells, f"{half:.3f}", f"{false:.0e}"])
    head = ["task", *bugs, HALF, "false alarm"]
    exact = 2 * len(stored) * size(n, k, critical_value(n, k, false_alarm / 2))
    text = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(
        [
            f"{k} new runs against {n} stored ones of other seeds, {len(stored)} tasks. The "
            f"probability of one or more false alarms is at most {exact:.1e}, whatever the law of "
            f"returns; by the stored law, without smoothing, it is {alarms:.1e}.",
            "",
            "A bug's probability is that of the law of its runs, of which there are "
            f"{len(lines) // len(found)}: 1.000 is not certainty. ✓ marks what was caught when "
            f"{k} runs were trained with the bug and compared.",
            "",
            *text,
            "",
        ]
    )


def main() -> None:
    """Read the command line, train what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grid", help="name of a grid in benchmarks/regression, as in dilemmas")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each bug on each task")
    parser.add_argument("--workers", type=int, default=2, help="number of processes")
    parser.add_argument("--k", type=int, default=8, help="new runs in a comparison")
    given = parser.parse_args()
    grid = load_grid(ROOT / "benchmarks" / "regression" / f"{given.grid}.yaml")
    folder = ROOT / "results" / grid.name
    stored = regression.stored_tasks(grid, Store(folder), given.k)
    lines = train(jobs_of(grid, given.seeds), folder / "planted_bugs.jsonl", given.workers)
    text = table(stored, lines, given.k)
    (folder / "power.md").write_text(f"# What the regression test catches\n\n{text}")
    print(text)


if __name__ == "__main__":
    main()
