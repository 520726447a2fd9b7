"""What has been run: one file a run, moved into place whole."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError

from sb3_course.benchmark.errors import UserError
from sb3_course.benchmark.grid import RunSpec
from sb3_course.benchmark.result import RunResult
from sb3_course.common.files import write_atomically

COLUMNS = [
    "algorithm",
    "environment",
    "seed",
    "step",
    "return_mean",
    "return_std",
    "episode_length",
    "wall_time",
    "num_timesteps",
    "episode_returns",
]


def write_whole(path: Path, text: str) -> None:
    """Write a text so that nobody ever sees half of it.

    :param path: the file
    :param text: its content
    """
    write_atomically(path, text.encode())


class Store:
    """The results of one grid: finished runs in ``runs``, failed ones in ``failed``.

    :param folder: ``results/GRID``
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, spec: RunSpec) -> Path:
        """Return the file of a finished run.

        :param spec: the run
        """
        return self.folder / "runs" / f"{spec.id}.json"

    def failure_path(self, spec: RunSpec) -> Path:
        """Return the file of a failed run.

        :param spec: the run
        """
        return self.folder / "failed" / f"{spec.id}.json"

    def write(self, result: RunResult) -> None:
        """Keep a result; a run that finished is no longer among the failed ones.

        :param result: of a finished or a failed run
        """
        failed = result.failure is not None
        path = self.failure_path(result.spec) if failed else self.path(result.spec)
        write_whole(path, result.model_dump_json() + "\n")
        if not failed:
            self.failure_path(result.spec).unlink(missing_ok=True)

    def finished(self) -> set[str]:
        """Name the runs that finished, by their ids; no file is opened."""
        return _ids(self.folder / "runs")

    def failed_at(self, spec: RunSpec) -> int | None:
        """Return when a run failed, in nanoseconds, None if it did not.

        :param spec: the run
        """
        try:
            return self.failure_path(spec).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def failed(self) -> set[str]:
        """Name the runs that failed and have not finished since, by their ids."""
        return _ids(self.folder / "failed") - self.finished()

    def read(self, specs: Iterable[RunSpec]) -> list[RunResult]:
        """Read the results there are, in the order of the runs.

        :param specs: the runs
        """
        finished, failed = self.finished(), self.failed()
        return [
            _read(self.path(spec) if spec.id in finished else self.failure_path(spec))
            for spec in specs
            if spec.id in finished | failed
        ]

    def older_than(self, page: Path) -> bool:
        """Say whether a page was written after the last result.

        :param page: such as a report
        """
        folders = [f for f in (self.folder / "runs", self.folder / "failed") if f.is_dir()]
        changed = max((f.stat().st_mtime_ns for f in folders), default=0)
        return page.exists() and page.stat().st_mtime_ns > changed

    def failures(self, specs: Iterable[RunSpec]) -> list[RunResult]:
        """Read the failed runs, in the order of the runs.

        :param specs: the runs
        """
        failed = self.failed()
        return [_read(self.failure_path(spec)) for spec in specs if spec.id in failed]


def _ids(folder: Path) -> set[str]:
    names = os.listdir(folder) if folder.is_dir() else []
    return {n.removesuffix(".json") for n in names if n.endswith(".json") and n[0] != "."}


def _read(path: Path) -> RunResult:
    try:
        return RunResult.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise UserError(
            f"{path} is no result of this program ({error.error_count()} mistakes); "
            "delete it, and the run is done again"
        ) from error


def tidy(results: Iterable[RunResult]) -> pd.DataFrame:
    """Put results into one table with a row for each evaluation, sorted.

    :param results: results; failed runs give no row
    :return: a table with the columns :data:`COLUMNS`; returns are undiscounted and raw, those of
        single episodes to six digits, steps are environment steps, times are seconds of training
    """
    rows = [
        {
            "algorithm": result.spec.algorithm,
            "environment": result.spec.environment,
            "seed": result.spec.seed,
            "step": m.step,
            "return_mean": float(np.mean(m.returns)),
            "return_std": float(np.std(m.returns)),
            "episode_length": float(np.mean(m.lengths)),
            "wall_time": round(m.wall_time, 3),
            "num_timesteps": m.num_timesteps,
            "episode_returns": json.dumps([float(f"{r:.6g}") for r in m.returns]),
        }
        for result in results
        for m in result.measurements
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(COLUMNS[:4], ignore_index=True)
