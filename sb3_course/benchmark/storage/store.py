"""The results of a grid: one file per run, and one file in all once every run has finished.

A stored result is checked whenever it is read: it is that of the run after which it is named, has
every evaluation and episode, and its digest is that of its content. What is not is *damaged*: it
counts as a failed run whose reason names the file, so it is in no statistic and is run again.
"""

import errno
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sb3_course.benchmark.definition.grid import RunSpec, id_of
from sb3_course.benchmark.storage.result import NewerError, RunResult, parsed, problem_of, text_of
from sb3_course.benchmark.storage.run_files import (
    DAMAGE,
    RunFiles,
    StoredRun,
    changed_at,
    damaged,
    names_in,
    stored_in,
)
from sb3_course.common.errors import UserError
from sb3_course.common.files import check_link, write_whole

SPEC = '{"spec":'
"""How the line of a run begins; its spec follows."""
DECODER = json.JSONDecoder()


class Store:
    """The results of one grid: finished runs as :class:`.RunFiles`, failed ones in ``failed``.

    :param folder: ``results/GRID``
    :raises UserError: The folder is a link to what is not there
    """

    def __init__(self, folder: Path) -> None:
        check_link(folder)
        self.folder, self._failed = folder, folder / "failed"
        self._runs = RunFiles(folder, _id_of_line)

    def path(self, spec: RunSpec) -> Path:
        """Return the file in which a finished run is written; packing removes it.

        :param spec: Run
        :return: Path of the file
        """
        return self._runs.path(spec.id)

    def failure_path(self, spec: RunSpec) -> Path:
        """Return the file of a failed run.

        :param spec: Run
        :return: Path of the file
        """
        return self._failed / f"{spec.id}.json"

    def write(self, result: RunResult) -> None:
        """Write a result; a run that finished is no longer among the failed ones.

        :param result: Result of a finished or a failed run
        """
        text = text_of(result)
        if result.failure is not None:
            write_whole(self.failure_path(result.spec), text)
        else:
            self._runs.write(result.spec.id, text)
            self.failure_path(result.spec).unlink(missing_ok=True)

    def pack(self) -> None:
        """Write all finished runs into one file, ``runs.jsonl``, and remove their own files."""
        self._runs.pack()

    def replaced(self, specs: Iterable[RunSpec]) -> set[str]:
        """Return what new runs replace: those of the same names and seed with other settings.

        Runs that the grid does not name stay: they may be of another grid of the same name.

        :param specs: New runs
        :return: Ids of finished runs
        """
        new: dict[Any, str] = {(*spec.names, spec.seed): spec.id for spec in specs}
        stored = self._runs.read(self._runs.names())
        return {n for n, run in stored.items() if new.get(_named(run.text), n) != n}

    def remove_replaced(self, specs: Sequence[RunSpec]) -> None:
        """Remove what new runs replace, as of :meth:`replaced`.

        :param specs: New runs, which stay, but for how they failed before
        """
        self._runs.remove(self.replaced(specs))
        new = {(*spec.names, spec.seed) for spec in specs}
        for name, run in stored_in(self._failed, names_in(self._failed)).items():
            if _named(run.text) in new:
                (self._failed / f"{name}.json").unlink(missing_ok=True)

    def finished(self) -> set[str]:
        """Return the ids of the finished runs, as named; no run's own file is opened."""
        return self._runs.names()

    def sound(self, specs: Iterable[RunSpec]) -> set[str]:
        """Return the ids of the finished runs whose results are as they were written.

        :param specs: Runs
        :return: Ids of those of these runs
        """
        return {result.spec.id for result in self.read(specs) if result.failure is None}

    def has_finished(self, spec: RunSpec) -> bool:
        """Return whether a run has finished.

        :param spec: Run
        :return: Whether its result is stored and as it was written
        """
        return self._runs.has(spec.id) and bool(self.sound([spec]))

    def failed_at(self, spec: RunSpec) -> int | None:
        """Return when a run failed.

        :param spec: Run
        :return: Nanoseconds since 1970, None if it did not fail
        """
        try:
            return self.failure_path(spec).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def failed(self) -> set[str]:
        """Return the ids of the runs that failed and have not finished since."""
        return names_in(self._failed) - self.finished()

    def read(self, specs: Iterable[RunSpec]) -> list[RunResult]:
        """Read the stored results, in the order of the runs.

        :param specs: Runs
        :return: Results of finished and of failed runs; a damaged one is that of a failed run
        """
        by_id = {spec.id: spec for spec in specs}
        runs, failures = self._runs.read(by_id), stored_in(self._failed, by_id)
        found = {}
        for name, spec in by_id.items():
            if name in runs:
                found[name] = _result(runs[name], spec, failed=False)
            # A damaged result is hidden by how the run failed when it was made again.
            if name in failures and (name not in found or found[name].failure is not None):
                found[name] = _result(failures[name], spec, failed=True)
        return [found[name] for name in by_id if name in found]

    def damage(self, specs: Iterable[RunSpec]) -> list[str]:
        """Describe what is damaged, one line each: results of these runs, and of no known run.

        :param specs: Runs of the grid
        :return: Lines that name the file, the problem and the remedy
        """
        by_id = {spec.id: spec for spec in specs}
        runs = self._runs.read(self._runs.names() | by_id.keys())
        failures = stored_in(self._failed, by_id)
        stored = [(run, by_id.get(name), False) for name, run in sorted(runs.items())]
        stored += [(run, by_id[name], True) for name, run in sorted(failures.items())]
        return [*self._runs.damage(), *(line for s in stored if (line := _damage(*s)))]

    def check_free(self, specs: Iterable[RunSpec]) -> None:
        """Check that results can be moved into place, before hours are spent on them.

        :param specs: Runs to execute
        :raises UserError: There is a folder in the place of a file, or another thing in that of a
            folder, or the file of all runs cannot be read; names it
        :raises NotADirectoryError: What the folder would be in is none
        """
        for above in self.folder.parents:
            if os.path.lexists(above) and not above.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))
        for folder in (self.folder, self.folder / "runs", self._failed):
            if os.path.lexists(folder) and not folder.is_dir():
                raise UserError(f"{folder} is no folder; move it away, as results go there")
        self._runs.check_readable()
        for spec in specs:
            for path in (self.path(spec), self.failure_path(spec)):
                if path.is_dir():
                    raise UserError(f"{path} is a folder; move it away, as a result goes there")

    def changed_at(self) -> int:
        """Return when the last result was added, removed or replaced, in ns since 1970."""
        return max(self._runs.changed_at(), changed_at(self._failed))


