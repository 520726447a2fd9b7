"""Section ``search`` of a grid: what `sb3-course tune` tries, on which seeds, and what is best.

.. code-block:: yaml

    search:
      trials: 40                     # settings that are tried for each algorithm
      seeds: 5                       # of a trial: a list, or their number (from 100 upwards)
      objective: final               # return at the end; mean over the run, or best of the run
      shared: false                  # true: one setting for all environments, by normalized scores
      halving: 3                     # of so many settings one goes on to more steps and seeds
      first_look: 0.33               # fraction of a run after which settings are first compared
      confirm: { best: 3, seeds: 10 } # the best ones again, on seeds that no trial has seen
      sensitivity: 0                 # values of each parameter that are run around the chosen ones
      algorithms:
        NPG:                         # an algorithm of the grid, whose other settings stay
          target_kl: { low: 0.003, high: 0.1, log: true }
          learning_rate: { low: 1e-4, high: 1e-2, log: true, decay: [true, false] } # true: to 0
          n_steps: [16, 32, 64, 128] # one of these
          line_search: [true, false]
          cg_damping: { low: 0.01, high: 0.3, when: { line_search: true } } # else as in the grid
          policy_kwargs.log_std_init: { low: -2.0, high: 0.0 }

With ``halving: 1`` nothing is pruned. Whole numbers as bounds give whole numbers. A condition names
a list of choices above it.
"""

from collections.abc import Mapping
from itertools import count, islice
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    StrictBool,
    field_validator,
    model_validator,
)

from sb3_course.benchmark.definition.field_types import MAX_SEED, MAX_SEEDS, Seeds
from sb3_course.benchmark.definition.sections import Section
from sb3_course.common.errors import UserError, unknown

FIRST_SEED = 100
"""First of the seeds of trials, of which only the number is given."""


LARGEST = 1e12
"""Largest bound of a range."""
MOST_CHOICES = 100


def _range_or_choices(given: Any) -> Any:
    if isinstance(given, list):
        return {"values": given}
    if not isinstance(given, Mapping) or not given.keys() & {"low", "high", "values"}:
        raise ValueError(
            "allowed: a range, as in {low: 0.01, high: 0.1, log: true}, or a list of values; a key "
            "of policy_kwargs is written policy_kwargs.KEY"
        )
    return given


def _number(given: Any) -> Any:
    if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) <= LARGEST:
        raise ValueError(f"allowed: a number, up to {LARGEST:g}")
    return given


def _counted(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool)


def _seeds_from_100(given: Any) -> Any:
    if _counted(given) and 0 < given <= MAX_SEEDS:
        return list(range(FIRST_SEED, FIRST_SEED + given))
    if not isinstance(given, list):
        raise ValueError(
            f"allowed: a list of distinct seeds, or their number (from {FIRST_SEED} upwards)"
        )
    return given


def _fresh_seeds(given: Any) -> Any:
    if _counted(given) and 2 <= given <= MAX_SEEDS:
        return given
    distinct = isinstance(given, list) and len(set(map(str, given))) == len(given) >= 2
    if not distinct or not all(_counted(seed) and 0 <= seed <= MAX_SEED for seed in given):
        raise ValueError("allowed: distinct seeds, or their number; at least 2")
    return given


Number = Annotated[int | float, BeforeValidator(_number)]


