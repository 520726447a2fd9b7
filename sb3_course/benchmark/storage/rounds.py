"""Rounds of seeds, in ``results/GRID/rounds.json``: planned ones, and looks at the questions."""

from collections.abc import Mapping
from itertools import accumulate, chain
from pathlib import Path

from pydantic import BaseModel, ConfigDict, model_validator

from sb3_course.benchmark.definition.field_types import Pair, Seeds
from sb3_course.benchmark.definition.grid import Grid
from sb3_course.common.errors import UserError
from sb3_course.common.files import read_kept, write_whole

NAME = "rounds.json"


class Rounds(BaseModel):
    """A grid whose seeds are added in rounds, until its questions are settled.

    :param seeds: Seeds of each planned round; their number is that of the planned looks
    :param questions: Questions that share the level of the test, with their two algorithms
    :param started: Number of rounds that each algorithm takes part in
    :param looked: Number of looks at each question, each after a whole round
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: list[Seeds]
    questions: Mapping[str, Pair]
    started: Mapping[str, int] = {}
    looked: Mapping[str, int] = {}

    @model_validator(mode="after")
    def _of_one_plan(self) -> "Rounds":
        every = list(chain.from_iterable(self.seeds))
        counts = [*self.started.values(), *self.looked.values()]
        if not every or len(set(every)) < len(every):
            raise ValueError("allowed: rounds without a seed in common")
        if not all(0 <= n <= len(self.seeds) for n in counts) or self.looked.keys() - {
            *self.questions
        }:
            raise ValueError("allowed: counts of the planned rounds, of known questions")
        return self

    def looks_at(self, question: str, pair: tuple[str, str]) -> int:
        """Return the number of looks at a question.

        :param question: Question
        :param pair: Algorithms that it compares
        :return: Number of looks; 0 if the plan has no such question
        """
        planned = self.questions.get(question) == tuple(pair)
        return self.looked.get(question, 0) if planned else 0

    def seeds_of(self, algorithm: str) -> list[int]:
        """Return the seeds of the rounds that an algorithm takes part in, at least the first one.

        :param algorithm: Name of the algorithm
        :return: Seeds in the order of the rounds
        """
        n_rounds = self.started.get(algorithm, 1)
        return [seed for round_ in self.seeds[:n_rounds] for seed in round_]


def with_rounds(grid: Grid, rounds: Rounds | None) -> Grid:
    """Return a grid in which each algorithm has the seeds of the rounds that it takes part in.

    :param grid: Grid
    :param rounds: Its rounds; None leaves it as it is
    :return: Grid
    :raises UserError: The seeds of the grid are no longer those of the first round
    """
    if rounds is None:
        return grid
    own = {name: algorithm.seeds for name, algorithm in grid.algorithms.items()}
    joined, ends = list(chain(*rounds.seeds)), set(accumulate(map(len, rounds.seeds)))
    given = [seeds for seeds in own.values() if seeds is not None]
    whole = all(len(seeds) in ends and seeds == joined[: len(seeds)] for seeds in given)
    if grid.seeds != rounds.seeds[0] or not whole:
        raise UserError(
            f"the seeds of {grid.name} have changed since `run --until-settled` began with "
            f"{', '.join(map(str, rounds.seeds[0]))}, on which its rounds depend: set them back, "
            f"without `seeds` of an algorithm, or delete {NAME} in the folder of its results"
        )
    algorithms = {
        name: algorithm.model_copy(update={"seeds": rounds.seeds_of(name)})
        for name, algorithm in grid.algorithms.items()
    }
    return grid.model_copy(update={"algorithms": algorithms})


def read_rounds(folder: Path) -> Rounds | None:
    """Read the rounds of a grid.

    :param folder: Folder of the results, ``results/GRID``
    :return: Rounds, None if its seeds were not added in rounds
    :raises UserError: The file is damaged; says what to do
    """
    remedy = "continue with `sb3-course run --until-settled`, which skips finished runs"
    return read_kept(folder / NAME, Rounds.model_validate_json, remedy)


def write_rounds(folder: Path, rounds: Rounds) -> None:
    """Write the rounds of a grid.

    :param folder: Folder of the results, ``results/GRID``
    :param rounds: Rounds
    """
    write_whole(folder / NAME, rounds.model_dump_json(indent=1) + "\n")
