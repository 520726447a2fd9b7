"""The layout of a folder of logs: which part of a run's path says what."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sb3_course.common.errors import UserError, unknown

ZOO = "{algorithm}/{environment}_{seed}"
"""Layout of RL Zoo's log folder."""
UUID = "(_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?"
"""What RL Zoo's ``--uuid`` adds to the name of a run's folder."""
ZOO_TENSORBOARD = "{environment}/{algorithm}_{seed}"
"""Layout of RL Zoo's folder of TensorBoard's files."""
PARTS = {"algorithm": "[^/]+", "environment": "[^/]+", "seed": "[0-9]{1,10}"}
"""What a pattern can name, and the text that it stands for."""
MOST_STARS = 4
LONGEST_NAME = 100


def check_name(part: str, name: str, longest: int = LONGEST_NAME) -> None:
    """Check that a text can be the name of an algorithm or an environment, or a label.

    :param part: What it names
    :param name: The text
    :param longest: Largest number of characters
    :raises UserError: It is empty or long, or holds characters that are not shown
    """
    if not name.strip() or not name.isprintable() or len(name) > longest:
        allowed = f"1 to {longest} printable characters"
        raise UserError(f"{part} {name[:60]!r}; allowed: {allowed}")


@dataclass(frozen=True)
class Layout:
    """Pattern of the paths of runs, such as ``{algorithm}/{environment}_{seed}``.

    :param pattern: Pattern as it was given
    :param expression: Regular expression of a run's path
    :param depth: Number of names in a run's path
    """

    pattern: str
    expression: re.Pattern[str]
    depth: int

    @classmethod
    def parse(cls, pattern: str) -> "Layout":
        """Parse a pattern.

        :param pattern: Path with ``{algorithm}``, ``{environment}`` and ``{seed}``, each at most
            once; ``*`` stands for any text within a name
        :return: The layout
        :raises UserError: The pattern is none; says what is allowed
        """
        names = pattern.strip("/").split("/")
        words = re.findall(r"\{([^{}]*)\}", pattern)
        for word in words:
            if word not in PARTS:
                raise UserError(unknown("part of a layout", word, PARTS))
        plain = re.sub(r"\{[^{}]*\}", "", pattern)
        if (
            not words
            or len(set(words)) < len(words)
            or any(name in ("", ".", "..") for name in names)
            or any(brace in plain for brace in "{}")
            or plain.count("*") > MOST_STARS
        ):
            raise UserError(
                f"layout {pattern!r}; allowed: a path with {{algorithm}}, {{environment}} and "
                f"{{seed}}, each at most once, and up to {MOST_STARS} times *, as in {ZOO!r}"
            )
        tokens = re.split(r"(\{[^{}]*\}|\*)", "/".join(names))
        ending = UUID if pattern == ZOO else ""
        return cls(pattern, re.compile("".join(map(_expression, tokens)) + ending), len(names))

    def match(self, names: Sequence[str]) -> dict[str, str] | None:
        """Return what the path of a run says.

        :param names: Names of the folders that lead to the run
        :return: Text by part, None if the path is no run's
        """
        found = self.expression.fullmatch("/".join(names[: self.depth]))
        return found.groupdict() if found and len(names) >= self.depth else None


def _expression(token: str) -> str:
    if token == "*":
        return "[^/]*"
    if token.startswith("{"):
        return f"(?P<{token[1:-1]}>{PARTS[token[1:-1]]})"
    return re.escape(token)
