"""One color and dash pattern for each algorithm, the same in every figure of every grid.

Every color has a contrast of at least 3 to white and to a dark page, so that it survives print and
either color scheme; members of a family have shades of one color.
"""

from collections.abc import Collection, Mapping
from colorsys import hls_to_rgb, rgb_to_hls
from hashlib import sha256
from typing import NamedTuple, TypeAlias

from matplotlib.colors import to_hex, to_rgb

from sb3_course.benchmark.reporting.drawing.families import families

Color: TypeAlias = tuple[float, float, float]

COLORS: list[Color] = [
    to_rgb(name)
    for name in (
        "#0173b2",
        "#d0391f",
        "#0a8f5b",
        "#8b46d1",
        "#a87000",
        "#c8408f",
        "#6e6e6e",
        "#12949c",
        "#8d5d3f",
    )
]
DASHES: list[tuple[float, ...]] = [(), (4, 1.5), (1, 1), (5, 1, 1, 1)]
"""Dash patterns in units of the line width; the empty one is a solid line."""


class Style(NamedTuple):
    """Color and dash pattern of an algorithm's line."""

    color: Color
    dash: tuple[float, ...]

    @property
    def hex(self) -> str:
        """Color as a page writes it, such as ``#0173b2``."""
        return str(to_hex(self.color))


Styles: TypeAlias = Mapping[str, Style]
"""Style of each algorithm by name."""


BLUE, RED, GREEN, PURPLE, OCHER, MAGENTA, GRAY, CYAN, BROWN = range(9)
SOLID, DASHED, DOTTED, MIXED = range(4)

KNOWN: dict[str, tuple[int, int]] = {
    "NPG": (BLUE, SOLID),
    "BatchActorCritic": (PURPLE, SOLID),
    "REINFORCE": (GREEN, SOLID),
    "TRPO": (RED, SOLID),
    "ISPG": (CYAN, DASHED),
    "OnlineActorCritic": (OCHER, DASHED),
    "PPO": (MAGENTA, SOLID),
    "A2C": (GRAY, SOLID),
    "SAC": (BROWN, SOLID),
    "TD3": (OCHER, MIXED),
    "BC": (BROWN, DASHED),
    "DAgger": (BLUE, DASHED),
    "TQC": (CYAN, MIXED),
    "DDPG": (RED, MIXED),
    "ARS": (GRAY, DASHED),
    "DQN": (MAGENTA, DASHED),
    "QR-DQN": (MAGENTA, DOTTED),
}
"""Colors and dashes of recurring names, and of families, as indices of the lists above."""


def styles(algorithms: Collection[str]) -> dict[str, Style]:
    """Choose a style for each algorithm.

    A known name has its own style (:data:`KNOWN`). Any other name has a favorite color that depends
    on the name alone; if it is taken, the name gets the next of the least used colors, and if
    colors repeat, the dash pattern differs. A family (see :mod:`~.families`) has one color, in
    shades from dark to light.

    :param algorithms: All algorithms of a report
    :return: Styles in the given order, which does not affect them
    """
    related = families(sorted(algorithms))
    shades = {name: family for family in related for name in family.members}
    names = sorted({*(f.name for f in related), *(set(algorithms) - set(shades))})
    first_words = {f.name: f.name.partition(" ")[0] for f in related}
    taken = {name: KNOWN[word] for name in names if (word := first_words.get(name, name)) in KNOWN}
    for name in (name for name in names if name not in taken):
        taken[name] = _free(name, list(taken.values()))
    chosen = {name: Style(COLORS[color], DASHES[dash]) for name, (color, dash) in taken.items()}
    for family in related:
        chosen |= _shades(family.members, chosen[family.name].color)
    return {name: chosen[name] for name in algorithms}


def _free(name: str, taken: list[tuple[int, int]]) -> tuple[int, int]:
    favorite = int(sha256(name.encode()).hexdigest(), 16)
    used = [color for color, _ in taken]

    def rank(color: int) -> tuple[int, int]:
        return used.count(color), (color - favorite) % len(COLORS)

    color = min(range(len(COLORS)), key=rank)
    free = [dash for dash in range(len(DASHES)) if (color, dash) not in taken]
    return color, free[0] if free else SOLID


def _shades(names: list[str], color: Color) -> dict[str, Style]:
    """Return a sequential palette around a color, in which neighbors differ in dashes, too."""
    hue, _, saturation = rgb_to_hls(*color)
    found, last = {}, len(names) - 1
    for i, name in enumerate(names):
        at = 0.5 + (i / last - 0.5) * min(1.0, 0.2 * last + 0.2)  # few shades are closer
        shade = _of_luminance((hue + 0.06 - 0.19 * at) % 1, max(saturation, 0.45), 6.5 * 4.5**at)
        found[name] = Style(shade, DASHES[i % len(DASHES)])
    return found


def _of_luminance(hue: float, saturation: float, percent: float) -> Color:
    """Return the color of a hue that is as bright as asked for: 30 is a contrast of 3 to white."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        brighter = luminance(hls_to_rgb(hue, middle, saturation)) > percent / 100
        low, high = (low, middle) if brighter else (middle, high)
    return hls_to_rgb(hue, low, saturation)


def luminance(color: Color) -> float:
    """Compute the relative luminance of a color, as defined by WCAG 2.

    :param color: Red, green and blue from 0 to 1
    :return: Luminance from 0 (black) to 1 (white)
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
