"""The text of a grid: YAML that knows its lines, and files that include files."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from sb3_course.benchmark.errors import UserError

Key = tuple[str | int, ...]
"""Where a value stands: the keys and list positions that lead to it."""

INCLUDE = "include"


class GridError(UserError):
    """A grid that cannot be run; a line each: file, line, key, what was given, what may be."""


@dataclass(frozen=True)
class Mistake:
    """Something in a grid that cannot be.

    :param key: where it stands
    :param message: what was given and what is allowed
    """

    key: Key
    message: str


class _Loader(yaml.SafeLoader):
    """Plain YAML; ``1e-3`` and ``1.5e6`` are numbers too, and a key given twice is refused."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            first = seen.setdefault((key.tag, str(key.value)), key)
            if first is not key:
                line = first.start_mark.line + 1
                problem = f"key {key.value!r} is given twice, first in line {line}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read_yaml(text: str) -> Any:
    """Read a value written as in a grid file.

    :param text: YAML, such as ``1e-3``, ``[64, 64]`` or a whole document
    """
    return yaml.load(text, Loader=_Loader)  # a subclass of the safe loader


@dataclass(frozen=True)
class File:
    """One file of a grid.

    :param path: its path, for messages
    :param node: its text as a tree that knows lines
    :param data: its keys and values
    """

    path: Path
    node: yaml.Node
    data: dict[Any, Any]

    @classmethod
    def read(cls, path: Path) -> "File":
        """Read a file.

        :param path: the file
        :raises GridError: if it cannot be read, or holds no keys and values
        """
        try:
            loader = _Loader(path.read_text(encoding="utf-8"))
            node = loader.get_single_node() or yaml.ScalarNode("tag:yaml.org,2002:null", "")
            data = loader.construct_document(node)
        except OSError as error:
            raise GridError(f"{path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise GridError(f"{path}: is no text in UTF-8") from error
        except yaml.YAMLError as error:
            raise GridError(f"{path}{_of_yaml(error)}") from error
        if not isinstance(data, dict):
            held = "nothing" if data is None else f"a {type(data).__name__}"
            raise GridError(f"{path}: holds {held}; allowed: keys and values, such as name: demo")
        return cls(path, node, data)

    def find(self, key: Key) -> tuple[int, int]:
        """Follow a key for as long as the file has it.

        :param key: the key
        :return: how many of its parts the file has, and the line of the last of them
        """
        node, depth, line = self.node, 0, self.node.start_mark.line + 1
        for part in key:
            child = _child(node, part)
            if child is None:
                break
            line, node = child
            depth += 1
        return depth, line


def _child(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        # What `<<` merges comes first: the key that counts is the last one.
        for key, value in reversed(node.value):
            if key.value == str(part):
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None


def _of_yaml(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return f": not valid YAML: {' '.join(str(error).split())}"
    context = f" ({error.context})" if error.context else ""
    return f":{error.problem_mark.line + 1}: not valid YAML: {error.problem}{context}"


class Source:
    """A grid's file with all that it includes.

    ``include`` names a file or a list of files, relative to the file that names them. Mappings
    merge, at every depth; where both have a key, the including file's value wins, and that of a
    file further down a list wins over those above it.

    :param path: the grid's file
    :raises GridError: if one of the files cannot be read, or includes itself
    """

    def __init__(self, path: Path) -> None:
        self.files = list(_read(path, ()))
        """The grid's file first; an earlier file's values win over a later one's."""
        merged = reduce(merge, (file.data for file in reversed(self.files)))
        self.data = {key: value for key, value in merged.items() if key != INCLUDE}

    def where(self, key: Key) -> tuple[int, int]:
        """Find where a key stands, or else what comes nearest to it.

        :param key: the key
        :return: which of the files, and its line
        """
        found = [file.find(key) for file in self.files]
        best = max(range(len(found)), key=lambda i: found[i][0])  # of equals, the first
        return best, found[best][1]

    def has(self, key: Key) -> bool:
        """Say whether a key stands in one of the files.

        :param key: the key
        """
        return any(file.find(key)[0] == len(key) for file in self.files)

    def own(self, key: Key) -> bool:
        """Say whether a key stands in the grid's file itself.

        :param key: the key
        """
        return self.files[0].find(key)[0] == len(key)

    def error(self, mistakes: Iterable[Mistake]) -> GridError:
        """Tell mistakes, each in a line.

        :param mistakes: at least one
        """
        ordered = sorted(dict.fromkeys(mistakes), key=lambda mistake: self.where(mistake.key))
        return GridError("\n".join(map(self._line, ordered)))

    def _line(self, mistake: Mistake) -> str:
        file, line = self.where(mistake.key)
        key = ".".join(map(str, mistake.key))
        return f"{self.files[file].path}:{line}: {key}: {' '.join(mistake.message.split())}"


def merge(below: Mapping[Any, Any], above: Mapping[Any, Any]) -> dict[Any, Any]:
    """Merge mappings at every depth.

    :param below: its order of keys comes first
    :param above: its values win
    """
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            merged[key] = merge(below[key], above[key])
    return merged


def _read(path: Path, above: tuple[Path, ...]) -> Iterator[File]:
    """Read a file and what it includes, the ones that win first."""
    try:
        file = File.read(path)
    except GridError as error:
        raise GridError(f"{error}; included by {above[-1]}" if above else str(error)) from error
    yield file
    line = file.find((INCLUDE,))[1]
    chain = (*above, path)
    for name in reversed(_included(file, line)):
        included = path.parent / name
        if any(included.resolve() == earlier.resolve() for earlier in chain):
            circle = " → ".join(map(str, (*chain, included)))
            raise GridError(f"{path}:{line}: {INCLUDE}: files include each other: {circle}")
        yield from _read(included, chain)


def _included(file: File, line: int) -> list[str]:
    names = file.data.get(INCLUDE, [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise GridError(
            f"{file.path}:{line}: {INCLUDE}: given {names!r}; allowed: a file or a list of files"
        )
    return names
