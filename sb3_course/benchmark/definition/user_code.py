"""The user's own code that a run is made with: which it is, and digests of it."""

import ast
import hashlib
import json
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache, partial
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_course.common.tracking.code import PACKAGES

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

SOURCE_OF = "source of "
"""Begins the keys of :func:`user_code`."""
PACKAGE = f"{SOURCE_OF}package "
"""Begins those of them whose value is a version."""
REGISTRATION_OF = "registration of "
"""Begins the other keys of :func:`of_user`."""

IMPORTERS = ("import_module", "__import__")
"""Functions that import a module by its name."""
OWN = ("sb3_course", "gymnasium")
"""Packages that are no user's: the commit and the versions of a run name them."""
VERSIONED = {*OWN, *(package.replace("-", "_") for package in PACKAGES)}
"""Packages whose versions a run names."""


def user_names(data: Any) -> set[tuple[str, str]]:
    """Return the names of the form ``module:name`` in settings, at any depth.

    Those of :data:`OWN` are left out.

    :param data: Settings of a run or a grid as plain data
    :return: Modules and names in them
    """
    if isinstance(data, str):
        found = named_in(data)
        return set() if found is None else {found}
    parts = [*data, *data.values()] if isinstance(data, dict) else data
    return set().union(*map(user_names, parts)) if isinstance(parts, list) else set()


def named_in(value: Any) -> tuple[str, str] | None:
    """Return the module and the name in a string of the form ``module:name``.

    :param value: Anything
    :return: Both, or None if it is no such string, or the module is of :data:`OWN`
    """
    found = re.fullmatch(r"([A-Za-z_][\w.]*):([\w./-]+)", value) if isinstance(value, str) else None
    if found is None or found[1].partition(".")[0] in OWN:
        return None
    return found[1], found[2]


def user_modules(data: Any) -> set[str]:
    """Return the modules that names of the form ``module:name`` mention, at any depth.

    :param data: Settings of a run or a grid as plain data
    :return: Names of modules
    """
    return {module for module, _ in user_names(data)}


def of_user(data: Any) -> dict[str, str | None]:
    """Return digests of all that settings take from the user's modules.

    :param data: Settings of a run as plain data
    :return: :func:`user_code` of its modules and of those that define its environments, and a
        digest of what each of these was registered with, by ``registration of MODULE:ID``; without
        registrations whose module has not been imported
    """
    if not (names := sorted(user_names(data))):
        return {}
    import gymnasium

    registered = [
        (f"{REGISTRATION_OF}{module}:{name}", gymnasium.registry[name])
        for module, name in names
        if module in sys.modules and name in gymnasium.registry
    ]
    modules = {module for module, _ in names}.union(*(_makers(spec) for _, spec in registered))
    return user_code(modules) | {key: _registration(spec) for key, spec in registered}


def _makers(spec: "EnvSpec") -> set[str]:
    """Return the user's modules in which an environment and its wrappers are defined."""
    points = [spec.entry_point, spec.vector_entry_point]
    points += [wrapper.entry_point for wrapper in spec.additional_wrappers]
    found = set()
    for point in filter(None, points):
        made = point.func if isinstance(point, partial) else point
        found.add(made.partition(":")[0] if isinstance(made, str) else made.__module__)
    others = {"__main__", *OWN, *sys.stdlib_module_names}
    return {module for module in found if module.partition(".")[0] not in others}


