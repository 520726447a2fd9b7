"""Run what a grid still misses, and keep what comes of it."""

import json
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from sb3_course.benchmark.backends import Backend, progress_file
from sb3_course.benchmark.errors import UserError, unknown
from sb3_course.benchmark.grid import Grid, RunSpec
from sb3_course.benchmark.progress import display
from sb3_course.benchmark.provenance import git_commit, machine, versions
from sb3_course.benchmark.report import configuration, read_manifest
from sb3_course.benchmark.run import RunResult
from sb3_course.benchmark.store import Store, write_whole

SELECTORS = ("algorithm", "environment", "seed")


def select(specs: Sequence[RunSpec], conditions: Sequence[str]) -> list[RunSpec]:
    """Keep the runs that match conditions such as ``algorithm=A2C`` or ``seed=0``.

    :param specs: the runs
    :param conditions: those with the same key are alternatives, different keys all have to match
    :raises UserError: if a condition matches nothing
    """
    wanted: dict[str, set[str]] = {}
    for condition in conditions:
        key, _, value = condition.partition("=")
        if key not in SELECTORS:
            raise UserError(unknown("key of --only", key, SELECTORS) + " (as in seed=0)")
        values = {str(getattr(spec, key)) for spec in specs}
        if value not in values:
            raise UserError("--only: " + unknown(key, value, values))
        wanted.setdefault(key, set()).add(value)
    return [
        spec
        for spec in specs
        if all(str(getattr(spec, key)) in values for key, values in wanted.items())
    ]


def to_do(specs: Sequence[RunSpec], store: Store) -> list[RunSpec]:
    """List the runs that have not finished, the longest first, so that workers end together.

    :param specs: the runs
    :param store: the results so far; failed runs are to do again
    """
    finished = {r.spec.id for r in store.read(specs) if r.failure is None}
    missing = [spec for spec in specs if spec.id not in finished]
    return sorted(missing, key=_length, reverse=True)


def _length(spec: RunSpec) -> tuple[float, int]:
    """Compare runs by vector steps, each of which costs a pass through the policy, then steps."""
    return spec.config.total_timesteps / spec.config.n_envs, spec.config.total_timesteps


def run_all(
    specs: Sequence[RunSpec], store: Store, backend: Backend, console: Console
) -> list[RunResult]:
    """Run, and write each result as it lands.

    :param specs: the runs, in the order to start them
    :param store: where results go
    :param backend: where runs execute
    :param console: where progress is shown
    :return: the results
    """
    folder = store.folder / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    results: list[RunResult] = []
    try:
        with (
            display(console, list(specs), folder) as shown,
            closing(backend(specs, folder)) as batches,  # type: ignore[type-var]
        ):
            for batch in batches:
                for result in batch:
                    store.write(result)
                    progress_file(folder, result.spec).unlink(missing_ok=True)
                    shown.landed(result)
                results += batch
                shown.tick()
    finally:
        for spec in specs:
            progress_file(folder, spec).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
    return results


def write_manifest(
    grid: Grid, folder: Path, command: str, workers: int, started: float
) -> dict[str, Any]:
    """Record with what a grid was run.

    :param grid: the grid
    :param folder: ``results/GRID``
    :param command: how it was started; the commands of resumed runs add up
    :param workers: how many runs went at a time
    :param started: ``time.time()`` at its start; durations add up as well
    """
    before = read_manifest(folder) or {}
    commands = dict.fromkeys([*before.get("commands", []), command])
    manifest = {
        "grid": configuration(grid),
        "commands": list(commands),
        "git_commit": git_commit(),
        "versions": versions(),
        "machine": machine(),
        "workers": workers,
        "duration_seconds": round(before.get("duration_seconds", 0) + time.time() - started, 1),
    }
    write_whole(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return manifest
