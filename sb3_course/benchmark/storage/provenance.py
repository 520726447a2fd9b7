"""Commit, versions and machine of this process, for the manifests and for each run."""

import ast
import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_course.common.tracking.code import PACKAGES, git_commit, versions

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

SOURCE_OF = "source of "
"""Begins the keys of :func:`user_code`."""
REGISTRATION_OF = "registration of "
"""Begins the other keys of :func:`of_user`."""

OWN = ("sb3_course", "gymnasium")
"""Packages that are no user's: the commit and the versions of a run name them."""

VERSIONED = {package.replace("-", "_") for package in PACKAGES}
"""Packages whose versions a run names."""

PROCESSOR = ("system", "cpu", "cpu_kind")
"""Names of what :func:`of_a_run` knows of the machine; the rest is code and versions."""


@cache
def of_a_run() -> dict[str, str | None]:
    """Return the provenance of a run of this process: commit, versions, system and processor.

    Processors of different models share names, and C libraries choose their code by the features of
    the processor: ``cpu_kind`` distinguishes processors that may compute other last bits.
    """
    system = " ".join([platform.system(), platform.machine(), *platform.libc_ver()])
    return {
        "git_commit": git_commit(),
        **versions(),
        "system": system.strip(),
        "cpu": _cpu_model(),
        "cpu_kind": _cpu_kind(),
    }


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
    if isinstance(value, dict):
        return {k if isinstance(k, str) else repr(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if value is None or isinstance(value, str | int | float):
        return value
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if is_dataclass(value):
        return [repr(type(value)), *(_plain(getattr(value, f.name)) for f in fields(value))]
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def user_code(modules: Iterable[str]) -> dict[str, str | None]:
    """Return digests of the source of modules, in which the user's own classes are.

    :param modules: Names of modules
    :return: Digest by ``source of MODULE``, and by ``source of module that MODULE imports`` one of
        all that it imports from where it lies itself; without modules that have no source file
    """
    code: dict[str, str | None] = {}
    for module in sorted(modules):
        if (path := source_file(module)) is not None:
            code[f"{SOURCE_OF}{module}"] = _digest([path])
            if imported := _imported(module):
                code[f"{SOURCE_OF}module that {module} imports"] = _digest(sorted(imported))
    return code


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _imported(module: str) -> set[Path]:
    """Return the source files that a module imports, also indirectly, from where it lies itself.

    Of an installed package only its own files are followed. Packages whose versions a run names are
    left out, and so is what is imported by names that are computed.
    """
    top = module.partition(".")[0]
    first = source_file(module)
    root = None if first is None else _root(module, first)
    if first is None or root is None or top in VERSIONED:
        return set()
    installed = bool({"site-packages", "dist-packages"} & set(root.parts))
    found, left = set[Path](), [first, *_files(module, root)]  # the packages that it is in, too
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            state = path.stat()
            for name in _names(path, root, (state.st_mtime_ns, state.st_size)):
                if not installed or name.partition(".")[0] == top:
                    left += _files(name, root)
    return found - {first}


def _root(module: str, file: Path) -> Path | None:
    """Return the folder in which the top-level package of a module lies."""
    depth = module.count(".") + (file.name == "__init__.py")
    return file.parents[depth] if depth < len(file.parents) else None


@lru_cache(maxsize=4096)
def _names(path: Path, root: Path, state: tuple[int, int]) -> list[str]:
    """Return the names of the modules that a source may import; it is read again in a new state."""
    names: list[str] = []
    with suppress(OSError, SyntaxError, ValueError):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names += (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                package = path.relative_to(root).parts[: -node.level] if node.level else ()
                start = [*package, *([node.module] if node.module else [])]
                names += (".".join([*start, alias.name]) for alias in node.names)
            elif isinstance(node, ast.Constant) and (found := named_in(node.value)) is not None:
                names.append(found[0])  # as register() and WrapperSpec name what they make
    return names


def _files(name: str, root: Path) -> Iterator[Path]:
    """Yield the files of a module and of the packages that it is in, as far as there are any."""
    parts = name.split(".")
    if parts[0] in OWN:
        return
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


def digest_of_code() -> str:
    """Return a short digest of the source of this package's modules."""
    folder = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def memory_gib() -> float | None:
    """Return the memory of this machine or its container in GiB, or None if it is unknown."""
    sizes = []
    with suppress(AttributeError, ValueError, OSError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ValueError, OSError):  # a container's share, on Linux
        sizes.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(sizes) / 2**30 if sizes else None


def machine() -> dict[str, Any]:
    """Return the model and number of the machine's processors, and its system."""
    return {"cpu": _cpu_model(), "cpu_count": os.cpu_count(), "system": platform.system()}


def _cpu_model() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_kind() -> str:
    """Return the processor's family and model, and the instruction set that PyTorch uses."""
    from torch.backends import cpu

    numbers = [f"{name} {_cpu_info(name)}" for name in ("cpu family", "model") if _cpu_info(name)]
    return ", ".join([*numbers, cpu.get_cpu_capability()])


def _cpu_info(name: str) -> str | None:
    """Return a fact about the first processor, or None where the system has no such file."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
