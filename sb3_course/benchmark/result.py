"""What came of a run. This module imports neither torch nor SB3."""

from dataclasses import dataclass

from pydantic import BaseModel

from sb3_course.benchmark.grid import RunSpec


@dataclass(frozen=True)
class Measurement:
    """One evaluation of a policy.

    :param step: the declared environment step of this evaluation
    :param num_timesteps: the environment steps that had been taken when it was made
    :param wall_time: seconds of training until then, without those spent on evaluation
    :param returns: undiscounted raw return of each episode
    :param lengths: steps of each episode
    """

    step: int
    num_timesteps: int
    wall_time: float
    returns: list[float]
    lengths: list[int]


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
