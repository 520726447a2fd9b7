"""The manifest: what a grid was run with."""

import json
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.definition.user_code import source_file, user_code, user_modules
from sb3_course.benchmark.storage.provenance import machine
from sb3_course.benchmark.storage.run_files import locked
from sb3_course.common.files import read_kept, write_whole
from sb3_course.common.tracking.code import commit_of, git_commit, versions

NAME, LOCK = "manifest.json", ".manifest.lock"


class _Manifest(BaseModel):
    """What is relied upon in a manifest, which earlier versions may have written."""

    model_config = ConfigDict(strict=True)

    grid: dict[str, Any] = {}
    commands: list[str] = []
    git_commit: str | None = None
    user_code: dict[str, Any] = {}
    versions: dict[str, str | None] = {}
    machine: dict[str, Any] = {}
    workers: int | None = None
    duration_seconds: FiniteFloat = Field(default=0.0, ge=0.0)


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
    :raises UserError: The file is damaged; says what to do
    """
    return read_kept(folder / NAME, _parsed, "no result is lost")


def _parsed(content: bytes) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(content)
    _Manifest.model_validate(manifest)
    return manifest


def write_manifest(
    grid: Grid, folder: Path, command: str, workers: int | None, started: float
) -> None:
    """Write what a grid was run with: command, commit, versions and machine.

    :param grid: Grid
    :param folder: Folder of the results, ``results/GRID``
    :param command: Command that started it; those of other commands on the grid stay
    :param workers: Number of runs at a time, None for one per CPU of a cluster
    :param started: ``time.monotonic()`` at its start; durations add up as well
    """
    manifest = {
        "grid": configuration(grid),
        "commands": [command],
        "git_commit": git_commit(),
        "user_code": _user_code(grid),
        "versions": versions(),
        "machine": machine(),
        "workers": workers,
        "duration_seconds": round(time.monotonic() - started, 1),
    }
    merge_manifest(folder, manifest)


def merge_manifest(folder: Path, manifest: dict[str, Any], add: bool = True) -> None:
    """Replace the manifest, and add its commands and durations to those of the one before.

    No other command replaces it meanwhile.

    :param folder: Folder of the results, ``results/GRID``
    :param manifest: New content
    :param add: Whether to keep the commands and durations of the one before
    """
    with locked(folder / LOCK):
        before = (read_manifest(folder) if add else None) or {}
        commands = dict.fromkeys([*before.get("commands", []), *manifest["commands"]])
        seconds = before.get("duration_seconds", 0) + manifest["duration_seconds"]
        added = {"commands": list(commands), "duration_seconds": round(seconds, 1)}
        _write(folder, manifest | added)


def follow_grid(folder: Path, grid: Grid) -> None:
    """Replace the grid in a manifest by what its file is now, where that has been edited since.

    :param folder: Folder of the results, ``results/GRID``
    :param grid: Grid
    """
    now = configuration(grid)
    if (before := read_manifest(folder)) is not None and before.get("grid") != now:
        with locked(folder / LOCK):
            _write(folder, (read_manifest(folder) or before) | {"grid": now})


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    write_whole(folder / NAME, json.dumps(manifest, indent=1) + "\n")


def _user_code(grid: Grid) -> dict[str, Any]:
    """Return the source's digest and the commit of each module that the grid mentions."""
    paths = {module: source_file(module) for module in user_modules(configuration(grid))}
    return {
        module: {**user_code([module]), "git_commit": commit_of(path.parent)}
        for module, path in sorted(paths.items())
        if path is not None
    }
