"""What a report compares: algorithms, environments and questions, whatever made the runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.statistics.curves import common_steps
from sb3_course.benchmark.statistics.scores import References, load_references, references_of
from sb3_course.benchmark.storage.references import MeasuredReference
from sb3_course.benchmark.storage.rounds import Rounds


@dataclass(frozen=True)
class Design:
    """What a report compares; every table of its statistics is in this order.

    :param name: Name of the report
    :param algorithms: Names of the algorithms
    :param environments: Declared evaluation steps of each environment, ascending
    :param seeds: Seeds that were declared, or that were found
    :param questions: Pairs of algorithms that are compared in words, by question
    :param references: Reference returns that define the scores of some of the environments
    :param rounds: Rounds in which seeds were added; None for a fixed number of seeds
    """

    name: str
    algorithms: Sequence[str]
    environments: Mapping[str, Sequence[int]]
    seeds: Sequence[int]
    questions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    references: References = field(default_factory=load_references)
    rounds: Rounds | None = None


def design_of(
    grid: Grid,
    measured: Mapping[str, MeasuredReference] | None = None,
    rounds: Rounds | None = None,
) -> Design:
    """Return what the report of a grid compares.

    :param grid: Grid
    :param measured: Returns of random actions that were measured, by environment
    :param rounds: Rounds in which seeds were added; None for a fixed number of seeds
    :return: Its algorithms, environments and questions
    """
    return Design(
        name=grid.name,
        algorithms=list(grid.algorithms),
        environments=evaluation_steps(grid),
        seeds=sorted({seed for name in grid.algorithms for seed in grid.seeds_of(name)}),
        questions=grid.questions,
        references=references_of(grid, measured or {}),
        rounds=rounds,
    )


def design_of_returns(
    name: str,
    table: pd.DataFrame,
    references: References | None = None,
    rounds: Rounds | None = None,
    questions: Mapping[str, tuple[str, str]] | None = None,
) -> Design:
    """Return what the report of runs compares that no grid declares.

    :param name: Name of the report
    :param table: Tidy returns of the runs
    :param references: Reference returns; None for those that ship with the package
    :param rounds: Rounds in which seeds of some of them were added; None if there are none
    :param questions: Pairs of algorithms by question; None for no questions
    :return: All algorithms, environments and seeds in the table, in its order
    """
    return Design(
        name=name,
        algorithms=list(dict.fromkeys(table["algorithm"])),
        environments=common_steps(table),
        seeds=sorted(set(table["seed"])),
        questions=questions or {},
        references=references or load_references(),
        rounds=rounds,
    )


def evaluation_steps(grid: Grid) -> dict[str, list[int]]:
    """Return the declared evaluation steps of each environment.

    :param grid: Grid
    :return: Environment steps by environment, ascending
    """
    algorithm = next(iter(grid.algorithms))
    return {name: grid.config(algorithm, name).evaluation_steps for name in grid.environments}
