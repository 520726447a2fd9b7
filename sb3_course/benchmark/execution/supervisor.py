"""Supervisor of runs: a process that forks a process for each run, and ends all that a run leaves.

A run executes any code. What it changes in its process cannot reach the next run, which is forked
from the supervisor: a process that has imported torch, which takes seconds, and has executed no
run. What a run starts ends with it, see :mod:`.process_tree`.
"""

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess, SpawnProcess
from typing import TypeAlias
from uuid import uuid4

import gymnasium
import torch

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.execution import process_tree
from sb3_course.benchmark.execution.process_tree import LOOK, PATIENCE, ends
from sb3_course.benchmark.execution.worker import (
    Lost,
    Outcome,
    WorkerSettings,
    in_words,
    lost,
    work,
)
from sb3_course.benchmark.storage import provenance

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
GRACE = 10.0
"""Seconds beyond its time limit after which a run that has not exited is killed."""
START = 120.0
"""Seconds that a supervisor may take to begin: it imports torch, on a machine that may be busy."""
SOCKETS = 104 - len("/pymp-12345678/listener-12345678")
"""Length from which on a folder cannot hold the sockets that processes of SubprocVecEnv need."""
Wait: TypeAlias = Callable[..., None]

# Forking is safe in a supervisor, which has one thread, but not with the libraries of macOS.
_Process = SpawnProcess if sys.platform != "linux" else ForkProcess


class Supervisor:
    """Handle of a supervisor process, which executes one run at a time, on one thread.

    :param settings: Limits and folders of the runs
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._limit = settings.hours * 3600 + GRACE
        self._mark = uuid4().hex
        # Short, since paths of sockets are; made with each run.
        self._temporary = os.path.join(tempfile.gettempdir(), f"sb3-{self._mark[:8]}")
        spawn = multiprocessing.get_context("spawn")
        self.connection, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=_supervise, args=[theirs, os.getpid(), settings, self._limit, self._temporary]
        )
        resource_tracker.ensure_running()  # before the mark is set: it serves all supervisors
        marked = environment({**ONE_THREAD, process_tree.MARK: self._mark})
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which it inherits
        try:
            with marked:
                self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    @property
    def pid(self) -> int | None:
        """Id of the process."""
        return self._process.pid

    def start(self, spec: RunSpec) -> bool:
        """Start a run.

        :param spec: Run to start
        :return: Whether it was started; it is not where the process has died
        """
        self._spec, self._started = spec, time.monotonic()
        with suppress(OSError):
            if self._process.is_alive():
                self.connection.send(spec)
                return True
        return False

    def outcome(self) -> Outcome | None:
        """Return what came of the run, or None while it executes."""
        lives = self._process.is_alive()
        seconds = time.monotonic() - self._started
        with suppress(Exception):  # where it dies while it sends, there is no saying what arrives
            if self.connection.poll():
                lives = False
                outcome: Outcome = self.connection.recv()
                return outcome
        if lives and seconds < self._limit + START:  # it keeps the limit itself unless stopped
            return None
        if lives:
            self._process.kill()
        self.stop()
        known = f"the process died with exit code {self._process.exitcode}"
        return lost(self._spec, self._settings, seconds, known)

    def stop(self, wait: bool = True) -> None:
        """End the process, its run and all that the run has started.

        :param wait: Whether to wait until they have ended; otherwise call again with True
        """
        self.connection.close()
        if not wait:
            return
        if not ends(self._process, 2 * PATIENCE):
            self._process.kill()
            ends(self._process, PATIENCE)
        process_tree.kill_marked(self._mark)
        shutil.rmtree(self._temporary, ignore_errors=True)


def _supervise(
    to_command: Connection, command: int, settings: WorkerSettings, limit: float, temporary: str
) -> None:
    """Execute the runs that the command sends, until it closes the connection or dies."""
    os.setsid()  # Ctrl-C reaches the command alone, which then stops this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    guard = process_tree.guard(command, temporary)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    process_tree.adopt_orphans()

    def wait(*others: Connection) -> None:
        ready = connection.wait([to_command, *others], LOOK)
        if os.getppid() != guard or (others and to_command in ready):
            sys.exit(1)  # the guard or the command has died, or the command stops

    try:
        _prepare()
        while True:
            while not to_command.poll():
                wait()
            spec = to_command.recv()
            to_command.send(_run(spec, settings, limit, temporary, to_command, wait))
    except (EOFError, OSError):  # the command stops
        return
    finally:
        process_tree.kill_descendants()
        shutil.rmtree(temporary, ignore_errors=True)


def _run(
    spec: RunSpec,
    settings: WorkerSettings,
    limit: float,
    temporary: str,
    to_command: Connection,
    wait: Wait,
) -> Outcome:
    """Execute a run in a process of its own, and end all that it leaves."""
    _prepare_for(spec)
    os.makedirs(temporary, 0o700, exist_ok=True)  # it exists where a run made it irremovable
    from_run, writer = multiprocessing.Pipe(duplex=False)
    arguments = [spec, settings, temporary, writer, to_command, os.getpid()]
    process = _Process(target=_execute, args=arguments)
    started = time.monotonic()
    process.start()
    writer.close()
    outcome: Outcome | None = None
    closed = False
    try:
        while time.monotonic() < started + limit:
            lives = process.exitcode is None  # asked first: a result may come just before the end
            if from_run.poll():
                with suppress(Exception):  # cut off, where it dies while it sends
                    outcome = from_run.recv()
                # Time to do what it has registered for its end.
                closed = not ends(process, 1.0)
                break
            if not lives:
                break
            wait(from_run)
    finally:
        code = process_tree.kill(process)
        from_run.close()
        shutil.rmtree(temporary, ignore_errors=True)
    if outcome is None:
        known = f"the process died with exit code {code}"
        if closed:
            known = "the process closed its files or became another program, without a result"
        seconds = time.monotonic() - started
        return lost(spec, settings, seconds, known)
    return outcome


def _prepare() -> None:
    """Do once what takes seconds, and would be repeated in the process of each run."""
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # the first optimizer imports a lot
    provenance.of_a_run()


def _prepare_for(spec: RunSpec) -> None:
    """Import what this run needs, and probably others too: libraries, no code of the user."""
    if spec.config.backend in ("auto", "envpool"):
        with suppress(ImportError):
            import envpool  # noqa: F401
    if spec.env.name in gymnasium.registry:
        entry_point = str(gymnasium.registry[spec.env.name].entry_point)
        if entry_point.startswith("gymnasium."):
            with suppress(ImportError):
                import_module(entry_point.partition(":")[0])


def _execute(
    spec: RunSpec,
    settings: WorkerSettings,
    temporary: str,
    writer: Connection,
    to_command: Connection,
    supervisor: int,
) -> None:
    """Execute a run in this process, and send what comes of it."""
    to_command.close()
    process_tree.lead()
    process_tree.die_with(supervisor)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):  # the command's terminal is shared, and has settings to change
        os.dup2(null, number)
    if len(temporary) < SOCKETS:
        # Whatever is left there goes with the run, such as the folders of SB3's logger.
        tempfile.tempdir = os.environ["TMPDIR"] = temporary
    try:
        outcome: Outcome = work(spec, settings)
    except BaseException as error:  # a KeyboardInterrupt of the run must not end the grid
        outcome = Lost(spec, in_words(error))
    writer.send(outcome)


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
