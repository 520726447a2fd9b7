"""Source of a grid: YAML with line numbers, and files that include other files."""

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
"""Path in messages about a grid that was passed as a mapping."""

GridSource: TypeAlias = str | Path | Mapping[str, Any]
"""Grid: a YAML file, or its content as a mapping."""


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
    """

    path: Path
    node: yaml.Node
    data: dict[Any, Any]

    @classmethod
    def read(cls, path: Path) -> "File":
        """Read a file.

        :param path: Path of the file
        :return: The file
        :raises GridError: If it cannot be read, or does not hold keys and values
        """
        try:
            text = path.read_text(encoding="utf-8")
            node, data = _load(text)
        except OSError as error:
            raise GridError(f"{path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise GridError(f"{path}: is not a text file in UTF-8") from error
        except yaml.YAMLError as error:
            raise GridError(f"{path}{_yaml_problem(error)}") from error
        if not isinstance(data, dict):
            content = "nothing" if data is None else f"a {type(data).__name__}"
            raise GridError(f"{path}: holds {content}; allowed: keys and values, as in name: demo")
        return cls(path, node, data)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "File":
        """Make a file from its content.

        :param data: Keys and values that a grid file could hold
        :return: The file, with :data:`MAPPING` as its path
        :raises GridError: If the mapping holds values that a YAML file cannot hold
        """
        try:
            text = _dump(dict(data))
        except yaml.YAMLError as error:
            key, value = _not_plain(dict(data))
            raise GridError(
                f"{MAPPING}: {'.'.join(map(str, key)) or 'its keys'}: given {value!r} of type "
                f"{type(value).__name__}; allowed: numbers, strings, booleans, None, and lists and "
                "dicts of them"
            ) from error
        return cls(MAPPING, *_load(text))

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


def _dump(data: Any) -> str:
    return yaml.dump(data, Dumper=_GridDumper, sort_keys=False)


def _not_plain(data: Any, key: Key = ()) -> tuple[Key, Any]:
    """Return the key and the value of the innermost part that YAML cannot hold."""
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(data, dict):
        parts = data.items()
    elif isinstance(data, list | tuple):
        parts = enumerate(data)
    for name, part in parts:
        try:
            _dump(part)
        except yaml.YAMLError:
            return _not_plain(part, (*key, name))
    return key, data


def _load(text: str) -> tuple[yaml.Node, Any]:
    """Return a document as a tree of nodes, in which merge keys are resolved, and as data."""
    loader = GridLoader(text)
    node = loader.get_single_node() or yaml.ScalarNode("tag:yaml.org,2002:null", "")
    return node, loader.construct_document(node)


def _child(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        # Keys merged by `<<` come first, and of equal keys the last one counts.
        for key, value in reversed(node.value):
            if key.value == str(part):
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None


def _yaml_problem(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return f": not valid YAML: {' '.join(str(error).split())}"
    context = f" ({error.context})" if error.context else ""
    return f":{error.problem_mark.line + 1}: not valid YAML: {error.problem}{context}"


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
        self.files = list(_with_included(first, ()))
        """Grid file and included files; the values of an earlier one take precedence."""
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

        :param mistakes: Mistakes, at least one
        :return: The error, to be raised
        """
        ordered = sorted(dict.fromkeys(mistakes), key=lambda mistake: self.where(mistake.key))
        return GridError("\n".join(map(self._line, ordered)))

    def _line(self, mistake: Mistake) -> str:
        file, line = self.where(mistake.key)
        key = ".".join(map(str, mistake.key))
        return f"{self.files[file].place(line)}: {key}: {' '.join(mistake.message.split())}"


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


def _with_included(file: File, above: tuple[Path, ...]) -> Iterator[File]:
    """Yield a file and the files that it includes, by descending precedence."""
    yield file
    place = file.place(file.find((INCLUDE,))[1])
    chain = (*above, file.path)
    for name in reversed(_included(file, place)):
        path = file.path.parent / name
        if any(path.resolve() == earlier.resolve() for earlier in chain if earlier is not MAPPING):
            circle = " → ".join(map(str, (*chain, path)))
            raise GridError(f"{place}: {INCLUDE}: files include each other: {circle}")
        try:
            included = File.read(path)
        except GridError as error:
            raise GridError(f"{error}; included by {file.path}") from error
        yield from _with_included(included, chain)


def _included(file: File, place: str) -> list[str]:
    names = file.data.get(INCLUDE, [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise GridError(f"{place}: {INCLUDE}: given {names!r}; allowed: a file or a list of files")
    return names
