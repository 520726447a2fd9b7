"""Where runs execute.

A backend takes runs and yields their results in batches as they land, at least twice a second an
empty batch, so that whoever waits can show progress.
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from sb3_course.benchmark.grid import RunSpec
from sb3_course.benchmark.run import RunResult, attempt, portable

Backend = Callable[[Sequence[RunSpec], Path], Iterator[list[RunResult]]]
"""Takes the runs, in the order to start them, and the folder for progress and logs."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def progress_file(folder: Path, spec: RunSpec) -> Path:
    """Return the file in which a run leaves its progress.

    :param folder: the folder for progress and logs
    :param spec: the run
    """
    return folder / f"{spec.id}.progress"


def log_file(folder: Path, spec: RunSpec) -> Path:
    """Return the file that holds what a run printed.

    :param folder: the folder for progress and logs
    :param spec: the run
    """
    return folder / f"{spec.id}.log"


def local_processes(
    specs: Sequence[RunSpec], folder: Path, workers: int
) -> Iterator[list[RunResult]]:
    """Run in processes of this machine, each on one thread; a dead worker costs its run alone.

    Workers are reused, since importing torch takes seconds; a run's result does not depend on
    the runs before it.

    :param specs: the runs, in the order to start them
    :param folder: for progress and logs
    :param workers: how many run at a time
    """
    spawn = multiprocessing.get_context("spawn")
    with _one_thread_each(), ProcessPool(max_workers=workers, context=spawn) as pool:
        try:
            pending: dict[Future[RunResult], RunSpec] = {
                pool.schedule(_work, args=[spec, folder]): spec for spec in specs
            }
            while pending:
                done, _ = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                yield [_result(future, pending.pop(future)) for future in done]
        except BaseException:
            pool.stop()  # type: ignore[no-untyped-call]
            raise


def _result(future: Future[RunResult], spec: RunSpec) -> RunResult:
    try:
        return future.result()
    except ProcessExpired as error:
        failure = f"the worker died with exit code {error.exitcode}"
    except Exception as error:
        failure = portable("".join(traceback.format_exception(error)))
    return RunResult(spec=spec, failure=failure)


def _work(spec: RunSpec, folder: Path) -> RunResult:
    log = log_file(folder, spec)
    with log.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    result = attempt(spec, progress_file(folder, spec))
    if result.failure is None:
        log.unlink(missing_ok=True)
    return result


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Set the variables that numerical libraries read when a new process imports them."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
