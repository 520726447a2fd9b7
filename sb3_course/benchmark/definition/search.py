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
from copy import deepcopy
from itertools import combinations, count, islice
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_validator,
)

from sb3_course.benchmark.definition.field_types import (
    MAX_SEED,
    MAX_SEEDS,
    Real,
    Seeds,
    Whole,
)
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


def _one_or_both_answers(given: Any) -> Any:
    if isinstance(given, bool) or (
        isinstance(given, list) and given in ([True, False], [False, True])
    ):
        return given
    raise ValueError("allowed: true, false, or [true, false] for both")


Number = Annotated[int | float, BeforeValidator(_number)]


def same_choice(a: Any, b: Any) -> bool:
    """Return whether two values of a hyper-parameter are the same choice.

    :param a: Value as in a grid
    :param b: Another one
    :return: Whether they are equal, where true is not 1, nor false 0, at any depth
    """
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_choice, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_choice(a[key], b[key]) for key in a)
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _check_choices(values: list[JsonValue]) -> None:
    if not values:
        raise ValueError("an empty list; allowed: at least 2 choices")
    if len(values) == 1:
        raise ValueError("one choice only; a fixed value belongs in the algorithm's params")
    if any(same_choice(a, b) for a, b in combinations(values, 2)):
        raise ValueError("a choice is listed twice; allowed: distinct values")


class Searched(Section):
    """Values of one hyper-parameter that are tried: a range, or a list of choices."""

    low: Number | None = None
    high: Number | None = None
    log: StrictBool = False
    decay: Annotated[bool | tuple[bool, bool], BeforeValidator(_one_or_both_answers)] = False
    """Whether the value falls linearly to 0 over the run; a pair tries both."""
    values: list[JsonValue] | None = Field(default=None, max_length=MOST_CHOICES)
    when: dict[str, list[JsonValue]] = Field(default_factory=dict)
    """Choices of other hyper-parameters for which this one is tried."""

    @field_validator("when", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise ValueError("allowed: a choice of another parameter, as in {line_search: true}")
        if [] in given.values():
            raise ValueError(
                "an empty list, for which it is never tried; allowed: one choice or more"
            )
        return {key: value if isinstance(value, list) else [value] for key, value in given.items()}

    @model_validator(mode="after")
    def _range_or_choices(self) -> "Searched":
        if self.values is not None:
            if self.low is not None or self.high is not None or self.log or self.decay:
                raise ValueError(
                    "values are a list of choices; low, high, log, decay are of a range"
                )
            _check_choices(self.values)
            return self
        if self.low is None or self.high is None:
            raise ValueError("a range needs both low and high")
        if self.low >= self.high:
            raise ValueError(f"low {self.low} and high {self.high}; allowed: low below high")
        if self.log and self.low <= 0:
            raise ValueError(f"log and low {self.low}; allowed with log: a low above 0")
        if self.whole and self.high - self.low == 1:
            low, high = self.low, self.high
            switch = ", [false, true] for a switch" if low == 0 else ""
            raise ValueError(
                f"there is no whole number between {low} and {high}; allowed: "
                f"[{low}, {high}] for these two{switch}, or {low}.0 and {high}.0"
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

    best: Whole = Field(default=3, ge=1, le=100)
    seeds: Annotated[Any, BeforeValidator(_fresh_seeds)] = 10
    """Seeds that no trial has seen; a number counts from the last seed of the trials."""


Ranges = dict[str, Annotated[Searched, BeforeValidator(_range_or_choices)]]


class Search(Section):
    """What is tried for each algorithm, and how settings are compared."""

    algorithms: dict[str, Annotated[Ranges, Field(min_length=1)]] = Field(min_length=1)
    trials: Whole = Field(default=40, ge=1, le=10_000)
    seeds: Annotated[Seeds, BeforeValidator(_seeds_from_100)] = Field(
        default_factory=lambda: _seeds_from_100(5)
    )
    objective: Literal["final", "mean", "best"] = "final"
    shared: StrictBool = False
    halving: Whole = Field(default=3, ge=1, le=16)
    first_look: Real = Field(default=0.33, gt=0, le=1)
    confirm: Confirm = Field(default={}, validate_default=True)
    sensitivity: Annotated[Whole, Field(ge=0, le=100)] = 0
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

    @field_validator("confirm")
    @classmethod
    def _seeds_to_the_largest(cls, given: Confirm, info: ValidationInfo) -> Confirm:
        seeds = info.data.get("seeds")
        if seeds is not None and not isinstance(given.seeds, list):  # else they have mistakes
            last = max(seeds) + given.seeds
            if last > MAX_SEED:
                raise ValueError(
                    f"{given.seeds} fresh seeds, counted from {max(seeds) + 1}, the last seed of "
                    f"the trials plus 1, end at {last}; allowed: seeds up to {MAX_SEED}"
                )
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


def with_settings(params: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyper-parameters in which some have other values.

    :param params: Hyper-parameters as in a grid, which stay as they are
    :param settings: New values by name, those of ``policy_kwargs`` by ``policy_kwargs.KEY``
    :return: Hyper-parameters as in a grid
    """
    merged = deepcopy(dict(params))
    for name, value in settings.items():
        head, _, key = name.partition(".")
        if key:
            merged[head] = {**(merged.get(head) or {}), key: value}
        else:
            merged[name] = value
    return merged


def _check_condition(name: str, searched: Searched, above: Mapping[str, list[JsonValue]]) -> None:
    for other, values in searched.when.items():
        if not above:
            raise ValueError(
                f"{name}: when: given {other!r}; allowed: a list of choices above it, and there is "
                "none"
            )
        if other not in above:
            raise ValueError(f"{name}: when: {unknown('list of choices above it', other, above)}")
        for value in values:
            if not any(same_choice(value, choice) for choice in above[other]):
                raise ValueError(
                    f"{name}: when: {other} is never {value!r}; allowed: {above[other]}"
                )
