"""Mistakes that a user can correct, each described in one line."""

import io
import multiprocessing
import sys
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral
from pathlib import Path


class UserError(ValueError):
    """Mistake in the user's input, with a message that explains what to change."""


def show_anywhere() -> None:
    """Escape what a terminal cannot show, such as one in ASCII."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def check_whole(name: str, value: object, least: int = 1, *, none: bool = False) -> None:
    """Check that an argument is a whole number.

    :param name: Name of the argument
    :param value: Given value
    :param least: Smallest number that is allowed
    :param none: Whether None is allowed, too
    :raises UserError: If it is no whole number, or a smaller one
    """
    if none and value is None:
        return
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        takes = f"a whole number of at least {least}" + (" or None" if none else "")
        raise UserError(f"{name} must be {takes}, got {value!r}")


def refuse_in_worker(call: str) -> None:
    """Refuse a call from a script that a worker process is importing to start.

    Such a call would start workers which make it again.

    :param call: Name of the function
    :raises UserError: The process is being started by another one's call
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UserError(
            f"worker processes import the script that calls {call}: place the call under "
            '`if __name__ == "__main__":`'
        )


def check_sequence(name: str, value: object) -> None:
    """Check that an argument is a list and no text, whose letters would be its parts.

    :param name: Name of the argument
    :param value: Given value
    :raises UserError: If it is a text
    """
    if isinstance(value, str):
        raise UserError(f"{name} must be a list, as in {name}=[{value!r}], got {value!r}")


def unknown(kind: str, given: object, allowed: Iterable[str]) -> str:
    """Return the message for an unknown name: the name, the nearest known one and all known ones.

    :param kind: What the name stands for, such as ``"algorithm"``
    :param given: Name that the user gave
    :param allowed: Names that exist; more than 40 are counted instead of listed
    :return: Message in one line
    """
    names = sorted(allowed)
    lower = {name.lower(): name for name in names}
    close = get_close_matches(str(given).lower(), lower, n=1)
    meant = f" did you mean {lower[close[0]]!r}?" if close else ""
    shown = ", ".join(names) if len(names) <= 40 else f"{len(names)} names"
    return f"unknown {kind} {given!r};{meant} allowed: {shown}"


def in_words(error: BaseException) -> str:
    """Return a description of an exception in one line.

    :param error: Exception to describe
    :return: Its message, after the name of its class unless that is a ``ValueError`` or an
        ``AssertionError`` with a message
    """
    message = " ".join(str(error).split()) or "no reason given"
    plain = isinstance(error, ValueError | AssertionError) and str(error)
    return message if plain else f"{type(error).__name__}: {message}"


def of_sb3(error: BaseException) -> bool:
    """Return whether SB3 or sb3-contrib has refused what it was given.

    :param error: Exception that was caught
    :return: Whether their code has raised it as an ``AssertionError`` or a ``ValueError``
    """
    if not isinstance(error, AssertionError | ValueError):
        return False
    raised = traceback.extract_tb(error.__traceback__)[-1].filename
    return bool({"stable_baselines3", "sb3_contrib"} & set(Path(raised).parts))


Key = tuple[str | int, ...]
"""Position of a value: the keys and list indices that lead to it."""
