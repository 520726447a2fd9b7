"""Repetition of stored runs, whose results are replaced once all new runs have finished."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.definition.user_code import SOURCE_OF, of_user, user_modules
from sb3_course.benchmark.storage.manifest import NAME, merge_manifest, read_manifest
from sb3_course.benchmark.storage.provenance import digest_of_code
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.tracking.code import git_commit, versions

STAGED = ".rerun"
"""Folder in that of a grid's results, in which new runs wait."""


def other_user_code(runs: Sequence[RunSpec], store: Store) -> str:
    """Return which finished runs were made with other modules of the user's than there are now.

    Modules of environments are imported, since that registers these.

    :param runs: Runs of a grid
    :param store: Store with their results
    :return: What has changed, for how many runs, and what to do; empty if nothing has
    """
    for module in user_modules(sorted({spec.env.id for spec in _different(runs).values()})):
        with suppress(Exception):  # of the user's code, which is told where it has to run
            import_module(module)
    code = _code_of(runs)
    finished = store.finished() if any(code.values()) else set()
    changed: Counter[str] = Counter()
    for result in store.read([s for s in runs if code.get(s.names) and s.id in finished]):
        then = result.made_with or {}
        now = code[result.spec.names]
        changed.update(key for key in now if key in then and then[key] != now[key])
    parts = [f"{n} runs with another {k.removeprefix(SOURCE_OF)}" for k, n in changed.items()]
    if not parts:
        return ""
    return (
        f"{store.folder} has {' and '.join(parts)}, which has changed since: --rerun "
        "(rerun=True) makes them again, --keep (keep=True) keeps them as they are"
    )


def _code_of(runs: Sequence[RunSpec]) -> dict[tuple[str, str], dict[str, str | None]]:
    """Return the user's code of each algorithm on each environment, the same for all seeds."""
    return {n: of_user(spec.model_dump(mode="json")) for n, spec in _different(runs).items()}


def _different(runs: Sequence[RunSpec]) -> dict[tuple[str, str], RunSpec]:
    return {spec.names: spec for spec in runs}


def staging_store(store: Store, runs: Sequence[RunSpec]) -> Store:
    """Return the store in which new runs wait until all have finished, one per state of the code.

    So the same command continues from there, and never with runs of other code, be it this
    package's, the user's or that of other versions.

    :param store: Store whose results are to be replaced
    :param runs: All runs of the grid
    :return: Store inside its folder
    """
    code = git_commit()
    if code is None or code.endswith("-dirty"):  # which can be any code
        code = f"{code or versions()['sb3-course']}-{digest_of_code()}"
    users = list(_code_of(runs).values())
    others = json.dumps([versions(), users], sort_keys=True).encode()
    return Store(store.folder / STAGED / f"{code}-{hashlib.sha256(others).hexdigest()[:12]}")


def replace_stored(store: Store, staged: Store, specs: Sequence[RunSpec], whole: bool) -> None:
    """Replace stored runs by new ones, and remove the staged files of the new ones.

    An interrupt loses nothing: the new runs stay staged until all have been copied. Other staged
    runs stay, too, unless the whole grid has been repeated.

    :param store: Store with the results to replace
    :param staged: Store from :func:`staging_store`, in which all new runs have finished
    :param specs: The new runs
    :param whole: Whether they are the whole grid, so that stored runs of its names with other
        settings are obsolete, and are removed
    """
    manifest, results = read_manifest(staged.folder), staged.read(specs)
    if not results:  # another process, which executed some of the runs, has already replaced them
        if not staged.finished():
            (staged.folder / NAME).unlink(missing_ok=True)
        return
    for result in results:
        store.write(result)
    if whole:
        store.remove_replaced(specs)
    _replace_manifest(store, manifest, whole)
    if whole:
        _remove_staging(store)
    else:
        (staged.folder / NAME).unlink(missing_ok=True)
        for spec in specs:
            staged.path(spec).unlink(missing_ok=True)


def _remove_staging(store: Store) -> None:
    """Remove all staged runs at once, so that another process sees either all or none of them."""
    # If the folder is gone, another process was faster.
    with (
        TemporaryDirectory(prefix=STAGED, dir=store.folder) as removed,
        suppress(FileNotFoundError),
    ):
        (store.folder / STAGED).rename(Path(removed) / STAGED)


def _replace_manifest(store: Store, manifest: dict[str, Any] | None, whole: bool) -> None:
    if manifest is not None:
        merge_manifest(store.folder, manifest, add=not whole)
    elif whole:  # the command was killed between its last run and writing it
        # The stored one describes other runs.
        (store.folder / NAME).unlink(missing_ok=True)
