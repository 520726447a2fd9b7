"""Mistakes that a user can correct, each described in one line."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Mistake in the user's input, with a message that explains what to change."""


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


Key = tuple[str | int, ...]
"""Position of a value: the keys and list indices that lead to it."""
