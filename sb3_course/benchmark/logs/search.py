"""The runs in a folder of logs: what their paths say, and which files they have."""

import os
import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sb3_course.benchmark.logs.layout import Layout
from sb3_course.common.errors import UserError

EVALUATIONS, MONITOR, PROGRESS, EVENTS = "evaluations.npz", "monitor.csv", "progress.csv", "events"
KINDS = (EVALUATIONS, MONITOR, PROGRESS)
"""Endings of the names of log files; those of TensorBoard have ``.tfevents.`` in them."""
ARGUMENTS = "args.yml"
"""RL Zoo's file of a run's arguments."""
MOST_ENTRIES = 200_000
"""Maximum number of files and folders that are looked at below one path."""
SHOWN = 3

Unread = tuple[Path, str]
"""Path of what could not be read, and the reason in one line."""


@dataclass(frozen=True)
class FoundRun:
    """One run in a folder of logs.

    :param path: Its folder; its file where the layout names one
    :param says: What the path says, by part of the layout
    :param files: Its log files, and RL Zoo's file of arguments
    """

    path: Path
    says: dict[str, str]
    files: list[Path] = field(default_factory=list)


def kind_of(name: str) -> str | None:
    """Return the kind of a log file.

    :param name: Name of the file
    :return: One of the constants of this module, None for other files
    """
    if ".tfevents." in name:
        return EVENTS
    return next((kind for kind in KINDS if name.endswith(kind)), None)


def shown(text: Path | str) -> str:
    """Return a path or a reason as it is cited in messages of one line.

    :param text: Path, whose names may hold any characters, or text with such names
    :return: Its text, quoted if there are characters in it that are not shown
    """
    return str(text) if str(text).isprintable() else repr(str(text))


def find_runs(root: Path, layout: Layout) -> tuple[list[FoundRun], list[Unread]]:
    """Find the runs below a folder.

    The path of a run is that from the folder on. If none of them matches the layout, names of the
    folder's own path are taken into account, so that ``logs/ppo`` and ``logs/ppo/CartPole-v1_1``
    are read as parts of ``logs``. All log files at or below a run's path belong to the run.

    :param root: Folder of logs, or a log file
    :param layout: Layout of the folder
    :return: Runs in the order of their paths; logs of no run, runs without a log, and what cannot
        be read
    :raises UserError: There is no log file, or the path of none of them matches the layout
    """
    files, unread = _listed(root)
    if not root.is_dir():  # RL Zoo's arguments are in a folder beside a run's log
        files = sorted([*files, *root.parent.glob(ARGUMENTS), *root.parent.glob(f"*/{ARGUMENTS}")])
    logs = [path for path in files if kind_of(path.name)]
    if not logs:
        if unread:
            return [], unread
        allowed = ", ".join((*KINDS, "*.tfevents.*"))
        raise UserError(f"{shown(root)}: no log in it; allowed: {allowed} at any depth")
    base = root if root.is_dir() else root.parent
    above = Path(os.path.abspath(base)).parts[1:]
    for taken in range(min(layout.depth, len(above)) + 1):
        runs, others = _matched(base, files, above[len(above) - taken :], layout)
        direct = any(path.parent == base for path in logs)
        if runs and (taken < layout.depth or direct):
            return runs, [*unread, *others]
    examples = ", ".join(shown(path.relative_to(base)) for path in logs[:SHOWN])
    raise UserError(
        f"{shown(root)}: the layout {layout.pattern!r} matches none of {len(logs):,} log files"
        f", such as {examples}; say with --layout which part of a path is {{algorithm}}, "
        "{environment} and {seed}"
    )


def _matched(
    root: Path, files: list[Path], above: tuple[str, ...], layout: Layout
) -> tuple[list[FoundRun], list[Unread]]:
    """Return the runs, and what is none, if the layout begins ``above`` the root."""
    runs: dict[tuple[str, ...], FoundRun] = {}
    others: list[Unread] = []
    for path in files:
        names = (*above, *path.relative_to(root).parts)
        says = layout.match(names)
        if says is not None:
            key = names[: layout.depth]
            place = root.joinpath(*key[len(above) :])
            runs.setdefault(key, FoundRun(place, says)).files.append(path)
        elif kind_of(path.name):
            others.append((path, f"its path does not match the layout {layout.pattern!r}"))
    with_logs = [run for run in runs.values() if any(kind_of(path.name) for path in run.files)]
    others += [(run.path, "no log in it") for run in runs.values() if run not in with_logs]
    return with_logs, others


def _listed(root: Path) -> tuple[list[Path], list[Unread]]:
    """Return the regular files that a run may have, sorted, and what cannot be looked at."""
    found: list[Path] = []
    unread: list[Unread] = []
    for path, problem in _walk(root):
        if problem:
            unread.append((path, problem))
        elif kind_of(path.name) or path.name == ARGUMENTS:
            try:
                regular = stat.S_ISREG(path.stat().st_mode)
            except OSError as error:  # a link to nothing or to itself
                unread.append((path, error.strerror or "unreadable"))
                continue
            if regular:
                found.append(path)
            else:
                unread.append((path, "no regular file"))
    return found, unread


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield all files, and folders that are not entered with the reason."""
    if not root.is_dir():
        yield root, ""
        return
    waiting, seen = [root], 0
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield folder, error.strerror or "unreadable"
            continue
        seen += len(listed)
        if seen > MOST_ENTRIES:
            raise UserError(
                f"{shown(root)}: more than {MOST_ENTRIES:,} files and folders; give fewer"
            )
        for entry in listed:
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                continue
            if entry.is_symlink() and path.is_dir():
                yield path, "a symbolic link to a folder; give it as a path of its own to read it"
            else:
                yield path, ""
        folders = [entry.name for entry in listed if entry.is_dir(follow_symlinks=False)]
        waiting += [folder / name for name in reversed(folders)]


def of_kind(run: FoundRun, kind: str) -> list[Path]:
    """Return the files of one kind that a run has, of which the nearest to its path count.

    Files of evaluation environments are often in a folder below.

    :param run: Run
    :param kind: Kind of log file
    :return: Files in one folder; none if there are none
    :raises UserError: Files are in several folders of the same depth, so they are of several runs
    """
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in run.files:
        if kind_of(path.name) == kind:
            by_folder[path.parent].append(path)
    if not by_folder:
        return []
    least = min(len(folder.parts) for folder in by_folder)
    nearest = [folder for folder in by_folder if len(folder.parts) == least]
    if len(nearest) > 1:
        names = ", ".join(shown(folder.relative_to(run.path)) for folder in nearest[:SHOWN])
        raise UserError(f"logs of several runs in it: {names}; does the layout fit?")
    return by_folder[nearest[0]]
