"""Exit codes, and lines for people."""

import sys

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done, something failed, wrong arguments, Ctrl-C."""


def say(line: str) -> None:
    """Print a line of results.

    :param line: Text of the line
    """
    print(line, flush=True)


def complain(text: str) -> None:
    """Print lines on standard error, each with the command's name before it.

    :param text: One line or several
    """
    for line in text.splitlines():
        print(f"sb3-course: {line}", file=sys.stderr, flush=True)
