"""The text of a grid: YAML that knows its lines, and files that include files."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from sb3_course.common.errors import Key, UserError
from sb3_course.common.yaml_values import GridLoader

INCLUDE = "include"
MAPPING = Path("grid")
"""Stands for the file of a grid that was given as a mapping."""

GridSource: TypeAlias = str | Path | Mapping[str, Any]
"""A grid: a YAML file, or the same as a mapping."""


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
            text = path.read_text(encoding="utf-8")
            node, data = _load(text)
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

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "File":
        """Take a mapping in place of a file.

        :param data: Its keys and values, such as a file would hold
        :raises GridError: if it holds what YAML has no form for
        """
        try:
            text = yaml.safe_dump(dict(data), sort_keys=False)
        except yaml.YAMLError as error:
            raise GridError(f"the grid is no plain data: {' '.join(str(error).split())}") from error
        return cls(MAPPING, *_load(text))

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


def _load(text: str) -> tuple[yaml.Node, Any]:
    """Return a document as a tree, in which merges are resolved, and as data."""
    loader = GridLoader(text)
    node = loader.get_single_node() or yaml.ScalarNode("tag:yaml.org,2002:null", "")
    return node, loader.construct_document(node)


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

    :param grid: The grid's file, or the same as a mapping, whose includes are relative to the
        working directory
    :raises GridError: if one of the files cannot be read, or includes itself
    """

    def __init__(self, grid: GridSource) -> None:
        first = File.of(grid) if isinstance(grid, Mapping) else File.read(Path(grid))
        self.files = list(_with_included(first, ()))
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
        path, key = self.files[file].path, ".".join(map(str, mistake.key))
        place = str(path) if path is MAPPING else f"{path}:{line}"
        return f"{place}: {key}: {' '.join(mistake.message.split())}"


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


def _with_included(file: File, above: tuple[Path, ...]) -> Iterator[File]:
    """Read what a file includes, too; the files that win come first."""
    yield file
    line = file.find((INCLUDE,))[1]
    chain = (*above, file.path)
    for name in reversed(_included(file, line)):
        path = file.path.parent / name
        if any(path.resolve() == earlier.resolve() for earlier in chain):
            circle = " → ".join(map(str, (*chain, path)))
            raise GridError(f"{file.path}:{line}: {INCLUDE}: files include each other: {circle}")
        try:
            included = File.read(path)
        except GridError as error:
            raise GridError(f"{error}; included by {file.path}") from error
        yield from _with_included(included, chain)


def _included(file: File, line: int) -> list[str]:
    names = file.data.get(INCLUDE, [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise GridError(
            f"{file.path}:{line}: {INCLUDE}: given {names!r}; allowed: a file or a list of files"
        )
    return names
