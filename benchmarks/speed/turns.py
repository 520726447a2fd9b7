"""Contenders that take turns in one process, and what a turn of each costs.

A machine that others use as well drifts from second to second. Contenders therefore alternate, each
turn is compared with its neighbor's of the same round, and a turn is clocked twice: by the CPU
seconds of this process, which other processes hardly change, and by wall time.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple, Protocol

WARM_UPS = 2
"""Turns of one batch that do not count: the first imports and allocates, the second is timed."""


class Turn(NamedTuple):
    """What one turn did and cost."""

    units: int
    cpu: float
    wall: float


class Contender(Protocol):
    """Whoever takes turns. ``batch`` is the least that a turn can do, in units of work."""

    batch: int

    def turn(self, units: int) -> Turn:
        """Do at least ``units``."""


def nothing() -> None:
    """Prepare nothing."""


@dataclass
class Local:
    """A contender in this process.

    ``work`` does at least so many units and returns how many; ``prepare`` runs first, unclocked.
    """

    work: Callable[[int], int]
    batch: int = 1
    prepare: Callable[[], None] = nothing

    def turn(self, units: int) -> Turn:
        """Do at least ``units``."""
        self.prepare()
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        done = self.work(units)
        return Turn(done, time.process_time() - cpu, time.perf_counter() - wall)


def alternate(
    contenders: dict[str, Contender], rounds: int, seconds: float
) -> dict[str, list[Turn]]:
    """Let every contender take a turn of about ``seconds`` in each of the rounds."""
    units = {name: turn_units(contender, seconds) for name, contender in contenders.items()}
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            turns[name].append(contender.turn(units[name]))
    return turns


def turn_units(contender: Contender, seconds: float) -> int:
    """Return how many units, in whole batches, the contender does in about ``seconds``."""
    for _ in range(WARM_UPS):
        turn = contender.turn(contender.batch)
        if turn.wall > 2 * seconds:  # a batch is more than a turn in any case
            break
    return contender.batch * max(1, ceil(seconds / turn.wall * turn.units / contender.batch))
