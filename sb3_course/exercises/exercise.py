"""What an exercise is: cases, the answer to each, and what people answer instead."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from sb3_course.collection.observations import Array

STILL_THERE = "the planted bug is still there"
"""What is said of a planted bug beside other mistakes: not what it is."""
Run: TypeAlias = Callable[..., Array]
"""A student's function, called with copies; its answer as an array."""


@dataclass(frozen=True)
class Case:
    """Arguments that a student's function is called with.

    :param label: What is particular to them, as in "in the case of …"
    :param arguments: Arguments by name, in the order of the function's parameters
    """

    label: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Exercise:
    """A function that a student writes or repairs, and how it is judged.

    ``answer`` is the definition in terms of arrays. Each of its flags makes one known mistake, so
    that an outcome can be told from its cause; two flags make two mistakes at once.

    :param name: Name of the function in the worksheet
    :param title: Title in a few words
    :param theme: Part of the course that it belongs to
    :param cases: Arguments on which outcomes are compared
    :param answer: Function of a case's arguments, and of flags that are False by default
    :param mistakes: What each flag's outcome means, told to the student
    :param measure: Function from a student's function to what exact enumeration says against it in
        one sentence; empty if nothing
    :param shown: What enumeration shows of a right answer
    :param planted: Flag of the bug that the worksheet's function has; None where it is empty
    """

    name: str
    title: str
    theme: str
    cases: tuple[Case, ...]
    answer: Callable[..., Array]
    mistakes: dict[str, str]
    measure: Callable[[Run], str]
    shown: str
    planted: str | None = None
