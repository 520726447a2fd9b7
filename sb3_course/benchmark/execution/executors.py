"""Where runs execute: processes of this machine, or a Ray cluster.

An executor is entered, given runs one at a time while it has a free slot, and asked for what came
of them; leaving it stops whatever still runs.
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
    Conditions,
    outlived_by_parent,
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
"""Seconds past its time limit after which a run that has not ended itself is given up."""
ONE_THREAD = dict.fromkeys(THREAD_VARIABLES, "1")


@dataclass(frozen=True)
class Lost:
    """A run that ended with its process: killed, crashed, or stopped at its time limit.

    :param spec: the run
    :param reason: what is known; the last line sums it up
    """

    spec: RunSpec
    reason: str


Outcome: TypeAlias = RunResult | Lost


class Executor(Protocol):
    """Somewhere to run."""

    @property
    def slots(self) -> int:
        """How many runs it takes at a time."""

    def start(self, spec: RunSpec) -> None:
        """Start a run; there must be a free slot."""

    def poll(self, seconds: float) -> list[Outcome]:
        """Wait at most so long for runs to end and return what came of them."""

    def __enter__(self) -> "Executor":
        """Get ready."""

    def __exit__(self, *_: object) -> None:
        """Stop what still runs."""


@dataclass(frozen=True)
class _Started:
    spec: RunSpec
    pool: ProcessPool
    when: float


class LocalProcesses:
    """Processes of this machine, each on one thread; a dead one costs its run alone.

    Processes are reused, since importing torch takes seconds; a run's result does not depend on the
    runs before it. Each slot has a pool to itself: a process that is killed while it holds the
    channel of a shared pool would block the others.

    :param workers: how many run at a time
    :param conditions: limits and files of each run
    """

    def __init__(self, workers: int, conditions: Conditions) -> None:
        self.workers = self.slots = workers
        self._conditions = conditions
        self._free: list[ProcessPool] = []
        self._busy: dict[Future[RunResult], _Started] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "LocalProcesses":
        """Make processes inherit one thread each."""
        self._stack.enter_context(environment(ONE_THREAD))
        return self

    def start(self, spec: RunSpec) -> None:
        """Start a run in a free process, or in a new one.

        :param spec: the run
        """
        pool = self._free.pop() if self._free else _one_process()
        try:
            future = self._schedule(pool, spec)
        except RuntimeError:  # its process was killed between two runs
            _stop(pool)
            pool = _one_process()
            future = self._schedule(pool, spec)
        self._busy[future] = _Started(spec, pool, time.monotonic())

    def _schedule(self, pool: ProcessPool, spec: RunSpec) -> "Future[RunResult]":
        # A run ends itself at its time limit. Where it cannot, since its process has gone with
        # exit code 0, which pebble takes for a process that is done, this ends the wait.
        limit = self._conditions.hours * 3600 + GRACE
        return pool.schedule(work, args=[spec, self._conditions], timeout=limit)

    def poll(self, seconds: float) -> list[Outcome]:
        """Collect the runs that ended.

        :param seconds: how long to wait for the first
        """
        if not self._busy:
            time.sleep(seconds)
        done, _ = wait(self._busy, timeout=seconds, return_when=FIRST_COMPLETED)
        return [self._outcome(future, self._busy.pop(future)) for future in done]

    def _outcome(self, future: "Future[RunResult]", started: _Started) -> Outcome:
        error = future.exception()  # raising it here could end the grid, as KeyboardInterrupt
        if error is not None:
            _stop(started.pool)
            seconds = time.monotonic() - started.when
            known = _of_process(error)
            reason = reason_of_death(started.spec, self._conditions, seconds, known)
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
    return ProcessPool(max_workers=1, context=spawn, initializer=outlived_by_parent)


def _stop(pool: ProcessPool) -> None:
    pool.stop()
    pool.join()


def _of_process(error: BaseException) -> str:
    if isinstance(error, ProcessExpired):
        return f"the process died with exit code {error.exitcode}"
    return portable("".join(traceback.format_exception_only(error)).strip())


class RayCluster:
    """A Ray cluster: each run is a task on one CPU of any node, with its result sent back.

    Every node needs this package. Runs of a node that dies are lost like those of a process that
    dies. Steps a second are shown of the runs that share this machine's files.

    :param workers: how many run at a time; by default one for each CPU of the cluster
    :param conditions: limits and files of each run
    :param address: of a running cluster, ``auto`` for the one that this machine belongs to; by
        default one is started on this machine
    """

    def __init__(
        self, workers: int | None, conditions: Conditions, address: str | None = None
    ) -> None:
        self.workers, self._address = workers, address
        self._conditions = conditions
        self._busy: dict[Any, tuple[RunSpec, float]] = {}

    @property
    def slots(self) -> int:
        """How many runs the nodes that are alive take at a time."""
        cpus = int(self._ray.cluster_resources().get("CPU", 0))
        return cpus if self.workers is None else min(self.workers, cpus)

    def __enter__(self) -> "RayCluster":
        """Connect to the cluster, or start one."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray = ray
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self._address is None:
            ray.init(num_cpus=self.workers, include_dashboard=False, **settings)
        else:
            _connect(self._address, settings)
        # Losses are counted and retried by whoever drives the executor.
        self._task = ray.remote(num_cpus=1, max_retries=0)(work)
        return self

    def start(self, spec: RunSpec) -> None:
        """Submit a run.

        :param spec: the run
        """
        self._busy[self._task.remote(spec, self._conditions)] = (spec, time.monotonic())

    def poll(self, seconds: float) -> list[Outcome]:
        """Collect the runs that ended.

        :param seconds: how long to wait for the first
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
            return Lost(spec, reason_of_death(spec, self._conditions, seconds, portable(known)))
        return result

    def __exit__(self, *_: object) -> None:
        """Stop this grid's tasks and leave the cluster."""
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
    """Make what the runs of a grid execute on.

    :param kind: Processes of this machine, or Ray
    :param grid: The grid, which sets limits of time and memory
    :param folder: Folder of its results, ``results/GRID``
    :param n_runs: Number of runs to do
    :param workers: Runs at a time; None for one per CPU
    :param address: Address of a running Ray cluster; None starts one on this machine
    :param tensorboard: Folder for TensorBoard's files; None for none
    :return: The executor
    """
    tensorboard = tensorboard and tensorboard.resolve()
    logs = logs_folder(folder).resolve()
    if kind == "ray":
        conditions = Conditions(logs, grid.time_limit, grid.memory_limit, tensorboard)
        return RayCluster(workers, conditions, address)
    workers = min(workers or _cpus(), n_runs)
    memory = memory_gib()
    share = None if memory is None else max(memory / workers, 2.0)
    conditions = Conditions(logs, grid.time_limit, grid.memory_limit or share, tensorboard)
    return LocalProcesses(workers, conditions)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _connect(address: str, settings: Mapping[str, Any]) -> None:
    import ray

    try:
        if address != "auto":  # where nobody answers Ray would go on trying for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=5.0).close()
        ray.init(address=address, **settings)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no Ray cluster answers at {address!r} ({error}); `ray start --head` starts one and "
            "prints its address"
        ) from error


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, which new processes inherit, for as long as the context lasts.

    :param variables: their values by name
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
