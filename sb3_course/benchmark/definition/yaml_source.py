"""Source of a grid: YAML with line numbers, and files that include other files."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import yaml

from sb3_course.common.errors import Key, UserError
from sb3_course.common.files import read_whole
from sb3_course.common.yaml_values import MOST_CHARACTERS, MOST_VALUES, GridLoader, described

INCLUDE = "include"
MAPPING = Path("grid")
"""Path in messages about a grid that was passed as a mapping."""

GridSource: TypeAlias = str | Path | Mapping[str, Any]
"""Grid: a YAML file, or its content as a mapping."""

MOST_FILES = 100
"""Maximum number of files of a grid; a file that is included twice counts twice."""
MOST_MISTAKES = 50
"""Maximum number of mistakes that are reported."""


class GridError(UserError):
    """Invalid grid; the message has a line per mistake: file, line, key, given, allowed."""


@dataclass(frozen=True)
class Mistake:
    """Mistake in a grid.

    :param key: Key at which it was found
    :param message: Given value and what is allowed
    """

    key: Key
    message: str


@dataclass(frozen=True)
class File:
    """One file of a grid.

    :param path: Path, for messages
    :param node: Tree of YAML nodes, with their line numbers
    :param data: Keys and values
    :param size: Number of keys and values
    """

    path: Path
    node: yaml.Node
    data: dict[Any, Any]
    size: int

    @classmethod
    def read(cls, path: Path) -> "File":
        """Read a file.

        :param path: Path of the file
        :return: The file
        :raises GridError: If it cannot be read, or does not hold keys and values
        """
        try:
            text = read_whole(path, 4 * MOST_CHARACTERS).decode()  # up to 4 bytes each
            loader = GridLoader(text)
            node, data = loader.document()
        except OSError as error:
            raise GridError(f"{path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise GridError(f"{path}: is not a text file in UTF-8") from error
        except UserError as error:
            raise GridError(str(error)) from error
        except yaml.YAMLError as error:
            raise GridError(f"{path}:{described(error)}") from error
        if not isinstance(data, dict):
            content = "nothing" if data is None else f"a {type(data).__name__}"
            raise GridError(f"{path}: holds {content}; allowed: keys and values, as in name: demo")
        return cls(path, node, data, loader.size)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "File":
        """Make a file from its content.

        :param data: Keys and values that a grid file could hold; ranges, and NumPy's numbers and
            arrays, stand for lists and numbers
        :return: The file, with :data:`MAPPING` as its path
        :raises GridError: If the mapping holds values that a YAML file cannot hold
        """
        try:
            text = dump(dict(data))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            key, value = _not_plain(dict(data))
            raise GridError(
                f"{MAPPING}: {'.'.join(map(str, key)) or 'its keys'}: given {shown(value)} of type "
                f"{type(value).__name__}; allowed: numbers, strings, booleans, None, and lists and "
                "dicts of them"
            ) from error
        try:
            loader = GridLoader(text)
            return cls(MAPPING, *loader.document(), loader.size)
        except yaml.YAMLError as error:  # its line is one of a text that nobody wrote
            raise GridError(f"{MAPPING}: {described(error).split(' ', 1)[1]}") from error

    def find(self, key: Key) -> tuple[int, int]:
        """Follow a key as far as it exists in the file.

        :param key: Key to find
        :return: Number of its parts that exist, and the line of the last one
        """
        node, depth, line = self.node, 0, self.node.start_mark.line + 1
        for part in key:
            child = _child(node, part)
            if child is None:
                break
            line, node = child
            depth += 1
        return depth, line

    def place(self, line: int) -> str:
        """Return a line of the file as it is cited in messages.

        :param line: Number of the line, from 1
        :return: Path and line; for a mapping, which has no lines, the path alone
        """
        return str(self.path) if self.path is MAPPING else f"{self.path}:{line}"


class _GridDumper(yaml.SafeDumper):
    """Dumper of plain data, whose output :class:`GridLoader` reads as the same data."""

    yaml_implicit_resolvers = GridLoader.yaml_implicit_resolvers

    def represent_numpy(self, value: "np.generic | np.ndarray[Any, Any]") -> yaml.Node:
        """Represent a number of NumPy as Python's, and an array as lists of them."""
        return self.represent_data(value.tolist())

    def represent_range(self, values: range) -> yaml.Node:
        """Represent a range as a list, which is no longer than one that the loader refuses."""
        return self.represent_data(list(values[: MOST_VALUES + 1]))


_GridDumper.add_multi_representer(np.generic, _GridDumper.represent_numpy)  # type: ignore[type-abstract]
_GridDumper.add_multi_representer(np.ndarray, _GridDumper.represent_numpy)
_GridDumper.add_representer(range, _GridDumper.represent_range)


def dump(data: Any) -> str:
    """Return plain data as YAML that a grid is read from as the same data.

    :param data: Content of a grid
    :return: Text, in which ``1e3`` is a number and ``'1e3'`` is text
    """
    return yaml.dump(data, Dumper=_GridDumper, sort_keys=False, allow_unicode=True, width=100)


