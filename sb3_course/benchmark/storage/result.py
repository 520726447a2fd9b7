"""The result of a run. This module imports neither torch nor SB3."""

from dataclasses import dataclass

from pydantic import BaseModel, FiniteFloat

from sb3_course.benchmark.definition.grid import RunSpec


@dataclass(frozen=True)
class Measurement:
    """One evaluation of a policy.

    :param step: Declared environment step of the evaluation
    :param num_timesteps: Environment steps that had been taken when it was made
    :param wall_time: Seconds of training until then, without the time spent on evaluation
    :param returns: Undiscounted raw return of each episode; a stored one that is not finite is
        refused
    :param lengths: Number of steps in each episode
    """

    step: int
    num_timesteps: int
    wall_time: FiniteFloat
    returns: list[FiniteFloat]
    lengths: list[int]


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
