"""Rounds of seeds: which were planned, and how often each question has been looked at."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict


class Rounds(BaseModel):
    """A grid whose seeds are added in rounds, until its questions are settled.

    :param seeds: Seeds of each planned round; their number is that of the planned looks
    :param started: Number of rounds that each algorithm takes part in
    :param looked: Number of looks at each question, each after a whole round
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    seeds: Sequence[Sequence[int]]
    started: Mapping[str, int] = {}
    looked: Mapping[str, int] = {}

    def seeds_of(self, algorithm: str) -> list[int]:
        """Return the seeds of the rounds that an algorithm takes part in.

        :param algorithm: Name of the algorithm
        :return: Seeds in the order of the rounds
        """
        return [seed for round_ in self.seeds[: self.started[algorithm]] for seed in round_]
