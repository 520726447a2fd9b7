"""Ray: runs as tasks on the CPUs of any number of machines, which may come and go."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.execution.executors import LocalProcesses
from sb3_course.benchmark.execution.worker import (
    Outcome,
    WorkerSettings,
    in_words,
    lost,
)
from sb3_course.common.errors import UserError, unknown

NODES_LOST = 5
"""Number of nodes of a Ray cluster that may die under a run before the run counts as lost."""
DESERTED = 15.0
"""Seconds after which a Ray cluster without a living node is given up; Ray itself waits on."""


class RayCluster:
    """Ray cluster: each run is a task on one CPU of any node, and its result is sent back.

    Every node needs this package, or gets it by ``runtime_env``. When a node dies, its runs start
    again on another one. Nodes that join are used at once. Progress is shown for runs on nodes that
    share this machine's files.

    :param workers: Number of runs at a time, also where the cluster has fewer CPUs: the runs that
        wait are what an autoscaler starts nodes for; None for one per CPU of the cluster
    :param settings: Limits and folders of the worker processes
    :param address: Address of a running cluster, ``auto`` for the one of this machine; None starts
        one on this machine
    :param runtime_env: What Ray brings to each node, with Ray's keys (``working_dir``,
        ``py_modules``, ``pip``, ...); None for nothing
    :raises UserError: On entering, if Ray refuses ``runtime_env`` or no cluster answers; in
        :meth:`poll`, if no node has been alive for :data:`DESERTED` seconds
    """

    def __init__(
        self,
        workers: int | None,
        settings: WorkerSettings,
        address: str | None = None,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        self.workers, self._address = workers, address
        self._settings = settings
        self._runtime_env = dict(runtime_env or {})
        self._busy: dict[Any, RunSpec] = {}
        self._alive = time.monotonic()

    @property
    def slots(self) -> int:
        """Number of runs that are executed, or wait for a CPU, at the same time."""
        # If the head does not answer, Ray's own functions block for a minute, and exit.
        resources = self._ray.cluster_resources() if _answers(self._head) else {}
        if not any(name.startswith("node:") for name in resources):
            return 0
        self._alive = time.monotonic()
        # A head without CPUs waits for nodes, which an autoscaler starts for a run that waits.
        return self.workers or max(int(resources.get("CPU", 0)), 1)

    def __enter__(self) -> "RayCluster":
        """Connect to the cluster, or start one."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray = ray
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self._runtime_env:
            options["runtime_env"] = _checked(self._runtime_env)
        with _handlers_kept():
            if self._address is None:
                _begin(self.workers, options)
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
        self._busy[self._task.remote(spec, self._settings)] = spec

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
        return [self._outcome(reference, self._busy.pop(reference)) for reference in done]

    def _outcome(self, reference: Any, spec: RunSpec) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            known = " ".join(in_words(error).split())
            # A run that reached its limit comes as an outcome. Here, time in the queue and on
            # lost nodes is not told from that of the run.
            return lost(spec, self._settings, 0.0, known)
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


def check_options(address: str | None, runtime_env: Mapping[str, Any] | None) -> None:
    """Check what a user says of a cluster, before anything is written.

    :param address: Address of a running cluster
    :param runtime_env: What Ray brings to each node
    :raises UserError: If Ray refuses ``runtime_env`` or no cluster answers
    """
    if runtime_env:
        _checked(dict(runtime_env))
    if address not in (None, "auto"):
        try:
            _reach(str(address))
        except OSError as error:
            raise _no_answer(str(address), error) from error


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keep this program's handler of SIGTERM, over which Ray installs its own."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:  # None is a handler that Python has not set, and cannot
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)


def _reach(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        raise UserError(
            f"--address: given {address!r}; allowed: HOST:PORT, ray://HOST:PORT, or auto"
        )
    socket.create_connection((host, int(port)), timeout=5.0).close()


def _answers(address: str) -> bool:
    try:
        _reach(address)
    except (OSError, UserError):
        return False
    return True


def _connect(address: str, options: Mapping[str, Any]) -> None:
    import ray

    try:
        if address != "auto":  # if nothing answers there, Ray keeps trying for minutes
            _reach(address)
        ray.init(address=address, **options)
    except (OSError, ValueError) as error:
        raise _no_answer(address, error) from error


def _no_answer(address: str, error: Exception) -> UserError:
    return UserError(
        f"no Ray cluster answers at {address!r} ({error}); `ray start --head` starts one and "
        "prints its address, and one that asks for a token, as Ray's own do from 2.59 on, needs "
        "RAY_AUTH_MODE=token here as well"
    )


def _begin(workers: int | None, options: Mapping[str, Any]) -> None:
    import ray

    try:
        ray.init(num_cpus=workers, include_dashboard=False, **options)
    except Exception as error:  # Ray raises a plain one if its processes are not there in time
        raise UserError(
            f"Ray did not start on this machine: {' '.join(in_words(error).split())}; finished "
            "runs are kept, and the same command continues"
        ) from error


def _checked(runtime_env: dict[str, Any]) -> Any:
    """Return a runtime environment that Ray takes."""
    from ray.runtime_env import RuntimeEnv

    known = RuntimeEnv.known_fields
    for key in runtime_env:
        if key not in known:
            raise UserError(f"--runtime-env: {unknown('key', key, sorted(known))}")
    try:
        return RuntimeEnv(**runtime_env)
    except (TypeError, ValueError) as error:
        raise UserError(f"--runtime-env: {' '.join(str(error).split())}") from error
