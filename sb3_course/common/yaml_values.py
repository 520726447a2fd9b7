"""YAML as in grid files, where ``1e-3`` is a number."""

import math
import re
from typing import Any

import yaml
from yaml.reader import ReaderError

MOST_CHARACTERS = 200_000
"""Maximum length of a document; the longest grid of this project has 12,000."""
MOST_VALUES = 10_000
"""Maximum number of keys and values, where an alias counts as all that it stands for."""
MOST_LEVELS = 50
"""Maximum depth of lists and mappings in each other."""
MOST_DIGITS = 60
"""Maximum length of a number as it is written; the time to read one grows with its square."""
INTEGERS = 2**63
"""Bound of whole numbers, as of NumPy's."""

_TAG = "tag:yaml.org,2002:"
_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map", "timestamp")


class GridLoader(yaml.SafeLoader):
    """Safe YAML loader that reads ``1e-3`` and ``1.5e6`` as numbers and rejects duplicate keys.

    It bounds what a document can hold. Every mistake is a :class:`yaml.MarkedYAMLError` with the
    line and column.

    :param text: Document
    """

    def __init__(self, text: str) -> None:
        if len(text) > MOST_CHARACTERS:
            problem = f"{len(text):,} characters; allowed: {MOST_CHARACTERS:,}"
            raise _mistake(problem, _mark(text, MOST_CHARACTERS))
        try:
            super().__init__(text)
        except ReaderError as error:
            problem = f"the character {chr(error.character)!a}; allowed: printable text"
            raise _mistake(problem, _mark(text, error.position)) from error
        self.size = 0
        """Number of keys and values so far."""
        self._level = 0
        self._sizes: dict[str, int] = {}

    def document(self) -> tuple[yaml.Node, Any]:
        """Read the whole document.

        :return: Tree of nodes, in which merge keys are resolved, and data
        :raises yaml.MarkedYAMLError: If there are mistakes
        """
        try:
            node = self.get_single_node()
        except (ValueError, OverflowError) as error:  # an escaped character that does not exist
            raise _mistake(str(error), self.get_mark()) from error
        if node is None:
            start = _mark("", 0)
            node = yaml.ScalarNode(_TAG + "null", "", start, start)
        return node, self.construct_document(node)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node like PyYAML's ``Composer``, and count it."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        is_alias, before = isinstance(event, yaml.AliasEvent), self.size
        if is_alias:
            if event.anchor in self.anchors and event.anchor not in self._sizes:
                raise _mistake(f"*{event.anchor} is a part of itself", event.start_mark)
            self.size += self._sizes.get(event.anchor, 0)
        self.size += 1
        if self.size > MOST_VALUES:
            problem = f"more than {MOST_VALUES:,} keys and values, with those of each alias"
            raise _mistake(problem, event.start_mark)
        if self._level == MOST_LEVELS:
            raise _mistake(f"more than {MOST_LEVELS} levels", event.start_mark)
        self._level += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._level -= 1
        if not is_alias and event.anchor is not None:
            self._sizes[event.anchor] = self.size - before
        return node

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """Compose a mapping like PyYAML's ``Composer``, after a check of its keys."""
        node = super().compose_mapping_node(anchor)
        seen: dict[Any, yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _mistake(f"a key that is a {key.id}; allowed: text", key.start_mark)
            special = key.tag in (_TAG + "merge", _TAG + "value")
            first = seen.setdefault(
                (key.tag, key.value) if special else self.construct_object(key), key
            )
            if first is not key:
                line = first.start_mark.line + 1
                problem = f"key {_brief(key.value)} is given twice, first in line {line}"
                raise _mistake(problem, key.start_mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value like PyYAML's ``Constructor``, after checks of its size."""
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        kind, text = node.tag.removeprefix(_TAG), node.value
        if kind in ("int", "float") and len(text) > MOST_DIGITS:
            problem = f"a number of {len(text):,} characters; allowed: {MOST_DIGITS}"
            raise _mistake(problem, node.start_mark)
        try:
            value = super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, OverflowError) as error:
            problem = f"{_brief(text)} is not a valid {kind}"
            raise _mistake(problem, node.start_mark) from error
        if isinstance(value, int) and abs(value) >= INTEGERS:
            problem = f"{text}; allowed: whole numbers of less than {INTEGERS}"
            raise _mistake(problem, node.start_mark)
        if isinstance(value, float) and math.isinf(value) and "inf" not in text.lower():
            raise _mistake(f"{text} is too large for a number", node.start_mark)
        if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
            raise _mistake(f"{_brief(text)} holds characters that are no text", node.start_mark)
        return value


GridLoader.yaml_constructors = {  # without sets, bytes and pairs; None stands for unknown tags
    tag: GridLoader.yaml_constructors[tag] for tag in (None, *(_TAG + name for name in _PLAIN))
}
GridLoader.add_implicit_resolver(
    _TAG + "float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _mark(text: str, position: int) -> yaml.Mark:
    line_start = text.rfind("\n", 0, position) + 1
    line = text.count("\n", 0, position)
    return yaml.Mark("", position, line, position - line_start, None, 0)


def _mistake(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _brief(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


def described(error: yaml.YAMLError) -> str:
    """Describe an error of :class:`GridLoader` in one line.

    :param error: Error
    :return: Line, column and problem, as in ``3:1: not valid YAML: …``
    """
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return f"not valid YAML: {' '.join(str(error).split())}"
    context = f" ({error.context})" if error.context else ""
    problem = " ".join(f"{error.problem}{context}".split())
    mark = error.problem_mark
    return f"{mark.line + 1}:{mark.column + 1}: not valid YAML: {problem[:300]}"


def read_yaml(text: str) -> Any:
    """Read a value as in a grid file.

    :param text: YAML, such as ``1e-3``, ``[64, 64]`` or a whole document
    :return: Value of the document
    :raises yaml.YAMLError: If the text is not valid YAML, a mapping has duplicate keys, or a limit
        of this module is exceeded
    """
    return GridLoader(text).document()[1]
