"""Mistakes that a user can mend, told in a line each."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake in what the user gave; the message says what to change."""


def unknown(kind: str, given: object, allowed: Iterable[str]) -> str:
    """Say that a name is unknown, which one was probably meant and what is allowed.

    :param kind: what the name stands for, such as ``"algorithm"``
    :param given: the name that was given
    :param allowed: the names that exist
    """
    names = sorted(allowed)
    lower = {name.lower(): name for name in names}
    close = get_close_matches(str(given).lower(), lower, n=1)
    meant = f" did you mean {lower[close[0]]!r}?" if close else ""
    shown = ", ".join(names) if len(names) <= 40 else f"{len(names)} names"
    return f"unknown {kind} {given!r};{meant} allowed: {shown}"


def in_words(error: Exception) -> str:
    """Tell an exception in a line.

    :param error: the exception; the type of a plain ``ValueError`` adds nothing
    """
    message = " ".join(str(error).split()) or "no reason given"
    plain = isinstance(error, ValueError | AssertionError) and str(error)
    return message if plain else f"{type(error).__name__}: {message}"


Key = tuple[str | int, ...]
"""Where a value stands: the keys and list positions that lead to it."""
