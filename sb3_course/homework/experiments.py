"""The experiments of the second homework: grids of runs, and what the handout expects of them.

This module imports neither torch nor pandas, so that a command's help appears at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from sb3_course.common.errors import UserError, unknown
from sb3_course.common.yaml_values import read_yaml

GRIDS = Path(__file__).with_name("grids")
ANALYSIS = "analysis"
"""Name of the one experiment that trains nothing."""


@dataclass(frozen=True)
class Reaches:
    """Expectation that a return gets as high as it should.

    :param says: Expectation in words
    :param environment: Environment in the grid
    :param least: Return
    :param algorithms: Algorithms of which the best one counts; none for all of them
    :param one_run: Whether the best run counts, and not the mean over the seeds
    """

    says: str
    environment: str
    least: float
    algorithms: tuple[str, ...] = ()
    one_run: bool = False


@dataclass(frozen=True)
class Sooner:
    """Expectation that one algorithm gets to a mean return in fewer steps than another one.

    :param says: Expectation in words
    :param environment: Environment in the grid
    :param level: Return
    :param first: Algorithm that is expected to be there first
    :param second: Algorithm that it is compared with
    """

    says: str
    environment: str
    level: float
    first: str
    second: str


Check: TypeAlias = Reaches | Sooner


@dataclass(frozen=True)
class Experiment:
    """One experiment of the handout.

    :param name: Name on the command line, and of its grid file
    :param title: Title of its figure
    :param checks: What the handout expects
    :param in_all: Whether it is run if none is named
    """

    name: str
    title: str
    checks: tuple[Check, ...]
    in_all: bool = True

    @property
    def path(self) -> Path:
        """Grid file."""
        return GRIDS / f"{self.name}.yaml"

    def grid(self, seeds: int | None = None, fraction: float = 1.0) -> dict[str, Any]:
        """Return the grid, of the handout's size or smaller.

        :param seeds: Number of seeds; None for the file's own
        :param fraction: Share of the environment steps; a grid of a part has a name of its own
        :return: Content of a grid file
        :raises UserError: The share is not in (0, 1]
        """
        if not 0 < fraction <= 1:
            raise UserError(f"fraction {fraction:g}; allowed: above 0, up to 1")
        grid: dict[str, Any] = read_yaml(self.path.read_text(encoding="utf-8"))
        if seeds is not None:
            grid["seeds"] = seeds
        if fraction < 1:
            grid["name"] += f"_{fraction:g}"
            for environment in grid["environments"].values():
                steps = environment["total_timesteps"]
                environment["total_timesteps"] = max(1, round(steps * fraction))
        return grid


_SMALL, _LARGE = "CartPole, -b 1000", "CartPole, -b 4000"
_CHEETAH, _LANDER = "HalfCheetah-v4", "LunarLander-v3"
_PENDULUM, _HUMANOID = "InvertedPendulum-v4", "Humanoid-v4"

EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "cartpole",
            "CartPole: batch size, reward to go and normalized advantages",
            (
                Reaches("the best of the small batches reaches 200", _SMALL, 200),
                Reaches("the best of the large batches reaches 200", _LARGE, 200),
            ),
        ),
        Experiment(
            "cheetah",
            "HalfCheetah: with a baseline and without",
            (Reaches("over 300 with the baseline", _CHEETAH, 300, ("baseline",)),),
        ),
        Experiment(
            "lunarlander",
            "LunarLander: λ of the generalized advantage estimate",
            (Reaches("180 or more at best, in one run", _LANDER, 180, one_run=True),),
        ),
        Experiment(
            "pendulum",
            "InvertedPendulum: settings of one's own against the default ones",
            (
                Reaches("the default settings reach 1,000", _PENDULUM, 1000, ("default",)),
                Reaches("the tuned settings reach 1,000", _PENDULUM, 1000, ("tuned",)),
                Sooner("and they do so in fewer steps", _PENDULUM, 1000, "tuned", "default"),
            ),
        ),
        Experiment(
            "humanoid",
            "Humanoid",
            (Reaches("600 or more", _HUMANOID, 600),),
            in_all=False,
        ),
    )
}
"""Experiments by name, in the handout's order."""

NAMES = (*EXPERIMENTS, ANALYSIS)


def check_names(names: list[str]) -> list[str]:
    """Return the experiments that were asked for, in the handout's order.

    :param names: Names; none for all but those that take half a day
    :return: Names
    :raises UserError: A name is unknown
    """
    for name in names:
        if name not in NAMES:
            raise UserError(unknown("experiment", name, NAMES))
    wanted = names or [e.name for e in EXPERIMENTS.values() if e.in_all] + [ANALYSIS]
    return [name for name in NAMES if name in wanted]
