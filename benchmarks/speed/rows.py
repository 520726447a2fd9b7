"""The rows of the table: who is compared with whom, and where.

A row is added here, its contenders in ``learners.py`` or ``imitators.py``.
"""

from dataclasses import dataclass
from typing import Literal

Backend = Literal["envpool", "dummy"]
COUNTS = (1, 8, 32, 128)
MAIN_COUNT = 32
"""The count of environments of rows that have one count alone, and of the short table."""


@dataclass(frozen=True)
class Cell:
    """Where a row is measured. Without environments (``n_envs=0``) an environment is its spaces."""

    env_id: str
    n_envs: int = 0
    backend: Backend = "envpool"

    @property
    def task(self) -> str:
        """The environment, and the backend if it is not EnvPool."""
        return self.env_id + ("" if self.backend == "envpool" else ", DummyVecEnv")


@dataclass(frozen=True)
class Row:
    """Contenders that take turns, each of which is compared with the last one."""

    contenders: tuple[str, ...]
    cells: tuple[Cell, ...]
    unit: str = "environment steps"
    cost: bool = False
    """Whether the ratio is of seconds per unit, not of units per second."""

    @property
    def reference(self) -> str:
        """The contender that the others are compared with."""
        return self.contenders[-1]


CONTINUOUS, DISCRETE = "HalfCheetah-v4", "CartPole-v1"
EVERYWHERE = tuple(Cell(env_id, n) for env_id in (CONTINUOUS, DISCRETE) for n in COUNTS)
SPACES = (Cell(CONTINUOUS), Cell(DISCRETE))
CLASSES = (
    *("REINFORCE, no baseline", "REINFORCE, value baseline", "REINFORCE, optimal baseline"),
    *("ISPG", "NPG", "BatchActorCritic", "OnlineActorCritic", "SB3's A2C", "sb3-contrib's TRPO"),
)

ROWS: dict[str, Row] = {
    "online": Row(("OnlineActorCritic", "SB3's A2C"), (*EVERYWHERE, Cell(DISCRETE, 8, "dummy"))),
    "natural": Row(("NPG", "sb3-contrib's TRPO"), EVERYWHERE),
    "batch": Row(("BatchActorCritic, 5 steps, 1 critic step", "SB3's A2C"), EVERYWHERE),
    "batch4096": Row(("BatchActorCritic, 1 critic step", "SB3's A2C, same batch"), EVERYWHERE),
    "ispg": Row(
        ("ISPG, 16 batches, balance heuristic", "ISPG, 16 batches"),
        (Cell(CONTINUOUS, 8), Cell(DISCRETE, 8)),
        cost=True,
    ),
    "bc": Row(
        ("BC, batches of 100", "imitation's BC, batches of 100"), SPACES, unit="gradient steps"
    ),
    "bc32": Row(
        ("BC, batches of 32", "imitation's BC, batches of 32"), SPACES, unit="gradient steps"
    ),
    "dagger": Row(("DAgger", "imitation's DAgger"), (Cell("Walker2d-v4"),), unit="rounds"),
    "tianshou-reinforce": Row(
        ("REINFORCE, no baseline", "Tianshou's Reinforce"), (Cell(CONTINUOUS, MAIN_COUNT),)
    ),
    "tianshou-npg": Row(("NPG", "Tianshou's NPG"), (Cell(CONTINUOUS, MAIN_COUNT),)),
    "tianshou-batch": Row(
        ("BatchActorCritic, 1 critic step", "Tianshou's A2C"), (Cell(CONTINUOUS, MAIN_COUNT),)
    ),
    "tianshou-online": Row(
        ("OnlineActorCritic", "Tianshou's A2C, 5 steps"), (Cell(CONTINUOUS, MAIN_COUNT),)
    ),
    "bound": Row((*CLASSES, "bound"), EVERYWHERE),
}
