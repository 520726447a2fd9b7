"""Where runs execute: processes of this machine, or a Ray cluster.

An executor is a context manager. Inside the context, :meth:`Executor.start` submits a run to a free
slot, and :meth:`Executor.poll` returns the outcomes of runs that have ended. Leaving the context
stops the runs in progress.
"""

import os
import socket
import time
from collections.abc import Mapping
from multiprocessing import connection
from pathlib import Path
from typing import Any, Literal, Protocol

from sb3_course.benchmark.definition.grid import Grid, RunSpec
from sb3_course.benchmark.execution.heartbeat import logs_folder
from sb3_course.benchmark.execution.process_tree import LOOK
from sb3_course.benchmark.execution.supervisor import Supervisor
from sb3_course.benchmark.execution.worker import (
    Lost,
    Outcome,
    WorkerSettings,
    in_words,
    reason_of_death,
)
from sb3_course.benchmark.storage.provenance import memory_gib
from sb3_course.common.errors import UserError
from sb3_course.common.tracking.tracker import Tracking

NODES_LOST = 5
"""Number of nodes of a Ray cluster that may die under a run before the run counts as lost."""
DESERTED = 15.0
"""Seconds after which a Ray cluster without a living node is given up; Ray itself waits on."""


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


class RayCluster:
    """Ray cluster: each run is a task on one CPU of any node, and its result is sent back.

    Every node needs this package. When a node dies, its runs start again on another one. Progress
    is shown for runs on nodes that share this machine's files.

    :param workers: Number of runs at a time; None for one per CPU of the cluster
    :param settings: Limits and folders of the worker processes
    :param address: Address of a running cluster, ``auto`` for the one of this machine; None starts
        one on this machine
    :raises UserError: In :meth:`poll`, if no node has been alive for :data:`DESERTED` seconds
    """

    def __init__(
        self, workers: int | None, settings: WorkerSettings, address: str | None = None
    ) -> None:
        self.workers, self._address = workers, address
        self._settings = settings
        self._busy: dict[Any, tuple[RunSpec, float]] = {}
        self._alive = time.monotonic()

    @property
    def slots(self) -> int:
        """Number of runs that the living nodes execute at the same time."""
        # If the head does not answer, Ray's own functions block for a minute, and exit.
        cpus = int(self._ray.cluster_resources().get("CPU", 0)) if _answers(self._head) else 0
        if cpus:
            self._alive = time.monotonic()
        return cpus if self.workers is None else min(self.workers, cpus)

    def __enter__(self) -> "RayCluster":
        """Connect to the cluster, or start one."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray = ray
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self._address is None:
            ray.init(num_cpus=self.workers, include_dashboard=False, **options)
        else:
            _connect(self._address, options)
        self._head = self._address or ""
        if not self._head.startswith("ray://"):
            self._head = ray.get_runtime_context().gcs_address
        # A run that dies is counted, and started again, by the runner. What is left to Ray is to
        # start those of a node that dies on another one.
        self._task = ray.remote(num_cpus=1, max_retries=NODES_LOST)(_execute_on_node)
        return self

    def start(self, spec: RunSpec) -> None:
        """Submit a run.

        :param spec: Run to start
        """
        self._busy[self._task.remote(spec, self._settings)] = (spec, time.monotonic())

    def poll(self, seconds: float) -> list[Outcome]:
        """Return the outcomes of runs that have ended.

        :param seconds: Longest time to wait for the first one
        :return: Outcomes, in no particular order
        """
        if not self.slots and time.monotonic() > self._alive + DESERTED:
            raise UserError(
                f"no node of the Ray cluster at {self._head} is alive; finished runs are kept: "
                "start nodes with `ray start`, and the same command continues"
            )
        if not self._busy:
            time.sleep(seconds)
            return []
        self._ray.wait(list(self._busy), timeout=seconds)
        done, _ = self._ray.wait(list(self._busy), num_returns=len(self._busy), timeout=0)
        return [self._outcome(reference, *self._busy.pop(reference)) for reference in done]

    def _outcome(self, reference: Any, spec: RunSpec, when: float) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            known = " ".join(in_words(error).split())
            seconds = time.monotonic() - when
            return Lost(spec, reason_of_death(spec, self._settings, seconds, known))
        return outcome

    def __exit__(self, *_: object) -> None:
        """Cancel the tasks of this grid and disconnect from the cluster."""
        for reference in self._busy:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()


def _execute_on_node(spec: RunSpec, settings: WorkerSettings) -> Outcome:
    with LocalProcesses(1, settings) as processes:
        processes.start(spec)
        while not (outcomes := processes.poll(1.0)):
            pass
    return outcomes[0]


def make_executor(
    kind: Literal["local", "ray"],
    grid: Grid,
    folder: Path,
    n_runs: int,
    workers: int | None = None,
    address: str | None = None,
    tensorboard: Path | None = None,
    tracking: Tracking | None = None,
) -> LocalProcesses | RayCluster:
    """Make the executor of a grid.

    :param kind: ``"local"`` for processes of this machine, ``"ray"`` for a Ray cluster
    :param grid: Grid, which sets the limits of time and memory
    :param folder: Folder of its results, ``results/GRID``
    :param n_runs: Number of runs to execute
    :param workers: Number of runs at a time; None for one per CPU
    :param address: Address of a running Ray cluster; None starts one on this machine
    :param tensorboard: Folder for TensorBoard files; None for none
    :param tracking: Trackers that runs are sent to; None for none
    :return: The executor
    """
    tensorboard = tensorboard and tensorboard.resolve()
    logs = logs_folder(folder).resolve()
    if kind == "ray":
        settings = WorkerSettings(
            logs, grid.time_limit, grid.memory_limit, tensorboard, grid.checkpoint_every, tracking
        )
        return RayCluster(workers, settings, address)
    workers = min(workers or _cpus(), n_runs)
    memory = memory_gib()
    share = None if memory is None else max(memory / workers, 2.0)
    settings = WorkerSettings(
        logs,
        grid.time_limit,
        grid.memory_limit or share,
        tensorboard,
        grid.checkpoint_every,
        tracking,
    )
    return LocalProcesses(workers, settings)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _reach(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    socket.create_connection((host, int(port)), timeout=5.0).close()


def _answers(address: str) -> bool:
    try:
        _reach(address)
    except OSError:
        return False
    return True


def _connect(address: str, options: Mapping[str, Any]) -> None:
    import ray

    try:
        if address != "auto":  # if nothing answers there, Ray keeps trying for minutes
            _reach(address)
        ray.init(address=address, **options)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no Ray cluster answers at {address!r} ({error}); `ray start --head` starts one and "
            "prints its address"
        ) from error
