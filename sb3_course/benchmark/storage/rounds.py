"""Rounds of seeds, in ``results/GRID/rounds.json``: planned ones, and looks at the questions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.common.errors import UserError, in_words
from sb3_course.common.files import read_regular, write_whole

NAME = "rounds.json"


class Rounds(BaseModel):
    """A grid whose seeds are added in rounds, until its questions are settled.

    :param seeds: Seeds of each planned round; their number is that of the planned looks
    :param started: Number of rounds that each algorithm takes part in
    :param looked: Number of looks at each question, each after a whole round
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: Sequence[Sequence[int]]
    started: Mapping[str, int] = {}
    looked: Mapping[str, int] = {}

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
    """
    if rounds is None:
        return grid
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
    path = folder / NAME
    try:
        return Rounds.model_validate_json(read_regular(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError) as error:
        reason = f"{error.error_count()} mistakes" if isinstance(error, ValidationError) else None
        raise UserError(
            f"{path} is damaged ({reason or in_words(error)}); delete it, and continue with "
            "`sb3-course run --until-settled`, which skips finished runs"
        ) from error


def write_rounds(folder: Path, rounds: Rounds) -> None:
    """Write the rounds of a grid.

    :param folder: Folder of the results, ``results/GRID``
    :param rounds: Rounds
    """
    write_whole(folder / NAME, rounds.model_dump_json(indent=1) + "\n")
