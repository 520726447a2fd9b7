"""Where runs execute: processes of this machine, or a Ray cluster.

An executor is a context manager. Inside the context, :meth:`Executor.start` submits a run to a free
slot, and :meth:`Executor.poll` returns the outcomes of runs that have ended. Leaving the context
stops the runs in progress.
"""

import multiprocessing
import os
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from pebble import ProcessExpired, ProcessPool

from sb3_course.benchmark.definition.grid import Grid, RunSpec
from sb3_course.benchmark.execution.heartbeat import logs_folder
from sb3_course.benchmark.execution.train_run import portable
from sb3_course.benchmark.execution.worker import (
    WorkerSettings,
    exit_with_parent,
    reason_of_death,
    work,
)
from sb3_course.benchmark.storage.provenance import memory_gib
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.common.errors import UserError

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
GRACE = 10.0
"""Seconds beyond its time limit after which a run that has not exited is abandoned."""
ONE_THREAD = dict.fromkeys(THREAD_VARIABLES, "1")


@dataclass(frozen=True)
class Lost:
    """Run whose process died: killed, crashed, or stopped at its time limit.

    :param spec: The run
    :param reason: What is known about the end; the last line sums it up
    """

    spec: RunSpec
    reason: str


Outcome: TypeAlias = RunResult | Lost


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


@dataclass(frozen=True)
class _Started:
    spec: RunSpec
    pool: ProcessPool
    when: float


class LocalProcesses:
    """Processes of this machine, each on one thread; if one dies, only its own run is lost.

    Processes are reused, since importing torch takes seconds; a run's result does not depend on the
    runs before it. Each slot has its own pool, because a process that is killed while it holds the
    channel of a shared pool would block the others.

    :param workers: Number of runs at a time
    :param settings: Limits and folders of the worker processes
    """

    def __init__(self, workers: int, settings: WorkerSettings) -> None:
        self.workers = self.slots = workers
        self._settings = settings
        self._free: list[ProcessPool] = []
        self._busy: dict[Future[RunResult], _Started] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "LocalProcesses":
        """Limit the processes to come to one thread each."""
        self._stack.enter_context(environment(ONE_THREAD))
        return self

    def start(self, spec: RunSpec) -> None:
        """Start a run in an idle process, or in a new one.

        :param spec: Run to start
        """
        pool = self._free.pop() if self._free else _one_process()
        try:
            future = self._schedule(pool, spec)
        except RuntimeError:  # the process was killed between two runs
            _stop(pool)
            pool = _one_process()
            future = self._schedule(pool, spec)
        self._busy[future] = _Started(spec, pool, time.monotonic())

    def _schedule(self, pool: ProcessPool, spec: RunSpec) -> "Future[RunResult]":
        # A run exits at its time limit. If its process exits with code 0 before, pebble takes that
        # for a regular end and waits on; this timeout ends the wait.
        limit = self._settings.hours * 3600 + GRACE
        return pool.schedule(work, args=[spec, self._settings], timeout=limit)

    def poll(self, seconds: float) -> list[Outcome]:
        """Return the outcomes of runs that have ended.

        :param seconds: Longest time to wait for the first one
        :return: Outcomes, in no particular order
        """
        if not self._busy:
            time.sleep(seconds)
        done, _ = wait(self._busy, timeout=seconds, return_when=FIRST_COMPLETED)
        return [self._outcome(future, self._busy.pop(future)) for future in done]

    def _outcome(self, future: "Future[RunResult]", started: _Started) -> Outcome:
        error = future.exception()  # not raised: a KeyboardInterrupt of the run would end the grid
        if error is not None:
            _stop(started.pool)
            seconds = time.monotonic() - started.when
            known = _end_of_process(error)
            reason = reason_of_death(started.spec, self._settings, seconds, known)
            return Lost(started.spec, reason)
        self._free.append(started.pool)
        return future.result()

    def __exit__(self, *_: object) -> None:
        """Stop every process."""
        for pool in [*self._free, *(started.pool for started in self._busy.values())]:
            _stop(pool)
        self._stack.close()


