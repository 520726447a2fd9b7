"""The result of a run."""

from pydantic import BaseModel

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.common.evaluation import Measurement


class RunResult(BaseModel):
    """Result of a run.

    :param spec: Run
    :param measurements: Evaluations of the run; empty for a failed one
    :param seconds: Duration in seconds, evaluation included
    :param failure: Traceback of a failed run, or the output of its process; the last line is the
        reason
    :param made_with: Code, versions and processor that it ran with
    """

    spec: RunSpec
    measurements: list[Measurement] = []
    seconds: float = 0.0
    failure: str | None = None
    made_with: dict[str, str | None] | None = None

    @property
    def reason(self) -> str:
        """Reason of the failure, in one line; empty for a finished run."""
        return (self.failure or "").strip().rpartition("\n")[2].strip()[:500]
