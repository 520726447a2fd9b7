"""Stored results in the layout of RL Zoo's log folder, so that its plot scripts read our runs."""

import io
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_course.benchmark.storage.derived import replace_files
from sb3_course.common.files import told_apart

if TYPE_CHECKING:
    from sb3_course.benchmark.storage.result import RunResult

FILE = "evaluations.npz"


def write_zoo(results: "Iterable[RunResult]", folder: Path) -> None:
    """Write ``ALGORITHM/ENVIRONMENT_K/evaluations.npz`` for every finished run.

    The files are those of SB3's ``EvalCallback``: ``timesteps`` of shape (n_evaluations,), the
    declared environment steps; ``results``, undiscounted raw returns, and ``ep_lengths``, steps,
    both of shape (n_evaluations, n_episodes), and ``successes`` of the same shape where every
    evaluation has measured ``is_success``. K counts an algorithm's finished seeds on the
    environment from 1 upwards. Files of runs that no longer exist are removed, so that no plot
    shows them.

    :param results: Results; those without a measurement, such as failed runs, are left out
    :param folder: Folder to write to, ``results/GRID/zoo``
    """
    measured = [result for result in results if result.measurements]
    algorithms = folder_names(result.spec.algorithm for result in measured)
    environments = told_apart((result.spec.environment for result in measured), _in_path)
    runs: dict[str, list[RunResult]] = defaultdict(list)
    for result in sorted(measured, key=lambda result: result.spec.seed):
        algorithm, environment = result.spec.algorithm, result.spec.environment
        runs[f"{algorithms[algorithm]}/{environments[environment]}"].append(result)
    written = {
        f"{name}_{k}/{FILE}": evaluations(result)
        for name, seeds in runs.items()
        for k, result in enumerate(seeds, start=1)
    }
    replace_files(folder, written)


def folder_names(algorithms: Iterable[str]) -> dict[str, str]:
    """Return the name of each algorithm's folder in RL Zoo's layout: one word in lower case.

    :param algorithms: Names as in a grid; names that differ in punctuation alone get a number
    :return: Name of the folder, by algorithm
    """
    return told_apart(algorithms, _one_word)


def _one_word(algorithm: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", algorithm.lower()).strip("-") or "algorithm"


def _in_path(environment: str) -> str:
    return re.sub(r"[/:]", "-", environment)


def evaluations(result: "RunResult") -> bytes:
    """Return the bytes of a run's ``evaluations.npz``; equal runs give equal bytes.

    :param result: Result of a finished run
    :return: Content of the file
    """
    buffer = io.BytesIO()
    successes = [m.metrics.get("is_success") for m in result.measurements]
    measured: dict[str, Any] = (
        {} if None in successes else {"successes": np.array(successes, dtype=bool)}
    )
    np.savez(
        buffer,
        timesteps=np.array([m.step for m in result.measurements], dtype=np.int64),
        results=np.array([m.returns for m in result.measurements], dtype=np.float64),
        ep_lengths=np.array([m.lengths for m in result.measurements], dtype=np.int64),
        **measured,
    )
    return buffer.getvalue()
