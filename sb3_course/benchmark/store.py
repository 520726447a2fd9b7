"""What has been run: one file a run, moved into place whole."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from sb3_course.benchmark.grid import RunSpec
from sb3_course.benchmark.run import RunResult

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
    """Write a file so that nobody ever sees half of it.

    :param path: the file
    :param text: its content
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


class Store:
    """The results of one grid.

    :param folder: ``results/GRID``
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, spec: RunSpec) -> Path:
        """Return the file of a run.

        :param spec: the run
        """
        return self.folder / "runs" / f"{spec.id}.json"

    def write(self, result: RunResult) -> None:
        """Keep a result.

        :param result: of a finished or a failed run
        """
        write_whole(self.path(result.spec), result.model_dump_json(indent=1) + "\n")

    def read(self, specs: Iterable[RunSpec]) -> list[RunResult]:
        """Read the results there are, in the order of the runs.

        :param specs: the runs
        """
        paths = (self.path(spec) for spec in specs)
        return [RunResult.model_validate_json(p.read_text()) for p in paths if p.exists()]


def tidy(results: Iterable[RunResult]) -> pd.DataFrame:
    """Put results into one table with a row for each evaluation, sorted.

    :param results: results; failed runs give no row
    :return: a table with the columns :data:`COLUMNS`; returns are undiscounted and raw,
        steps are environment steps, times are seconds of training
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
            "episode_returns": json.dumps(m.returns),
        }
        for result in results
        for m in result.measurements
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(COLUMNS[:4], ignore_index=True)
