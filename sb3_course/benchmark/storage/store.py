"""The results of a grid: one file per run, and one file in all once every run has finished."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from sb3_course.benchmark.definition.grid import RunSpec, id_of
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.run_files import RunFiles, StoredRun, damaged, names_in
from sb3_course.common.files import write_whole

SPEC = '{"spec":'
"""How the line of a run begins; its spec follows."""
DECODER = json.JSONDecoder()


class Store:
    """The results of one grid: finished runs as :class:`.RunFiles`, failed ones in ``failed``.

    :param folder: ``results/GRID``
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
        return self.folder / "failed" / f"{spec.id}.json"

    def write(self, result: RunResult) -> None:
        """Write a result; a run that finished is no longer among the failed ones.

        :param result: Result of a finished or a failed run
        """
        text = result.model_dump_json() + "\n"
        if result.failure is not None:
            write_whole(self.failure_path(result.spec), text)
        else:
            self._runs.write(result.spec.id, text)
            self.failure_path(result.spec).unlink(missing_ok=True)

    def pack(self) -> None:
        """Write all finished runs into one file, ``runs.jsonl``, and remove their own files.

        :raises UserError: A line of ``runs.jsonl`` is damaged; names the line
        """
        self._runs.pack()

    def keep_only(self, specs: Iterable[RunSpec]) -> None:
        """Remove all other finished runs, and every failed one.

        :param specs: Runs to keep
        :raises UserError: A line of ``runs.jsonl`` is damaged; names the line
        """
        self._runs.keep_only({spec.id for spec in specs})
        for name in names_in(self.folder / "failed"):
            (self.folder / "failed" / f"{name}.json").unlink(missing_ok=True)

    def finished(self) -> set[str]:
        """Return the ids of the finished runs; no run's own file is opened.

        :return: Ids of the finished runs
        :raises UserError: A line of ``runs.jsonl`` is damaged; names the line
        """
        return self._runs.names()

    def has_finished(self, spec: RunSpec) -> bool:
        """Return whether a run has finished.

        :param spec: Run
        :return: Whether its result is stored
        """
        return self._runs.has(spec.id)

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
        return names_in(self.folder / "failed") - self.finished()

    def read(self, specs: Iterable[RunSpec]) -> list[RunResult]:
        """Read the stored results, in the order of the runs.

        :param specs: Runs
        :return: Results of finished and of failed runs
        :raises UserError: A result is damaged; names its file, and the line in ``runs.jsonl``
        """
        ids = [spec.id for spec in specs]
        stored = self._failures(ids) | self._runs.read(ids)
        return [_parsed(stored[run]) for run in ids if run in stored]

    def older_than(self, page: Path) -> bool:
        """Return whether a page was written after the last result.

        :param page: File derived from the results, such as a report
        :return: Whether the page exists and is newer than every result
        """
        failed = self.folder / "failed"
        changed = max(self._runs.changed_at(), failed.stat().st_mtime_ns if failed.is_dir() else 0)
        return page.exists() and page.stat().st_mtime_ns > changed

    def failures(self, specs: Iterable[RunSpec]) -> list[RunResult]:
        """Read the failed runs, in the order of the runs.

        :param specs: Runs
        :return: Results of the runs that failed and have not finished since
        """
        ids = [spec.id for spec in specs]
        failed = self._failures(set(ids) - self.finished())
        return [_parsed(failed[run]) for run in ids if run in failed]

    def _failures(self, ids: Iterable[str]) -> dict[str, StoredRun]:
        found = {}
        for name in names_in(self.folder / "failed") & set(ids):
            path = self.folder / "failed" / f"{name}.json"
            with suppress(FileNotFoundError):  # finished meanwhile
                found[name] = StoredRun(path.read_text("utf-8"), str(path))
        return found


def _id_of_line(line: str) -> str:
    """Compute the id of a run from the beginning of its line, without parsing the rest."""
    if not line.startswith(SPEC):
        raise ValueError(f"it does not begin with {SPEC}")
    spec, _ = DECODER.raw_decode(line, len(SPEC))
    return id_of(spec)


def _parsed(run: StoredRun) -> RunResult:
    try:
        return RunResult.model_validate_json(run.text)
    except ValidationError as error:
        raise damaged(run.place, f"{error.error_count()} mistakes") from error