class Searched(Section):
    """Values of one hyper-parameter that are tried: a range, or a list of choices."""

    low: Number | None = None
    high: Number | None = None
    log: StrictBool = False
    decay: StrictBool | tuple[StrictBool, StrictBool] = False
    """Whether the value falls linearly to 0 over the run; a pair tries both."""
    values: list[JsonValue] | None = Field(default=None, min_length=2, max_length=MOST_CHOICES)
    when: dict[str, list[JsonValue]] = Field(default_factory=dict)
    """Choices of other hyper-parameters for which this one is tried."""

    @field_validator("when", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise ValueError("allowed: a choice of another parameter, as in {line_search: true}")
        return {key: value if isinstance(value, list) else [value] for key, value in given.items()}

    @model_validator(mode="after")
    def _range_or_choices(self) -> "Searched":
        if self.values is not None:
            if self.low is not None or self.high is not None or self.log or self.decay:
                raise ValueError(
                    "values are a list of choices; low, high, log, decay are of a range"
                )
            if any(value in self.values[:i] for i, value in enumerate(self.values)):
                raise ValueError("a choice is listed twice; allowed: distinct values")
            return self
        if self.low is None or self.high is None:
            raise ValueError("a range needs both low and high")
        if self.low >= self.high:
            raise ValueError(f"low {self.low} and high {self.high}; allowed: low below high")
        if self.log and self.low <= 0:
            raise ValueError(f"log and low {self.low}; allowed with log: a low above 0")
        if self.whole and self.high - self.low == 1:
            raise ValueError(
                f"between the whole numbers {self.low} and {self.high} is nothing; allowed: "
                f"[{self.low}, {self.high}] for these two, or {self.low}.0 and {self.high}.0"
            )
        if self.whole and self.decay:
            raise ValueError("whole numbers do not fall to 0; allowed with decay: low as in 1.0")
        return self

    @property
    def whole(self) -> bool:
        """Whether the values of the range are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def decays(self) -> tuple[bool, ...]:
        """Each tried answer to whether the value falls to 0."""
        return self.decay if isinstance(self.decay, tuple) else (self.decay,)


class Confirm(Section):
    """How the best settings are run again before one is chosen."""

    best: int = Field(default=3, ge=1, le=100)
    seeds: Annotated[Any, BeforeValidator(_fresh_seeds)] = 10
    """Seeds that no trial has seen; a number counts from the last seed of the trials."""


Ranges = dict[str, Annotated[Searched, BeforeValidator(_range_or_choices)]]


class Search(Section):
    """What is tried for each algorithm, and how settings are compared."""

    algorithms: dict[str, Annotated[Ranges, Field(min_length=1)]] = Field(min_length=1)
    trials: int = Field(default=40, ge=1, le=10_000)
    seeds: Annotated[Seeds, BeforeValidator(_seeds_from_100)] = Field(
        default_factory=lambda: _seeds_from_100(5)
    )
    objective: Literal["final", "mean", "best"] = "final"
    shared: StrictBool = False
    halving: int = Field(default=3, ge=1, le=16)
    first_look: float = Field(default=0.33, gt=0, le=1)
    confirm: Confirm = Confirm()
    sensitivity: Annotated[int, Field(ge=0, le=100)] = 0
    """Values of each parameter that are run, the others as chosen; of choices, all are."""

    @field_validator("algorithms")
    @classmethod
    def _conditions_on_choices_above(cls, given: dict[str, Ranges]) -> dict[str, Ranges]:
        for ranges in given.values():
            above: dict[str, list[JsonValue]] = {}
            for name, searched in ranges.items():
                _check_condition(name, searched, above)
                if searched.values is not None:
                    above[name] = searched.values
        return given

    def fresh_seeds(self) -> list[int]:
        """Return the seeds on which the best settings are run again."""
        given = self.confirm.seeds
        return given if isinstance(given, list) else list(islice(count(max(self.seeds) + 1), given))

    def check_seeds(self, published: set[int]) -> None:
        """Check that no seed serves two purposes.

        :param published: Seeds of the grid's own runs
        :raises UserError: If one does; names them
        """
        for what, mine, name, others in (
            ("seeds", self.seeds, "the grid's own, which are published", published),
            ("confirm.seeds", self.fresh_seeds(), "the grid's own, which are published", published),
            ("confirm.seeds", self.fresh_seeds(), "those of the trials", set(self.seeds)),
        ):
            if shared := sorted(others.intersection(mine)):
                listed = ", ".join(map(str, shared[:10])) + (", …" if shared[10:] else "")
                raise UserError(
                    f"{what} {listed} are among {name}; allowed: others, since a setting that was "
                    "chosen with a seed looks better on it than it is"
                )


def _check_condition(name: str, searched: Searched, above: Mapping[str, list[JsonValue]]) -> None:
    for other, values in searched.when.items():
        if other not in above:
            raise ValueError(f"{name}: when: {unknown('list of choices above it', other, above)}")
        for value in values:
            if value not in above[other]:
                raise ValueError(
                    f"{name}: when: {other} is never {value!r}; allowed: {above[other]}"
                )
