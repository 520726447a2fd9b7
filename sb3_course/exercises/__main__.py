"""Command line of the exercises: ``python -m sb3_course.exercises list|start|check``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from sb3_course.common.errors import UserError, show_anywhere, unknown
from sb3_course.exercises.student_file import function, kept_running, load, start, statements

if TYPE_CHECKING:
    from sb3_course.exercises.checking import Verdict

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes, as those of ``sb3-course``."""

WIDTH = 2 + max(map(len, statements()))
"""Of the column of names."""


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    top = argparse.ArgumentParser("python -m sb3_course.exercises", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    words = "print the exercises, and where FILE is with each, which executes it as check does"
    listing = commands.add_parser("list", help=words, description=words)
    listing.add_argument("file", nargs="?", type=Path, metavar="FILE")
    words = "write the worksheet: twelve functions to write or to repair"
    starting = commands.add_parser("start", help=words, description=words)
    starting.add_argument("file", type=Path, metavar="FILE")
    words = "execute FILE, which should be your own, and say what is wrong with its functions"
    checking = commands.add_parser("check", help=words, description=words)
    checking.add_argument("file", type=Path, metavar="FILE")
    words = "some of them (default: all)"
    checking.add_argument("names", nargs="*", default=[], metavar="NAME", help=words)
    return top


def invoke(arguments: Sequence[str]) -> int:
    """Run a command.

    :param arguments: Words after the command's name
    :return: Exit code: 0 if every exercise that was asked for is right, 1 if not, 2 for wrong
        arguments, 130 for Ctrl-C
    """
    try:
        asked = parser().parse_args(arguments)
        if asked.command == "start":
            start(asked.file)
            print(asked.file)
            return OK
        if asked.command == "list":
            return _list(asked.file)
        return _check(asked.file, asked.names)
    except UserError as error:
        print(f"sb3_course.exercises: {error}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        return INTERRUPTED


def _list(path: Path | None) -> int:
    from sb3_course.exercises.themes import EXERCISES

    states = {} if path is None else _verdicts(path, list(EXERCISES))
    for name, exercise in EXERCISES.items():
        state = f"{states[name].state.value:<7}" if path is not None else ""
        print(f"{name:<{WIDTH}}{state}{exercise.title}")
    return OK


def _check(path: Path, names: Sequence[str]) -> int:
    for name in names:
        if name not in statements():
            raise UserError(unknown("exercise", name, statements()))
    from sb3_course.exercises.checking import State

    verdicts = _verdicts(path, [name for name in statements() if name in names or not names])
    for name, verdict in verdicts.items():
        print(f"{name:<{WIDTH}}{verdict.state.value}")
        for line in "\n".join(verdict.lines).splitlines():
            code = line.startswith(" ")  # of the student's, which is shown as it is
            print(
                f"    {line}"
                if code
                else fill(line, 88, initial_indent="    ", subsequent_indent="      ")
            )
    right = sum(verdict.state is State.DONE for verdict in verdicts.values())
    print(f"{right} of {len(verdicts)} right")
    return OK if right == len(verdicts) else FAILED


def _verdicts(path: Path, names: Sequence[str]) -> "dict[str, Verdict]":
    """Execute a student's file and judge functions of it."""
    import torch

    from sb3_course.exercises.checking import check
    from sb3_course.exercises.themes import EXERCISES

    torch.set_num_threads(1)  # for arrays of this size, more would take longer
    with kept_running():
        namespace = load(path)
        return {name: check(EXERCISES[name], function(namespace, name), path) for name in names}


if __name__ == "__main__":
    show_anywhere()
    sys.exit(invoke(sys.argv[1:]))
