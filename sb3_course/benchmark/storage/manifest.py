"""The manifest: what a grid was run with."""

import json
import time
from pathlib import Path
from typing import Any

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.storage.provenance import (
    commit_of,
    git_commit,
    machine,
    source_file,
    user_code,
    user_modules,
    versions,
)
from sb3_course.common.errors import UserError
from sb3_course.common.files import write_whole


def configuration(grid: Grid) -> dict[str, Any]:
    """Return a grid as plain data with every default filled in.

    :param grid: Grid
    :return: Its JSON data
    """
    data: dict[str, Any] = grid.model_dump(mode="json", by_alias=True)
    return data


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read ``manifest.json``, if there is one.

    :param folder: Folder of the results, ``results/GRID``
    :return: Content of the manifest, None if there is none
    :raises UserError: The file is damaged
    """
    path = folder / "manifest.json"
    if not path.exists():
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({error}); delete it, no result is lost") from error
    return manifest


def write_manifest(
    grid: Grid, folder: Path, command: str, workers: int | None, started: float
) -> dict[str, Any]:
    """Write what a grid was run with: command, commit, versions and machine.

    :param grid: Grid
    :param folder: Folder of the results, ``results/GRID``
    :param command: Command that started it; the commands of resumed runs add up
    :param workers: Number of runs at a time, None for one per CPU of a cluster
    :param started: ``time.time()`` at its start; durations add up as well
    :return: Content of the manifest
    """
    before = read_manifest(folder) or {}
    commands = dict.fromkeys([*before.get("commands", []), command])
    manifest = {
        "grid": configuration(grid),
        "commands": list(commands),
        "git_commit": git_commit(),
        "user_code": _user_code(grid),
        "versions": versions(),
        "machine": machine(),
        "workers": workers,
        "duration_seconds": round(before.get("duration_seconds", 0) + time.time() - started, 1),
    }
    write_whole(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return manifest


def _user_code(grid: Grid) -> dict[str, Any]:
    """Return the source's digest and the commit of each module that the grid mentions."""
    paths = {module: source_file(module) for module in user_modules(configuration(grid))}
    return {
        module: {**user_code([module]), "git_commit": commit_of(path.parent)}
        for module, path in sorted(paths.items())
        if path is not None
    }


def is_of(grid: Grid, folder: Path) -> bool:
    """Return whether the manifest is that of this very grid.

    :param grid: Grid
    :param folder: Folder of the results, ``results/GRID``
    :return: Whether all its settings are the same
    """
    return (read_manifest(folder) or {}).get("grid") == configuration(grid)
