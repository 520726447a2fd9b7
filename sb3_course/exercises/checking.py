"""How a student's function is judged: not as right or wrong alone, but by the mistake it makes.

Its outcomes in all cases are compared with the right ones, then with those of each known mistake,
and of each two at once. Exact enumeration says what follows for the gradient.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch as th

from sb3_course.collection.observations import Array
from sb3_course.exercises.exercise import Case, Exercise, Run
from sb3_course.exercises.student_file import described, unfinished

PRECISION = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-6}
"""Largest error, relative to the largest number, by the type of what is returned."""

NEARLY = 1e-3
"""Relative error below which an answer is nearly right."""


class State(Enum):
    """Where a student is with an exercise."""

    DONE = "right"
    WRONG = "wrong"
    TO_DO = "to do"


@dataclass(frozen=True)
class Verdict:
    """What is said of a student's function.

    :param state: State of the exercise
    :param lines: What is wrong, or what a right answer shows; the diagnosis first
    """

    state: State
    lines: tuple[str, ...] = ()


class Unusable(Exception):
    """Answer that cannot be compared with any; the message says why."""


def check(exercise: Exercise, function: Callable[..., Any] | None, path: Path) -> Verdict:
    """Judge a student's function.

    :param exercise: Exercise
    :param function: Student's function; None if the file has none
    :param path: Student's file, for the place of an error
    :return: Verdict
    """
    if function is None:
        return Verdict(State.WRONG, (f"{path} has no function {exercise.name}",))
    run = _runner(function, [*exercise.cases[0].arguments])
    try:
        return _compared(exercise, run)
    except Unusable as error:
        return Verdict(State.WRONG, (str(error),))
    except (Exception, SystemExit) as error:
        if isinstance(error, NotImplementedError) and unfinished(error, path):
            return Verdict(State.TO_DO)
        return Verdict(State.WRONG, (described(error, path),))


def _compared(exercise: Exercise, run: Run) -> Verdict:
    """Judge a function by its outcomes."""
    right = [exercise.answer(**case.arguments) for case in exercise.cases]
    outcomes = [_outcome(run, case, r.shape) for case, r in zip(exercise.cases, right, strict=True)]
    wrong = [i for i, (x, r) in enumerate(zip(outcomes, right, strict=True)) if not close(x, r)]
    measured = _measured(exercise, run)
    if not wrong:
        if measured:
            return Verdict(State.WRONG, (f"right in the cases that were compared, but {measured}",))
        return Verdict(State.DONE, (exercise.shown,))
    consequence = (measured,) if measured else ()
    flags = _explained(exercise, outcomes, range(len(outcomes)))
    if flags == (exercise.planted,):
        return Verdict(State.TO_DO, consequence)
    first = wrong[0]
    label = exercise.cases[first].label
    lines = [exercise.mistakes[flag] for flag in flags]
    if not lines:
        guess = _explained(exercise, outcomes, [first])
        lines = [f"with {label}, as if {exercise.mistakes[flag]}" for flag in guess]
    seen = f"first seen with {label}: {_difference(outcomes[first], right[first])}"
    return Verdict(State.WRONG, (*lines, seen, *consequence))


def _measured(exercise: Exercise, run: Run) -> str:
    """Return how a function differs from enumeration."""

    def shaped(*arguments: Any) -> Array:
        return _of_shape(run(*arguments), exercise.answer(*arguments).shape)

    try:
        return exercise.measure(shaped)
    except Unusable as error:
        return f"with one of all trajectories of a small MDP, {error}"


def _explained(
    exercise: Exercise, outcomes: Sequence[Array], where: Iterable[int]
) -> tuple[str, ...]:
    """Find the mistakes that explain the outcomes of some cases: one, else two; or none."""
    where = list(where)
    ways = [c for size in (1, 2) for c in combinations(exercise.mistakes, size)]
    for flags in ways:
        made = dict.fromkeys(flags, True)
        with np.errstate(all="ignore"):
            if all(
                close(outcomes[i], exercise.answer(**exercise.cases[i].arguments, **made))
                for i in where
            ):
                return flags
    return ()


def close(found: Array, wanted: Array) -> bool:
    """Compare an answer, to the precision of its type.

    :param found: Answer
    :param wanted: What it is compared with
    :return: Whether they are equal but for rounding
    """
    if found.shape != wanted.shape or not np.isfinite(wanted).all():
        return False
    scale = max(np.abs(wanted).max(initial=0.0), 1e-12)
    return bool((np.abs(found - wanted) <= PRECISION[found.dtype] * scale).all())


def _difference(found: Array, right: Array) -> str:
    """Return where two answers differ first, and in how many numbers."""
    tolerance = PRECISION[found.dtype] * np.abs(right).max()
    differing = np.argwhere(np.abs(found - right) > tolerance)
    place = tuple(int(i) for i in differing[0])
    shown = ", ".join(map(str, place))
    nearly = np.abs(found - right).max() < NEARLY * np.abs(right).max()
    digits, why = (9, "; nearly right: is an ε added?") if nearly else (6, "")
    return (
        f"[{shown}] is {found[place]:.{digits}g}, right is {right[place]:.{digits}g} "
        f"({len(differing)} of {right.size} numbers differ{why})"
    )


def _outcome(run: Run, case: Case, shape: tuple[int, ...]) -> Array:
    """Call a student's function with the arguments of a case, and check the form of the answer."""
    try:
        return _of_shape(run(*case.arguments.values()), shape)
    except Unusable as error:
        raise Unusable(f"with {case.label}, {error}") from None


def _of_shape(found: Array, shape: tuple[int, ...]) -> Array:
    """Return an answer; raise ``Unusable`` if it has another shape."""
    if found.shape != shape:
        raise Unusable(f"the shape is {found.shape} instead of {shape}")
    return found


def _runner(function: Callable[..., Any], names: Sequence[str]) -> Run:
    """Make a function that calls a student's with copies, and returns numbers or says why not."""

    def run(*arguments: Any) -> Array:
        copies = [_copy(argument) for argument in arguments]
        answer = _array(function(*copies))
        for name, argument, copy in zip(names, arguments, copies, strict=True):
            if isinstance(argument, np.ndarray | th.Tensor) and not bool((argument == copy).all()):
                raise Unusable(f"the argument {name} is changed: work on a copy of it")
        return answer

    return run


def _copy(argument: Any) -> Any:
    if isinstance(argument, th.Tensor):
        return argument.detach().clone().requires_grad_(argument.requires_grad)
    return argument.copy() if isinstance(argument, np.ndarray) else argument


def _array(answer: Any) -> Array:
    """Return an answer's numbers; raise ``Unusable`` if they are none, or not finite."""
    if answer is None:
        raise Unusable("None is returned: is there a return statement?")
    values = answer.detach().numpy() if isinstance(answer, th.Tensor) else answer
    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        raise Unusable("lists of different lengths are returned instead of an array") from None
    if array.dtype not in PRECISION:
        kind = type(answer).__name__
        raise Unusable(
            f"a {kind} of type {array.dtype} is returned instead of an array of type float64"
        )
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise Unusable(f"[{', '.join(map(str, place))}] is {array[place]}: divided by 0?")
    return array
