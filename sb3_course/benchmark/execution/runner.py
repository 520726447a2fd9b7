"""Run what a grid still misses, and keep what comes of it."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing

from rich.console import Console

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.execution.executors import Executor
from sb3_course.benchmark.execution.heartbeat import heartbeat_file, logs_folder
from sb3_course.benchmark.execution.progress import Display, display
from sb3_course.benchmark.execution.run_queue import RunLocks, RunQueue
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError, unknown

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
    finished = store.finished()
    missing = [spec for spec in specs if spec.id not in finished]
    return sorted(missing, key=_length, reverse=True)


def _length(spec: RunSpec) -> tuple[float, int]:
    """Compare runs by vector steps, each of which costs a pass through the policy, then steps."""
    return spec.config.total_timesteps / spec.config.n_envs, spec.config.total_timesteps


def run_all(
    specs: Sequence[RunSpec], store: Store, executor: Executor, console: Console, retries: int = 1
) -> None:
    """Run, and write each result as it lands.

    A run that was lost with its process is tried again; one that raised an exception would only
    raise it again, and is not. Other processes may work on the same runs: each run is locked by
    one of them, and this returns when all have ended.

    :param specs: the runs, in the order to start them
    :param store: where results go
    :param executor: Where runs execute
    :param console: where progress is shown
    :param retries: how many more times a lost run is tried
    """
    logs = logs_folder(store.folder)
    logs.mkdir(parents=True, exist_ok=True)
    with (
        RunLocks(store.folder) as locks,
        display(console, list(specs), logs) as shown,
        executor,
        closing(_Work(RunQueue(specs, store, locks), store, executor, shown, retries)) as work,
    ):
        while work.left:
            work.start()
            work.collect()
            shown.tick()


class _Work:
    """The runs under way."""

    def __init__(
        self, queue: RunQueue, store: Store, executor: Executor, shown: Display, retries: int
    ) -> None:
        self._queue, self._store, self._executor = queue, store, executor
        self._shown, self._retries = shown, retries
        self._running: dict[str, RunSpec] = {}
        self._losses: Counter[str] = Counter()

    @property
    def left(self) -> bool:
        return bool(self._queue or self._running)

    def start(self) -> None:
        for spec in self._queue.next(self._executor.slots - len(self._running)):
            self._running[spec.id] = spec
            self._forget(spec)  # what a killed command may have left
            self._executor.start(spec)
        for spec in self._queue.ended_elsewhere():
            self._shown.ended_elsewhere(spec)

    def collect(self) -> None:
        for outcome in self._executor.poll(0.5):
            if isinstance(outcome, RunResult):
                self._keep(outcome)
                continue
            self._losses[outcome.spec.id] += 1
            if self._losses[outcome.spec.id] <= self._retries:
                self._shown.lost(outcome.spec, outcome.reason)
                self._executor.start(outcome.spec)
            else:
                self._keep(RunResult(spec=outcome.spec, failure=outcome.reason))

    def _keep(self, result: RunResult) -> None:
        self._store.write(result)
        self._forget(self._running.pop(result.spec.id))
        self._queue.ended(result.spec)
        self._shown.landed(result)

    def _forget(self, spec: RunSpec) -> None:
        heartbeat_file(logs_folder(self._store.folder), spec.id).unlink(missing_ok=True)

    def close(self) -> None:
        for spec in self._running.values():
            self._forget(spec)