def _registration(spec: "EnvSpec") -> str:
    """Return a digest of what Gymnasium makes an environment of, without addresses of objects."""
    facts = [spec.kwargs, spec.max_episode_steps, spec.entry_point, spec.additional_wrappers]
    text = json.dumps(_plain(facts), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    """Return a value as JSON data; of an object that is none, what it shows without addresses."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {k if isinstance(k, str) else _text(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    if isinstance(value, set | frozenset):
        return sorted(map(_text, value))
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if hasattr(value, "tolist"):  # arrays and tensors, whose text leaves numbers out
        data = value.tolist()
        return repr(data) if type(data) is type(value) else _plain(data)
    if is_dataclass(value):
        return [repr(type(value)), *(_plain(getattr(value, f.name)) for f in fields(value))]
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _text(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True)


def user_code(modules: Iterable[str]) -> dict[str, str | None]:
    """Return digests of the source of modules, in which the user's own classes are.

    :param modules: Names of modules
    :return: Digest by ``source of MODULE``, and by ``source of module that MODULE imports`` one of
        all of the user's that it imports, None if there are none; of a module of an installed
        package that package's version, by ``source of package NAME``; without modules that have no
        source file
    """
    code: dict[str, str | None] = {}
    for module in sorted(modules):
        if (path := source_file(module)) is None:
            continue
        code[f"{SOURCE_OF}{module}"] = _digest([path])
        top = module.partition(".")[0]
        if top in VERSIONED or (root := _root(module, path)) is None:
            continue
        if _is_installed(root):
            code |= {f"{PACKAGE}{name}": version(name) for name in _distributions(top)}
        else:
            imported = sorted(_imported(module, path, root))
            code[f"{SOURCE_OF}module that {module} imports"] = (
                _digest(imported) if imported else None
            )
    return code


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def _distributions(package: str) -> set[str]:
    return set(packages_distributions().get(package, ()))


def _root(module: str, file: Path) -> Path | None:
    """Return the folder in which the top-level package of a module lies."""
    depth = module.count(".") + (file.name == "__init__.py")
    return file.parents[depth] if depth < len(file.parents) else None


def _is_installed(root: Path) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(root.parts)


def _imported(module: str, first: Path, root: Path) -> set[Path]:
    """Return the source files of the user's that a module imports, also indirectly.

    Installed packages are left out, and so is what is imported by names that are computed.
    """
    found, left = set[Path](), [(first, root)]
    left += [(file, root) for file in _files(module, root)]  # the packages that it is in, too
    while left:
        path, root = left.pop()
        if path not in found:
            found.add(path)
            state = path.stat()
            for name in _names(path, root, (state.st_mtime_ns, state.st_size)):
                if (place := _place(name.partition(".")[0], root)) is not None:
                    left += [(file, place) for file in _files(name, place)]
    return found - {first}


@lru_cache(maxsize=4096)
def _names(path: Path, root: Path, state: tuple[int, int]) -> set[str]:
    """Return the names of the modules that a source may import; it is read again in a new state."""
    names: set[str] = set()
    with suppress(OSError, SyntaxError, ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for node in ast.walk(ast.parse(path.read_bytes())):
            names.update(_named(node, path.relative_to(root).parts))
    return names


def _named(node: ast.AST, parts: tuple[str, ...]) -> Iterator[str]:
    """Yield the modules that a part of a source names; those of its path tell its package."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = parts[: -node.level] if node.level else ()
        start = [*package, *([node.module] if node.module else [])]
        yield from (".".join([*start, alias.name]) for alias in node.names)
    elif isinstance(node, ast.Constant) and (found := named_in(node.value)) is not None:
        yield found[0]  # as register() and WrapperSpec name what they make
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(IMPORTERS):
        name, within = _text_of(node, 0, "name"), _text_of(node, 1, "package")
        above = (*within.split("."), "") if within else parts
        dots = len(name) - len(name.lstrip("."))
        yield ".".join([*above[:-dots], name[dots:]]) if dots else name


def _text_of(call: ast.Call, place: int, keyword: str) -> str:
    """Return an argument that is given as text; empty for none, and for one that is computed."""
    given = [*call.args[place : place + 1], *(k.value for k in call.keywords if k.arg == keyword)]
    value = given[0].value if given and isinstance(given[0], ast.Constant) else None
    return value if isinstance(value, str) else ""


def _place(top: str, root: Path) -> Path | None:
    """Return the folder in which a top-level module or package of the user's lies, if it is one."""
    if not top or top in VERSIONED:
        return None
    if (root / top).is_dir() or (root / f"{top}.py").is_file():
        return root
    elsewhere = None if top in sys.stdlib_module_names else source_file(top)
    place = None if elsewhere is None else _root(top, elsewhere)
    return None if place is None or _is_installed(place) else place


def _files(name: str, root: Path) -> Iterator[Path]:
    """Yield the files of a module and of the packages that it is in, as far as there are any."""
    parts = name.split(".")
    for n in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:n])
        files = (place.with_name(f"{place.name}.py"), place / "__init__.py")
        yield from (file for file in files if file.is_file())


def source_file(module: str) -> Path | None:
    """Return the source file of a module, which is not imported unless it is in a package.

    :param module: Name of the module
    :return: Path of the file, None if there is none
    """
    try:
        spec = find_spec(module)
    except Exception:  # of the package that it is in, which is imported
        return None
    path = Path(spec.origin) if spec is not None and spec.origin else None
    return path if path is not None and path.is_file() else None
