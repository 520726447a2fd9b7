r"""The rungs of successive halving: how many seeds a setting has, and how far they are trained.

With S seeds a trial, a factor η, and runs of T steps, the last rung has S whole runs, each one
before it 1/η of the seeds, down to one seed, and the first one that seed up to a fraction of T:

.. math::
    (1, \text{first look} \cdot T) \to (1, T) \to \dots \to (\mathrm{round}(S / \eta), T) \to (S, T)

A setting goes on to the next rung if it is among the best 1/η of those that have reached its own.
Runs of a rung are stored runs. Those with all T steps are part of the next rung; the one that is
stopped at first is trained again.

Source: Li et al. 2020, *A System for Massively Parallel Hyperparameter Tuning* (asynchronous
successive halving), with seeds as a part of the budget.
"""

from dataclasses import dataclass

from sb3_course.benchmark.definition.search import Search


@dataclass(frozen=True)
class Rung:
    """What a setting is compared after.

    :param n_seeds: Number of seeds
    :param fraction: Fraction of each run after which it is stopped; 1 for whole runs
    """

    n_seeds: int
    fraction: float = 1.0


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
