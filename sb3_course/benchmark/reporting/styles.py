"""One color and dash pattern for each algorithm, the same in every figure of every grid."""

from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import NamedTuple, TypeAlias

import seaborn as sns

COLORS: list[tuple[float, float, float]] = [tuple(c) for c in sns.color_palette("colorblind", 10)]
DASHES: list[tuple[float, ...]] = [(), (4, 1.5), (1, 1), (5, 1, 1, 1)]
"""Dash patterns in units of the line width; the empty one is a solid line."""


class Style(NamedTuple):
    """Color and dash pattern of an algorithm's line."""

    color: tuple[float, float, float]
    dash: tuple[float, ...]


Styles: TypeAlias = Mapping[str, Style]
"""Style of each algorithm by name."""


BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, PINK, GRAY, YELLOW, SKY = range(10)
SOLID, DASHED, DOTTED, MIXED = range(4)

KNOWN: dict[str, tuple[int, int]] = {
    "NPG": (BLUE, SOLID),
    "BatchActorCritic": (ORANGE, SOLID),
    "REINFORCE": (GREEN, SOLID),
    "TRPO": (RED, SOLID),
    "ISPG": (PURPLE, SOLID),
    "OnlineActorCritic": (BROWN, SOLID),
    "PPO": (SKY, SOLID),
    "A2C": (GRAY, SOLID),
    "SAC": (PINK, SOLID),
    "TD3": (YELLOW, SOLID),
    "BC": (BROWN, DASHED),
    "DAgger": (BLUE, DASHED),
    "TQC": (PINK, DASHED),
    "DDPG": (YELLOW, DASHED),
    "ARS": (GRAY, DASHED),
    "DQN": (RED, DASHED),
    "QR-DQN": (RED, DOTTED),
    "REINFORCE (value baseline)": (GREEN, DASHED),
    "REINFORCE (no baseline)": (PURPLE, DASHED),
    "REINFORCE (optimal baseline)": (GREEN, DOTTED),
    "REINFORCE (mean baseline)": (SKY, DASHED),
    "REINFORCE (reward to go)": (PINK, DOTTED),
    "REINFORCE (total return)": (YELLOW, DOTTED),
}
"""Colors and dashes of recurring names, as indices of the lists above."""


def styles(algorithms: Collection[str]) -> dict[str, Style]:
    """Choose a style for each algorithm.

    A known name has its own style (:data:`KNOWN`). Any other name has a favorite color that depends
    on the name alone; if it is taken, the name gets the next of the least used colors, and if
    colors repeat, the dash pattern differs. Up to forty algorithms can be distinguished.

    :param algorithms: All algorithms of a grid
    :return: Styles in the given order, which does not affect them
    """
    taken = {name: KNOWN[name] for name in algorithms if name in KNOWN}
    for name in sorted(set(algorithms) - set(taken)):
        taken[name] = _free(name, list(taken.values()))
    return {name: Style(COLORS[taken[name][0]], DASHES[taken[name][1]]) for name in algorithms}


def _free(name: str, taken: list[tuple[int, int]]) -> tuple[int, int]:
    favorite = int(sha256(name.encode()).hexdigest(), 16)
    used = [color for color, _ in taken]

    def rank(color: int) -> tuple[int, int]:
        return used.count(color), (color - favorite) % len(COLORS)

    color = min(range(len(COLORS)), key=rank)
    free = [dash for dash in range(len(DASHES)) if (color, dash) not in taken]
    return color, free[0] if free else SOLID
