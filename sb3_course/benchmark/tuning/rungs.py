r"""The rungs of successive halving: how many seeds a setting has, and how far they are trained.

With S seeds a trial, a factor η, and runs of T steps, the last rung has S whole runs, each one
before it 1/η of the seeds, down to one seed, and the first one that seed up to a fraction of T:

.. math::
    (1, \text{first look} \cdot T) \to (1, T) \to \dots \to (\mathrm{round}(S / \eta), T) \to (S, T)

A setting goes on to the next rung if it is among the best 1/η of those that have reached its own so
far. Once all settings have been begun, those that have become one of them since go on after all, so
that it does not matter in which order settings were tried.

Runs of a rung are stored runs. Those with all T steps are part of the next rung; the one that is
stopped at first is trained again.

Source: Li et al. 2020, *A System for Massively Parallel Hyperparameter Tuning* (asynchronous
successive halving), with seeds as a part of the budget.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sb3_course.benchmark.definition.search import Search


@dataclass(frozen=True)
class Rung:
    """What a setting is compared after.

    :param n_seeds: Number of seeds
    :param fraction: Fraction of each run after which it is stopped; 1 for whole runs
    """

    n_seeds: int
    fraction: float = 1.0


class Cascade(NamedTuple):
    """Outcome of successive halving.

    :param order: Indices of settings with a value, the best first: who goes further is better, then
        who has the higher value there; one that went on too early counts there only if it is
        better than one that ought to have gone on
    :param due: Indices of those that ought to go on to a rung that they have not reached
    """

    order: list[int]
    due: list[int]


def rungs_of(search: Search) -> list[Rung]:
    """Return the rungs, the smallest budget first.

    :param search: Number of seeds, factor and first look
    :return: Rungs; a single one if nothing is pruned
    """
    n = len(search.seeds)
    found = [Rung(n)]
    if search.halving == 1:
        return found
    while n > 1:
        n = max(1, round(n / search.halving))
        found.insert(0, Rung(n))
    return [Rung(1, search.first_look), *found] if search.first_look < 1 else found


def stop_of(evaluation_steps: list[int], fraction: float) -> int | None:
    """Return where a run is stopped: at the last evaluation within a fraction of its steps.

    :param evaluation_steps: Environment steps of its evaluations
    :param fraction: Fraction of its steps
    :return: Environment step of an evaluation after training has begun; None for the whole run
    """
    if fraction >= 1:
        return None
    within = [step for step in evaluation_steps if 0 < step <= fraction * evaluation_steps[-1]]
    stop = within[-1] if within else next(step for step in evaluation_steps if step > 0)
    return stop if stop < evaluation_steps[-1] else None


def n_promoted(n: int, halving: int) -> int:
    """Return how many of the settings on a rung go on to the next one.

    :param n: Number of settings on the rung
    :param halving: Factor η
    :return: Number, at least 1
    """
    return max(1, n // halving)


def cascade(values: Sequence[Sequence[float]], halving: int, n_rungs: int) -> Cascade:
    """Apply successive halving to settings that have values on some of the rungs.

    :param values: Values of each setting on the rungs that it has reached, in their order
    :param halving: Factor η
    :param n_rungs: Number of rungs
    :return: Order of the settings, and which of them are due on their next rung
    """
    pool, due = [i for i, reached in enumerate(values) if reached], list[int]()
    earned = [pool]
    for rung in range(n_rungs - 1):
        best = sorted(pool, key=lambda i: values[i][rung], reverse=True)
        best = best[: n_promoted(len(pool), halving)]
        due = [i for i in best if len(values[i]) == rung + 1]
        pool = [i for i in best if i not in due]
        earned.append(pool)
        if due:
            break
    return Cascade(_order(values, earned), due)


def _order(values: Sequence[Sequence[float]], earned: Sequence[Sequence[int]]) -> list[int]:
    """Return the order of settings, by those that have earned each rung."""
    order: list[int] = []
    for rung in reversed(range(max(map(len, values), default=0))):
        there = earned[rung] if rung < len(earned) else ()
        least = min((values[i][rung] for i in there), default=-math.inf)
        new = [
            i
            for i, reached in enumerate(values)
            if i not in order and len(reached) > rung and (i in there or reached[rung] > least)
        ]
        order += sorted(new, key=lambda i: values[i][rung], reverse=True)
    return order
