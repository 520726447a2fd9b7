"""One color and dash pattern for each algorithm, the same in every figure of every grid."""

from collections.abc import Collection
from hashlib import sha256
from typing import NamedTuple

import seaborn as sns

COLORS: list[tuple[float, float, float]] = [tuple(c) for c in sns.color_palette("colorblind", 10)]
DASHES: list[tuple[float, ...]] = [(), (4, 1.5), (1, 1), (5, 1, 1, 1)]
"""In units of the line width; the empty one is a whole line."""


class Style(NamedTuple):
    """How an algorithm is drawn."""

    color: tuple[float, float, float]
    dash: tuple[float, ...]


BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, PINK, GRAY, YELLOW, SKY = range(10)
WHOLE, DASHED, DOTTED, MIXED = range(4)

KNOWN: dict[str, tuple[int, int]] = {
    "NPG": (BLUE, WHOLE),
    "BatchActorCritic": (ORANGE, WHOLE),
    "REINFORCE": (GREEN, WHOLE),
    "TRPO": (RED, WHOLE),
    "ISPG": (PURPLE, WHOLE),
    "OnlineActorCritic": (BROWN, WHOLE),
    "PPO": (SKY, WHOLE),
    "A2C": (GRAY, WHOLE),
    "SAC": (PINK, WHOLE),
    "TD3": (YELLOW, WHOLE),
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
"""Color and dash of the names that come up again and again, as numbers of the lists above."""


def styles(algorithms: Collection[str]) -> dict[str, Style]:
    """Give each algorithm its style.

    A known name has a style of its own (:data:`KNOWN`). Any other name has a favorite color which
    depends on the name alone; where that is taken it moves on to the next that the fewest others
    have, and where colors repeat the dash pattern differs. Forty can be told apart.

    :param algorithms: all algorithms of a grid
    :return: their styles, in the given order, which makes no difference to them
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
    return color, free[0] if free else WHOLE
