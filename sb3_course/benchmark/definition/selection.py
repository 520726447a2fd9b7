"""What ``--only`` selects: the runs of a grid, or the algorithms of a search."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from sb3_course.common.errors import UserError, unknown

Item = TypeVar("Item")


def select(
    items: Sequence[Item],
    conditions: Sequence[str],
    names: Callable[[Item], Mapping[str, Collection[str]]],
) -> list[Item]:
    """Select the items that match conditions such as ``algorithm=A2C`` or ``seed=0``.

    :param items: Items to select from, at least one
    :param conditions: Conditions; an item has to match one of those with the same key, for every
        key
    :param names: What an item is called, for every key that a condition may have
    :return: Selected items, in the same order
    :raises UserError: If a condition has an unknown key, or matches no item
    """
    named = [names(item) for item in items]
    wanted: dict[str, set[str]] = {}
    for condition in conditions:
        key, _, value = condition.partition("=")
        if key not in named[0]:
            raise UserError(unknown("key of --only", key, named[0]) + " (as in algorithm=NPG)")
        known = {name for its in named for name in its[key]}
        if value not in known:
            raise UserError("--only: " + unknown(key, value, known))
        wanted.setdefault(key, set()).add(value)
    selected = [
        item
        for item, its in zip(items, named, strict=True)
        if all(values.intersection(its[key]) for key, values in wanted.items())
    ]
    if not selected:
        raise UserError(f"--only: nothing matches {' and '.join(conditions)} together")
    return selected