def _not_plain(data: Any, key: Key = ()) -> tuple[Key, Any]:
    """Return the key and the value of the innermost part that YAML cannot hold."""
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(data, dict):
        parts = data.items()
    elif isinstance(data, list | tuple):
        parts = enumerate(data)
    for name, part in parts:
        try:
            dump(part)
        except (yaml.YAMLError, ValueError, RecursionError):
            return _not_plain(part, (*key, name))
    return key, data


def shown(value: Any) -> str:
    """Return a value as it is cited in messages.

    :param value: Given value
    :return: The value's text, cut if it is long
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or lists in lists
        text = "a value"
    return text if len(text) <= 200 else f"{text[:200]}…"


def _child(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        # Keys merged by `<<` come first, and of equal keys the last one counts.
        for key, value in reversed(node.value):
            if key.value == str(part):
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None


class Source:
    """Grid file together with all files that it includes.

    ``include`` names a file or a list of files, relative to the file that includes them. Mappings
    are merged at every depth. Where both have a key, the value of the including file takes
    precedence, and a file takes precedence over those before it in the list.

    :param grid: Grid file, or its content as a mapping, in which included files are relative to
        the working directory
    :raises GridError: If one of the files cannot be read, or includes itself
    """

    def __init__(self, grid: GridSource) -> None:
        first = File.of(grid) if isinstance(grid, Mapping) else File.read(Path(grid))
        self.files: list[File] = []
        """Grid file and included files; the values of an earlier one take precedence."""
        _add_with_included(first, (), self.files)
        merged = reduce(merge, (file.data for file in reversed(self.files)))
        self.data = {key: value for key, value in merged.items() if key != INCLUDE}

    def where(self, key: Key) -> tuple[int, int]:
        """Find a key, or else the nearest enclosing key that exists.

        :param key: Key to find
        :return: Index of its file in ``files``, and its line
        """
        found = [file.find(key) for file in self.files]
        best = max(range(len(found)), key=lambda i: found[i][0])  # the first of equals
        return best, found[best][1]

    def has(self, key: Key) -> bool:
        """Return whether a key exists in any of the files.

        :param key: Key to find
        :return: Whether all of its parts exist
        """
        return any(file.find(key)[0] == len(key) for file in self.files)

    def own(self, key: Key) -> bool:
        """Return whether a key exists in the grid file itself.

        :param key: Key to find
        :return: Whether all of its parts exist
        """
        return self.files[0].find(key)[0] == len(key)

    def error(self, mistakes: Iterable[Mistake]) -> GridError:
        """Make the error that reports mistakes, one per line, in the order of files and lines.

        :param mistakes: Mistakes, at least one; the first :data:`MOST_MISTAKES` are reported
        :return: The error, to be raised
        """
        found = list(islice(dict.fromkeys(mistakes), MOST_MISTAKES))
        ordered = sorted(found, key=lambda mistake: self.where(mistake.key))
        return GridError("\n".join(map(self._line, ordered)))

    def _line(self, mistake: Mistake) -> str:
        file, line = self.where(mistake.key)
        parts = (str(part) for part in mistake.key)
        key = ".".join(part if part.isprintable() else repr(part) for part in parts)
        message = " ".join(mistake.message.split())
        place = self.files[file].place(line)
        return ": ".join([place, *([key[:200]] if key else []), message[:2000]])


def merge(below: Mapping[Any, Any], above: Mapping[Any, Any]) -> dict[Any, Any]:
    """Merge two mappings at every depth.

    :param below: Mapping whose keys come first
    :param above: Mapping whose values take precedence
    :return: Merged mapping
    """
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            merged[key] = merge(below[key], above[key])
    return merged


def _add_with_included(file: File, above: tuple[Path, ...], files: list[File]) -> None:
    """Add a file and the files that it includes, by descending precedence."""
    files.append(file)
    place = file.place(file.find((INCLUDE,))[1])
    size = sum(other.size for other in files)
    if len(files) > MOST_FILES or size > MOST_VALUES:
        raise GridError(
            f"{place}: {len(files)} files with {size:,} keys and values in all; allowed: "
            f"{MOST_FILES} and {MOST_VALUES:,}"
        )
    chain = (*above, file.path)
    for name in reversed(_included(file, place)):
        path = file.path.parent / name
        real = os.path.realpath(path)
        if any(real == os.path.realpath(earlier) for earlier in chain if earlier is not MAPPING):
            circle = " → ".join(map(str, (*chain, path)))
            raise GridError(f"{place}: {INCLUDE}: files include each other: {circle}")
        try:
            included = File.read(path)
        except GridError as error:
            raise GridError(f"{error}; included by {file.path}") from error
        _add_with_included(included, chain, files)


def _included(file: File, place: str) -> list[str]:
    names = file.data.get(INCLUDE, [])
    names = [names] if isinstance(names, str) else names
    plain = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not plain or not all(name.isprintable() and len(name) <= 1000 for name in names):
        raise GridError(
            f"{place}: {INCLUDE}: given {shown(names)}; allowed: a file or a list of files"
        )
    return [str(name) for name in names]
