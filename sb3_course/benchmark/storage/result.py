"""What came of a run. This module imports neither torch nor SB3."""

from pydantic import BaseModel

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.common.evaluation import Measurement


class RunResult(BaseModel):
    """What came of a run.

    :param spec: the run
    :param measurements: its evaluations; of a failed run, none
    :param seconds: how long it took, evaluation included
    :param failure: of a failed run, its traceback or what its process left; the last line is the
        reason
    :param made_with: code, versions and processor that it ran with
    """

    spec: RunSpec
    measurements: list[Measurement] = []
    seconds: float = 0.0
    failure: str | None = None
    made_with: dict[str, str | None] | None = None

    @property
    def reason(self) -> str:
        """Why it failed, in a line; empty if it did not."""
        return (self.failure or "").strip().rpartition("\n")[2].strip()[:500]
