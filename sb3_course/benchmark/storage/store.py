"""What has been run: one file a run, moved into place whole."""

import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.common.errors import UserError
from sb3_course.common.files import write_whole


class Store:
    """The results of one grid: finished runs in ``runs``, failed ones in ``failed``.

    :param folder: ``results/GRID``
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, spec: RunSpec) -> Path:
        """Return the file of a finished run.

        :param spec: the run
        """
        return self.folder / "runs" / f"{spec.id}.json"

    def failure_path(self, spec: RunSpec) -> Path:
        """Return the file of a failed run.

        :param spec: the run
        """
        return self.folder / "failed" / f"{spec.id}.json"

    def write(self, result: RunResult) -> None:
        """Keep a result; a run that finished is no longer among the failed ones.

        :param result: of a finished or a failed run
        """
        failed = result.failure is not None
        path = self.failure_path(result.spec) if failed else self.path(result.spec)
        write_whole(path, result.model_dump_json() + "\n")
        if not failed:
            self.failure_path(result.spec).unlink(missing_ok=True)

    def finished(self) -> set[str]:
        """Name the runs that finished, by their ids; no file is opened."""
        return _ids(self.folder / "runs")

    def failed_at(self, spec: RunSpec) -> int | None:
        """Return when a run failed, in nanoseconds, None if it did not.

        :param spec: the run
        """
        try:
            return self.failure_path(spec).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def failed(self) -> set[str]:
        """Name the runs that failed and have not finished since, by their ids."""
        return _ids(self.folder / "failed") - self.finished()

    def read(self, specs: Iterable[RunSpec]) -> list[RunResult]:
        """Read the results there are, in the order of the runs.

        :param specs: the runs
        """
        finished, failed = self.finished(), self.failed()
        return [
            _read(self.path(spec) if spec.id in finished else self.failure_path(spec))
            for spec in specs
            if spec.id in finished | failed
        ]

    def older_than(self, page: Path) -> bool:
        """Say whether a page was written after the last result.

        :param page: such as a report
        """
        folders = [f for f in (self.folder / "runs", self.folder / "failed") if f.is_dir()]
        changed = max((f.stat().st_mtime_ns for f in folders), default=0)
        return page.exists() and page.stat().st_mtime_ns > changed

    def failures(self, specs: Iterable[RunSpec]) -> list[RunResult]:
        """Read the failed runs, in the order of the runs.

        :param specs: the runs
        """
        failed = self.failed()
        return [_read(self.failure_path(spec)) for spec in specs if spec.id in failed]


def _ids(folder: Path) -> set[str]:
    names = os.listdir(folder) if folder.is_dir() else []
    return {n.removesuffix(".json") for n in names if n.endswith(".json") and n[0] != "."}


def _read(path: Path) -> RunResult:
    try:
        return RunResult.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise UserError(
            f"{path} is no result of this program ({error.error_count()} mistakes); "
            "delete it, and the run is done again"
        ) from error
