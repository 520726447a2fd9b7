"""Which algorithms belong together, and which ones share a panel of at most a few lines.

Names belong together if they differ in their numbers alone, as ``NPG 0.01`` and ``NPG 0.05`` do (a
sweep), or if they begin alike, as ``REINFORCE (mean baseline)`` and ``REINFORCE (no baseline)`` do.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MAX_LINES = 5
"""Number of lines in a panel, unless they are a sweep."""
MAX_SWEEP = 9
"""Number of lines in a panel of a sweep, whose colors are in the order of its values."""
PEERS = ("PPO", "A2C", "TRPO")
"""Names of the algorithms that readers know; they are always in the first figure."""

_NUMBER = re.compile(r"(?<![A-Za-z\d.])[-+]?\d[\d.,]*(?:e[-+]?\d+)?(?![A-Za-z\d])", re.IGNORECASE)
_PART = re.compile(r"\s*(?:\(|,\s|:\s|\swith(?:out)?\s)")


class Family(NamedTuple):
    """Algorithms that belong together.

    :param name: What their names have in common
    :param members: Names of at least two algorithms; those of a sweep by value, others as given
    :param sweep: Whether they differ in numbers alone
    """

    name: str
    members: list[str]
    sweep: bool


class Group(NamedTuple):
    """Algorithms whose lines are drawn in the same panels.

    :param title: What they have in common; empty if they are all that there are
    :param names: Names of the algorithms
    """

    title: str
    names: list[str]


def families(algorithms: Iterable[str]) -> list[Family]:
    """Find the algorithms that belong together.

    :param algorithms: Names of algorithms
    :return: Families of two or more, in the order of their first members
    """
    by_key: dict[tuple[str, bool], list[str]] = {}
    for name in algorithms:
        by_key.setdefault(_key(name), []).append(name)
    return [
        Family(key, sorted(members, key=_values) if sweep else members, sweep)
        for (key, sweep), members in by_key.items()
        if len(members) > 1
    ]


def _key(name: str) -> tuple[str, bool]:
    common = _NUMBER.sub("", name)
    if common != name:
        return re.sub(r"[\s=:(_,-]+$", "", common.removesuffix(")")) or "Sweep", True
    return _PART.split(name, maxsplit=1)[0] or name, False


def _values(name: str) -> list[float]:
    """Return the numbers of a name by which a sweep is sorted: of 2.5.1 each part."""
    values: list[float] = []
    for number in _NUMBER.findall(name):
        plain = re.sub(r",|\.$", "", number)
        values += map(float, [plain] if plain.count(".") < 2 else re.findall(r"\d+", plain))
    return values


def groups(ranked: Sequence[str], order: Sequence[str]) -> list[Group]:
    """Distribute algorithms over figures, so that no panel has too many lines.

    The first figure has the well-known peers and the best of each family. Each family has a figure
    of its own, and so do the algorithms that are in neither, beside the best of all.

    :param ranked: Names of algorithms, the best first
    :param order: The same names in the order of the lines
    :return: Groups of algorithms; a single one if they are few
    """
    if len(ranked) <= MAX_LINES:
        return [Group("", list(order))]
    related = families(order)
    family_of = {name: family.name for family in related for name in family.members}
    best: dict[str, str] = {}
    for name in ranked:
        best.setdefault(family_of.get(name, name), name)
    peers = [name for name in ranked if name in PEERS]
    first = [*peers, *(name for name in best.values() if name not in peers)][:MAX_LINES]
    found = [Group("Best of each family", _in(order, first))] if len(best) > 1 else []
    for name, members, sweep in related:
        found += _numbered(name, _parts(members, MAX_SWEEP if sweep else MAX_LINES))
    others = [name for name in order if name not in family_of and name not in first]
    parts = [_in(order, [ranked[0], *part]) for part in _parts(others, MAX_LINES - 1)]
    return [*found, *_numbered("Other algorithms", parts)]


def _numbered(title: str, parts: Sequence[list[str]]) -> list[Group]:
    """Number the titles of a group that is divided into several."""
    many = len(parts) > 1
    return [Group(f"{title}, {i}" if many else title, p) for i, p in enumerate(parts, 1)]


def _in(order: Sequence[str], names: Sequence[str]) -> list[str]:
    return [name for name in order if name in names]


def _parts(names: Sequence[str], most: int) -> list[list[str]]:
    """Divide names into parts of about the same size."""
    n = -(-len(names) // most)
    return [list(names[len(names) * i // n : len(names) * (i + 1) // n]) for i in range(n)]
