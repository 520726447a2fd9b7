"""Run what is stored anew, and replace it once all of it has ended."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.storage.manifest import read_manifest
from sb3_course.benchmark.storage.provenance import digest_of_code, git_commit, versions
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.files import write_whole

FOLDER = ".rerun"


def staging_store(store: Store) -> Store:
    """Return where new runs wait for the others: a place for each state of the code.

    So the same command goes on from there, and never with runs of other code.

    :param store: what is to be replaced
    """
    code = git_commit()
    if code is None or code.endswith("-dirty"):  # which may be any code
        code = f"{code or versions()['sb3-course']}-{digest_of_code()}"
    return Store(store.folder / FOLDER / code)


def replace_stored(store: Store, staged: Store, specs: Sequence[RunSpec], whole: bool) -> None:
    """Put new runs into the place of the stored ones, and remove what they were waiting in.

    An interrupt loses nothing: the new runs stay where they are until all have been copied. Other
    new runs, which wait for theirs, stay there too, unless the whole grid has been renewed.

    :param store: what is stored
    :param staged: the new runs, all of them finished
    :param specs: which they are
    :param whole: whether they are the whole grid, so that any other stored run is of an earlier one
    """
    manifest, results = read_manifest(staged.folder), staged.read(specs)
    if not results:
        return  # another process, which did some of these runs, has done it
    for result in results:
        store.write(result)
    if whole:
        store.keep_only(specs)
    _replace_manifest(store, manifest, whole)
    if whole:
        _remove_staging(store)
    else:
        (staged.folder / "manifest.json").unlink(missing_ok=True)
        for spec in specs:
            staged.path(spec).unlink(missing_ok=True)


def _remove_staging(store: Store) -> None:
    """Remove all at once: another process, at the same point, sees everything or nothing."""
    # Where it is gone already another process was first.
    with (
        TemporaryDirectory(prefix=FOLDER, dir=store.folder) as removed,
        suppress(FileNotFoundError),
    ):
        (store.folder / FOLDER).rename(Path(removed) / FOLDER)


def _replace_manifest(store: Store, manifest: dict[str, Any] | None, whole: bool) -> None:
    path, before = store.folder / "manifest.json", read_manifest(store.folder)
    if manifest is None:  # killed after its last run, before it wrote one
        if whole:
            path.unlink(missing_ok=True)  # that of other runs
        return
    if before is not None and not whole:
        commands = dict.fromkeys([*before["commands"], *manifest["commands"]])
        seconds = before["duration_seconds"] + manifest["duration_seconds"]
        manifest |= {"commands": list(commands), "duration_seconds": round(seconds, 1)}
    write_whole(path, json.dumps(manifest, indent=1) + "\n")
