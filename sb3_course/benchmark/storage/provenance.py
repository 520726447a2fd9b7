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
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sb3_course.common.tracking.code import git_commit, versions

SOURCE_OF = "source of "
"""Begins the keys of :func:`user_code`."""
REGISTRATION_OF = "registration of "
"""Begins the other keys of :func:`of_user`."""

OWN = ("sb3_course", "gymnasium")
"""Packages that are no user's: the commit and the versions of a run name them."""

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
        found = re.fullmatch(r"([A-Za-z_][\w.]*):([\w./-]+)", data)
        own = found is not None and found[1].partition(".")[0] in OWN
        return {(found[1], found[2])} if found and not own else set()
    parts = [*data, *data.values()] if isinstance(data, dict) else data
    return set().union(*map(user_names, parts)) if isinstance(parts, list) else set()


def user_modules(data: Any) -> set[str]:
    """Return the modules that names of the form ``module:name`` mention, at any depth.

    :param data: Settings of a run or a grid as plain data
    :return: Names of modules
    """
    return {module for module, _ in user_names(data)}


def of_user(data: Any) -> dict[str, str | None]:
    """Return digests of all that settings take from the user's modules.

    :param data: Settings of a run as plain data
    :return: :func:`user_code` of its modules, and a digest of what each of its environments was
        registered with, by ``registration of MODULE:ID``; without those whose module has not been
        imported
    """
    code = user_code(user_modules(data))
    for module, name in sorted(user_names(data)):
        if module in sys.modules and (registration := _registration(name)):
            digest = hashlib.sha256(registration.encode()).hexdigest()[:12]
            code[f"{REGISTRATION_OF}{module}:{name}"] = digest
    return code


def _registration(name: str) -> str | None:
    """Return what Gymnasium makes an environment of, without the addresses of objects."""
    import gymnasium

    spec = gymnasium.registry.get(name)
    if spec is None:
        return None
    facts = [spec.kwargs, spec.max_episode_steps, spec.entry_point, spec.additional_wrappers]
    return json.dumps(facts, sort_keys=True, default=_name_of)


def _name_of(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


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

    Installed packages are left out, whose versions are known, and so is what is imported by names
    that are computed.
    """
    first = source_file(module)
    root = None if first is None else _root(module, first)
    if first is None or root is None or {"site-packages", "dist-packages"} & set(root.parts):
        return set()
    found, left = set[Path](), [first, *_files(module, root)]  # the packages that it is in, too
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            with suppress(OSError, SyntaxError, ValueError):
                tree = ast.parse(path.read_bytes())
                left += [file for name in _names(tree, path, root) for file in _files(name, root)]
    return found - {first}


def _root(module: str, file: Path) -> Path | None:
    """Return the folder in which the top-level package of a module lies."""
    depth = module.count(".") + (file.name == "__init__.py")
    return file.parents[depth] if depth < len(file.parents) else None


def _names(tree: ast.Module, path: Path, root: Path) -> Iterator[str]:
    """Yield the names of the modules that a source may import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(root).parts[: -node.level] if node.level else ()
            start = ".".join([*package, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" if start else alias.name for alias in node.names)


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
    except (ImportError, ValueError):
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
