"""Contenders take turns, and a turn is clocked twice."""

from dataclasses import dataclass, field

import pytest
import turns
from turns import Local, Turn, alternate


@pytest.fixture
def clocks(monkeypatch):
    """Clocks that tests set: of the process, and on the wall."""
    now = {"cpu": 5.0, "wall": 50.0}
    monkeypatch.setattr(turns.time, "process_time", lambda: now["cpu"])
    monkeypatch.setattr(turns.time, "perf_counter", lambda: now["wall"])
    return now


@dataclass
class Scripted:
    """A contender of a known speed, which notes its turns."""

    name: str
    wall_of_a_unit: float
    batch: int = 1
    log: list = field(default_factory=list)

    def turn(self, units):
        self.log.append((self.name, units))
        return Turn(units, 2.0 * units, self.wall_of_a_unit * units)


def test_a_turn_has_the_work_alone_on_both_clocks(clocks):
    def prepare():
        clocks["cpu"] += 100
        clocks["wall"] += 100

    def work(units):
        clocks["cpu"] += 2
        clocks["wall"] += 3
        return units + 1

    assert Local(work, prepare=prepare).turn(7) == Turn(8, 2.0, 3.0)


def test_contenders_alternate_after_their_warm_up():
    log = []
    both = {name: Scripted(name, 0.125, log=log) for name in ("a", "b")}
    took = alternate(both, rounds=3, seconds=1.0)
    assert log == [("a", 1), ("a", 1), ("b", 1), ("b", 1), *[("a", 8), ("b", 8)] * 3]
    assert took == {name: [Turn(8, 16.0, 1.0)] * 3 for name in ("a", "b")}


@pytest.mark.parametrize(
    ("batch", "wall_of_a_unit", "units", "warm_ups"),
    [(1, 0.25, 4, 2), (3, 0.25, 6, 2), (100, 0.001, 1000, 2), (10, 0.25, 10, 1)],
)
def test_a_turn_is_of_whole_batches(batch, wall_of_a_unit, units, warm_ups):
    contender = Scripted("a", wall_of_a_unit, batch)
    assert turns.turn_units(contender, seconds=1.0) == units
    assert contender.log == [("a", batch)] * warm_ups
