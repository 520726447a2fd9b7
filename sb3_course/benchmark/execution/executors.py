"""Where runs execute: processes of this machine, or a Ray cluster.

An executor is a context manager. Inside the context, :meth:`Executor.start` submits a run to a free
slot, and :meth:`Executor.poll` returns the outcomes of runs that have ended. Leaving the context
stops the runs in progress.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sb3_course.benchmark.definition.field_types import ExecutorKind
from sb3_course.benchmark.definition.grid import Grid, RunSpec
from sb3_course.benchmark.execution.heartbeat import logs_folder
from sb3_course.benchmark.execution.process_tree import LOOK
from sb3_course.benchmark.execution.supervisor import Supervisor
from sb3_course.benchmark.execution.worker import Outcome, WorkerSettings
from sb3_course.benchmark.storage.provenance import memory_gib
from sb3_course.common.tracking.tracker import Tracking
from sb3_course.envs.backends import usable_cores

if TYPE_CHECKING:
    from sb3_course.benchmark.execution.clusters.ray_cluster import RayCluster


class Executor(Protocol):
    """Interface of what runs execute on."""

    @property
    def slots(self) -> int:
        """Number of runs that execute at the same time."""

    def start(self, spec: RunSpec) -> None:
        """Start a run; a slot must be free."""

    def poll(self, seconds: float) -> list[Outcome]:
        """Return the outcomes of runs that have ended; wait at most ``seconds`` for the first."""

    def __enter__(self) -> "Executor":
        """Prepare to start runs."""

    def __exit__(self, *_: object) -> None:
        """Stop the runs in progress."""


class LocalProcesses:
    """Processes of this machine, each on one thread; if one dies, only its own run is lost.

    :param workers: Number of runs at a time
    :param settings: Limits and folders of the worker processes
    """

    def __init__(self, workers: int, settings: WorkerSettings) -> None:
        self.workers = self.slots = workers
        self._settings = settings
        self._free: list[Supervisor] = []
        self._busy: list[Supervisor] = []

    def __enter__(self) -> "LocalProcesses":
        """Return the executor; processes start with their first runs."""
        return self

    def start(self, spec: RunSpec) -> None:
        """Start a run in a free slot.

        :param spec: Run to start
        """
        while self._free:
            supervisor = self._free.pop()
            self._busy.append(supervisor)
            if supervisor.start(spec):
                return
            supervisor.stop()  # the process was killed between two runs
            self._busy.remove(supervisor)
        supervisor = Supervisor(self._settings)
        self._busy.append(supervisor)
        supervisor.start(spec)

    def poll(self, seconds: float) -> list[Outcome]:
        """Return the outcomes of runs that have ended.

        :param seconds: Longest time to wait for the first one
        :return: Outcomes, in no particular order
        """
        deadline = time.monotonic() + seconds
        while True:
            outcomes = [o for s in list(self._busy) if (o := self._outcome(s)) is not None]
            left = deadline - time.monotonic()
            if outcomes or left <= 0:
                return outcomes
            if self._busy:
                connection.wait([s.connection for s in self._busy], min(left, LOOK))
            else:
                time.sleep(left)

    def _outcome(self, supervisor: Supervisor) -> Outcome | None:
        outcome = supervisor.outcome()
        if outcome is not None:
            self._busy.remove(supervisor)
            self._free.append(supervisor)
        return outcome

    def __exit__(self, *_: object) -> None:
        """Stop every process."""
        supervisors = [*self._free, *self._busy]
        for wait in (False, True):  # all are told at once, lest a second Ctrl-C leave some untold
            for supervisor in supervisors:
                supervisor.stop(wait)


def make_executor(
    kind: ExecutorKind,
    grid: Grid,
    folder: Path,
    n_runs: int,
    workers: int | None,
    address: str | None = None,
    tensorboard: Path | None = None,
    tracking: Tracking | None = None,
    runtime_env: Mapping[str, Any] | None = None,
) -> "LocalProcesses | RayCluster":
    """Make the executor of a grid.

    :param kind: ``"local"`` for processes of this machine, ``"ray"`` for a Ray cluster
    :param grid: Grid, which sets the limits of time and memory
    :param folder: Folder of its results, ``results/GRID``
    :param n_runs: Number of runs to execute
    :param workers: Number of runs at a time; None for one per CPU
    :param address: Address of a running Ray cluster; None starts one on this machine
    :param tensorboard: Folder for TensorBoard files; None for none
    :param tracking: Trackers that runs are sent to; None for none
    :param runtime_env: What Ray brings to its machines; None for nothing
    :return: The executor
    :raises UserError: If Ray refuses ``runtime_env`` or no cluster answers
    """
    tensorboard = tensorboard and tensorboard.resolve()
    logs = logs_folder(folder).resolve()
    settings = WorkerSettings(
        logs, grid.time_limit, grid.memory_limit, tensorboard, grid.checkpoint_every, tracking
    )
    if kind == "ray":
        from sb3_course.benchmark.execution.clusters.ray_cluster import RayCluster, check_options

        check_options(address, runtime_env)
        return RayCluster(workers, settings, address, runtime_env)
    workers = min(workers or usable_cores(), n_runs)
    if settings.gib is None and (memory := memory_gib()) is not None:
        settings = replace(settings, gib=max(memory / workers, 2.0))
    return LocalProcesses(workers, settings)