def _one_process() -> ProcessPool:
    spawn = multiprocessing.get_context("spawn")
    return ProcessPool(max_workers=1, context=spawn, initializer=exit_with_parent)


def _stop(pool: ProcessPool) -> None:
    pool.stop()
    pool.join()


def _end_of_process(error: BaseException) -> str:
    if isinstance(error, ProcessExpired):
        return f"the process died with exit code {error.exitcode}"
    return portable("".join(traceback.format_exception_only(error)).strip())


class RayCluster:
    """Ray cluster: each run is a task on one CPU of any node, and its result is sent back.

    Every node needs this package. When a node dies, its runs are lost, as are those of a process
    that dies. Progress is shown for runs on nodes that share this machine's files.

    :param workers: Number of runs at a time; None for one per CPU of the cluster
    :param settings: Limits and folders of the worker processes
    :param address: Address of a running cluster, ``auto`` for the one of this machine; None starts
        one on this machine
    """

    def __init__(
        self, workers: int | None, settings: WorkerSettings, address: str | None = None
    ) -> None:
        self.workers, self._address = workers, address
        self._settings = settings
        self._busy: dict[Any, tuple[RunSpec, float]] = {}

    @property
    def slots(self) -> int:
        """Number of runs that the living nodes execute at the same time."""
        cpus = int(self._ray.cluster_resources().get("CPU", 0))
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
        # The runner counts lost runs and starts them again.
        self._task = ray.remote(num_cpus=1, max_retries=0)(work)
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
        if not self._busy:
            time.sleep(seconds)
            return []
        self._ray.wait(list(self._busy), timeout=seconds)
        done, _ = self._ray.wait(list(self._busy), num_returns=len(self._busy), timeout=0)
        return [self._outcome(reference, *self._busy.pop(reference)) for reference in done]

    def _outcome(self, reference: Any, spec: RunSpec, when: float) -> Outcome:
        try:
            result: RunResult = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            known = f"{type(error).__name__}: {' '.join(str(error).split())}"
            seconds = time.monotonic() - when
            return Lost(spec, reason_of_death(spec, self._settings, seconds, portable(known)))
        return result

    def __exit__(self, *_: object) -> None:
        """Cancel the tasks of this grid and disconnect from the cluster."""
        for reference in self._busy:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()


def make_executor(
    kind: Literal["local", "ray"],
    grid: Grid,
    folder: Path,
    n_runs: int,
    workers: int | None = None,
    address: str | None = None,
    tensorboard: Path | None = None,
) -> LocalProcesses | RayCluster:
    """Make the executor of a grid.

    :param kind: ``"local"`` for processes of this machine, ``"ray"`` for a Ray cluster
    :param grid: Grid, which sets the limits of time and memory
    :param folder: Folder of its results, ``results/GRID``
    :param n_runs: Number of runs to execute
    :param workers: Number of runs at a time; None for one per CPU
    :param address: Address of a running Ray cluster; None starts one on this machine
    :param tensorboard: Folder for TensorBoard files; None for none
    :return: The executor
    """
    tensorboard = tensorboard and tensorboard.resolve()
    logs = logs_folder(folder).resolve()
    if kind == "ray":
        settings = WorkerSettings(logs, grid.time_limit, grid.memory_limit, tensorboard)
        return RayCluster(workers, settings, address)
    workers = min(workers or _cpus(), n_runs)
    memory = memory_gib()
    share = None if memory is None else max(memory / workers, 2.0)
    settings = WorkerSettings(logs, grid.time_limit, grid.memory_limit or share, tensorboard)
    return LocalProcesses(workers, settings)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _connect(address: str, options: Mapping[str, Any]) -> None:
    import ray

    try:
        if address != "auto":  # if nothing answers there, Ray keeps trying for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=5.0).close()
        ray.init(address=address, **options)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no Ray cluster answers at {address!r} ({error}); `ray start --head` starts one and "
            "prints its address"
        ) from error


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, which new processes inherit, within a context.

    :param variables: Values by name
    :yield: None
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
