"""Exit codes, and functions that print."""

import signal
import sys
import threading
from collections.abc import Callable

import typer

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: success, failure, wrong arguments, Ctrl-C."""
RUNS_KEPT = "interrupted: finished runs are kept; the same command continues from there"


def print_line(line: str) -> None:
    """Print a line of results at once.

    :param line: Text of the line
    """
    print(line, flush=True)


def print_error(text: str) -> None:
    """Print lines on standard error, each one after the command's name.

    :param text: One or more lines
    """
    for line in text.splitlines():
        print(f"sb3-course: {line}", file=sys.stderr, flush=True)


def another_place() -> Callable[[], str] | None:
    """Return what asks for another file, where one cannot be written; None if nobody can answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    question = "another file (Enter tries the same again)"
    return lambda: str(typer.prompt(question, default="", show_default=False, err=True))


def stop_on_sigterm() -> None:
    """Make SIGTERM, which a job scheduler sends, do what Ctrl-C does; in the main thread alone."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