def _named(text: str) -> tuple[str, str, int] | None:
    """Return the algorithm, the environment and the seed of a stored run; None if it is damaged."""
    with suppress(*DAMAGE):
        spec, _ = DECODER.raw_decode(text, len(SPEC))
        return spec["algorithm"], spec["environment"], spec["seed"]
    return None


def _id_of_line(line: str) -> str:
    """Compute the id of a run from the beginning of its line, without parsing the rest."""
    if not line.startswith(SPEC):
        raise ValueError(f"it does not begin with {SPEC}")
    spec, _ = DECODER.raw_decode(line, len(SPEC))
    return id_of(spec)


def _checked(run: StoredRun, spec: RunSpec | None, failed: bool) -> RunResult:
    """Return a stored result, or raise a ``ValueError`` that says why it is not as written."""
    if run.problem:
        raise ValueError(run.problem)
    result = parsed(run.text)
    if failed and (result.failure is None or result.spec != spec):
        raise ValueError("it is not how this run failed")
    problem = None if failed or spec is None else problem_of(result, spec)
    if problem:
        raise ValueError(problem)
    return result


def _result(run: StoredRun, spec: RunSpec, failed: bool) -> RunResult:
    try:
        return _checked(run, spec, failed)
    except NewerError as error:
        raise UserError(f"{run.place}: {error}: update this one") from error
    except ValueError as error:
        return RunResult(spec=spec, failure=damaged(run.place, str(error)))


def _damage(run: StoredRun, spec: RunSpec | None, failed: bool) -> str | None:
    try:
        _checked(run, spec, failed)
    except NewerError as error:
        return f"{run.place}: {error}: update this one"
    except ValueError as error:
        advice = "" if spec is not None else "; delete the line, or the file, if it is no run's"
        return damaged(run.place, str(error)) + advice
    return None
