"""Schedules of β, the probability that the expert acts in a round of DAgger.

DAgger takes any callable from the round's number to a probability, including the schedules of
``imitation``. The two here compute the same as those of ``imitation``, whose import takes seconds
because it loads a data-set library.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from sb3_course.common.validation import check_number

BetaSchedule: TypeAlias = Callable[[int], float]


@dataclass(frozen=True)
class LinearBeta:
    """Schedule that falls linearly from 1 in round 0 to 0 in round ``n_rounds``, and stays there.

    :param n_rounds: Number of rounds until β is 0, at least 1
    """

    n_rounds: int

    def __post_init__(self) -> None:
        if self.n_rounds < 1:
            raise ValueError(f"n_rounds must be at least 1, got {self.n_rounds}")

    def __call__(self, number: int) -> float:
        """Return β of a round, counted from 0."""
        return max(0.0, 1.0 - number / self.n_rounds)


@dataclass(frozen=True)
class ExponentialBeta:
    """Schedule whose β is ``decay`` to the power of the round's number.

    :param decay: Factor from one round to the next, from 0 to 1
    """

    decay: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.decay <= 1.0:
            raise ValueError(f"decay must be a number from 0 to 1, got {self.decay}")

    def __call__(self, number: int) -> float:
        """Return β of a round, counted from 0."""
        return float(self.decay**number)


def beta_of_round(schedule: float | BetaSchedule, number: int) -> float:
    """Compute the probability that the expert acts in a round.

    :param schedule: β, or a function of the round's number
    :param number: Number of the round; in round 0 the expert always acts
    :return: β_i
    :raises ValueError: The schedule returns something else than a probability
    """
    if number == 0:
        return 1.0
    if not callable(schedule):
        check_number("beta_schedule", schedule, 0, 1, more="or a function of the round")
        return float(schedule)
    beta: Any = schedule(number)
    beta = beta.item() if getattr(beta, "ndim", None) == 0 else beta  # of NumPy or PyTorch
    check_number(f"beta_schedule's value in round {number}", beta, 0, 1)
    return float(beta)
