"""Execution of the missing runs of a grid, whose results are stored as they come."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Protocol

from rich.console import Console

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.execution.clusters.shared_folder import ONE_MACHINE, going_on
from sb3_course.benchmark.execution.executors import Executor
from sb3_course.benchmark.execution.heartbeat import (
    heartbeat_file,
    log_file,
    logs_folder,
    remove,
    remove_checkpoint,
)
from sb3_course.benchmark.execution.progress import Display, display
from sb3_course.benchmark.execution.run_queue import RunLocks, RunQueue
from sb3_course.benchmark.execution.worker import told_by
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError


def to_do(specs: Sequence[RunSpec], store: Store) -> list[RunSpec]:
    """Return the runs that have not finished, each once, the longest first: workers end together.

    :param specs: Runs of the grid
    :param store: Store of the results so far; failed and damaged runs are repeated
    :return: Runs to execute
    """
    finished = store.sound(specs)
    missing = {spec.id: spec for spec in specs if spec.id not in finished}
    return sorted(missing.values(), key=_length, reverse=True)


def _length(spec: RunSpec) -> tuple[float, int]:
    """Return a run's vector steps, each of which costs a pass of the policy, and its steps."""
    return spec.config.total_timesteps / spec.config.n_envs, spec.config.total_timesteps


def run_all(
    specs: Sequence[RunSpec],
    store: Store,
    executor: Executor,
    console: Console,
    retries: int = 1,
    wait: bool = True,
) -> None:
    """Execute runs and store each result as soon as its run ends.

    A run whose process died is started again. A run that raised an exception is not, since it would
    raise it again. Other processes may work on the same runs: each run is locked by one of them,
    and this function returns when all runs have ended, unless it is told not to wait for others.

    :param specs: Runs, in the order in which to start them
    :param store: Store of the results
    :param executor: Executor of the runs
    :param console: Console on which progress is shown
    :param retries: Number of times that a run whose process died is started again
    :param wait: Whether to wait for runs that other processes execute, and to do them should those
        processes die
    """
    logs = logs_folder(store.folder)
    logs.mkdir(parents=True, exist_ok=True)
    with (
        RunLocks(store.folder) as locks,
        display(console, list(specs), logs, whole=wait) as progress,
    ):
        run_queued(RunQueue(specs, store, locks), store, executor, progress, retries, wait)


class Queue(Protocol):
    """Interface of what holds the runs to execute; it may get more while they are executed."""

    def __len__(self) -> int:
        """Return 0 once no run is left to start, here or by another process."""

    def next(self, n: int) -> Iterable[RunSpec]:
        """Return at most ``n`` runs to start, each of which is locked."""

    def ended(self, spec: RunSpec) -> None:
        """Take note that the result of a run has been written."""

    def ended_elsewhere(self) -> Iterable[RunSpec]:
        """Return the runs that other processes have ended since the last call."""


def run_queued(
    queue: Queue,
    store: Store,
    executor: Executor,
    progress: Display,
    retries: int,
    wait: bool,
) -> None:
    """Execute runs until none is left in a queue, as :func:`run_all` does.

    :param queue: Runs
    :param store: Store of the results, whose folder of logs exists
    :param executor: Executor of the runs
    :param progress: Display of what happens
    :param retries: Number of times that a run whose process died is started again
    :param wait: Whether to wait for runs that other processes execute
    """
    # Runs are stopped first, as they would write their heartbeats again.
    with closing(_Work(queue, store, executor, progress, retries)) as work, executor:
        while work.left:
            work.start()
            if work.only_others and not wait:
                return
            work.collect()
            progress.tick()


class _Work:
    """Runs in progress."""

    def __init__(
        self, queue: Queue, store: Store, executor: Executor, progress: Display, retries: int
    ) -> None:
        self._queue, self._store, self._executor = queue, store, executor
        self._progress, self._retries = progress, retries
        self._running: dict[str, RunSpec] = {}
        self._losses: Counter[str] = Counter()
        self._slots = 0

    @property
    def left(self) -> bool:
        return bool(self._queue or self._running)

    @property
    def only_others(self) -> bool:
        """Whether there were slots at the last start, but no run that others do not execute."""
        return self._slots > 0 and not self._running

    def start(self) -> None:
        self._slots = self._executor.slots
        specs = list(self._queue.next(self._slots - len(self._running)))
        logs = logs_folder(self._store.folder)
        if going_on(heartbeat_file(logs, spec.id) for spec in specs):
            raise UserError(
                f"another machine executes runs in {self._store.folder} that this one has locked: "
                f"their locks are not shared; {ONE_MACHINE}"
            )
        for spec in specs:
            self._running[spec.id] = spec
            self._remove_heartbeat(spec)  # a killed command may have left its heartbeat
            self._executor.start(spec)
        for spec in self._queue.ended_elsewhere():
            self._progress.ended_elsewhere(spec)

    def collect(self) -> None:
        for outcome in self._executor.poll(0.5):
            if isinstance(outcome, RunResult):
                self._write(outcome)
                if outcome.failure is None:  # a failed run goes on from there
                    remove_checkpoint(logs_folder(self._store.folder), outcome.spec.id)
                continue
            self._losses[outcome.spec.id] += 1
            if self._losses[outcome.spec.id] <= self._retries and not outcome.at_its_limit:
                self._progress.lost(outcome.spec, outcome.reason)
                self._executor.start(outcome.spec)
            else:
                self._write(RunResult(spec=outcome.spec, failure=outcome.reason))

    def _write(self, result: RunResult) -> None:
        self._store.write(result)
        self._remove_heartbeat(self._running.pop(result.spec.id))
        self._queue.ended(result.spec)
        self._progress.ended(result)
        log = log_file(logs_folder(self._store.folder), result.spec.id)
        for line in told_by(log) if result.failure is None else ():
            self._progress.noted(result.spec, line)

    def _remove_heartbeat(self, spec: RunSpec) -> None:
        remove(heartbeat_file(logs_folder(self._store.folder), spec.id))

    def close(self) -> None:
        for spec in self._running.values():
            self._remove_heartbeat(spec)
