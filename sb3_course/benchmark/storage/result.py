"""The result of a run, and its text. This module imports neither torch nor SB3.

The text is one line of JSON that ends with a digest of the rest. Texts of earlier versions have no
digest and are read as they are.
"""

import hashlib
import itertools
import json
from collections.abc import Sized
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.common.errors import UserError

TRACEBACK = "Traceback (most recent call last):"
Count = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class Measurement:
    """One evaluation of a policy.

    :param step: Declared environment step of the evaluation
    :param num_timesteps: Environment steps that had been taken when it was made
    :param wall_time: Seconds of training until then, without the time spent on evaluation
    :param returns: Undiscounted raw return of each episode; a stored one that is not finite is
        refused
    :param lengths: Number of steps in each episode
    :param metrics: Further numbers of each episode by name; left out of the text if there are none
    """

    step: Count
    num_timesteps: Count
    wall_time: FiniteFloat
    returns: list[FiniteFloat]
    lengths: list[Count]
    metrics: dict[str, list[FiniteFloat]] = field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _without_no_metrics(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        return {key: value for key, value in data.items() if value or key != "metrics"}


class RunResult(BaseModel):
    """Result of a run.

    :param spec: Run
    :param measurements: Evaluations of the run; empty for a failed one
    :param seconds: Duration in seconds, evaluation included
    :param failure: Traceback of a failed run, or the output of its process, whose last line is the
        reason
    :param made_with: Code, versions and processor that it ran with
    """

    # Unknown keys are refused, so that a damaged name of the digest is no absent digest. Settings
    # may be infinite, such as VecNormalize's clip_obs.
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    spec: RunSpec
    measurements: list[Measurement] = []
    seconds: FiniteFloat = 0.0
    failure: str | None = None
    made_with: dict[str, str | None] | None = None

    @property
    def reason(self) -> str:
        """Reason of the failure, in one line; empty for a finished run."""
        text = (self.failure or "").strip()
        if text.startswith(TRACEBACK):  # its error may take several lines
            lines = text.rpartition(TRACEBACK)[2].splitlines()
            error = itertools.dropwhile(lambda line: not line or line.startswith(" "), lines)
            return " ".join(" ".join(error).split())[:500]
        return text.rpartition("\n")[2].strip()[:500]


class NewerError(UserError):
    """A stored result is as it was written, but by a release that stores more."""


def text_of(result: RunResult) -> str:
    """Return the text of a result, with its digest.

    :param result: Result of a finished or a failed run
    :return: One line of JSON, with its line break
    """
    text = result.model_dump_json()
    return f'{text[:-1]},"digest":"{_digest(_canonical(json.loads(text)))}"}}\n'


def parsed(text: str) -> RunResult:
    """Read the text of a result.

    :param text: JSON of one result
    :return: The result
    :raises ValueError: It is the text of no result, or not as it was written; says why in one line
    :raises NewerError: Another release wrote it, which this one must not replace
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("it is no mapping")
        digest = content.pop("digest", None)
        canonical = _canonical(content)
        if digest is not None and digest != _digest(canonical):
            raise ValueError("it is not what its digest was computed from")
        return RunResult.model_validate_json(canonical, strict=True)
    except ValidationError as error:
        if {mistake["type"] for mistake in error.errors()} == {"extra_forbidden"} and digest:
            more = ", ".join(str(mistake["loc"][-1]) for mistake in error.errors())
            raise NewerError(f"it was written by a newer sb3-course (it has {more})") from error
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        rest = f", and {error.error_count() - 1} more" if error.error_count() > 1 else ""
        raise ValueError(f"{place}: {first['msg']}{rest}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def problem_of(result: RunResult, spec: RunSpec) -> str | None:
    """Return what is wrong with the result of a finished run, as a result of this very run.

    :param result: Result that is stored under the name of a run
    :param spec: The run
    :return: Problem in words, None if there is none
    """
    if result.spec.id != spec.id:  # a NaN among the settings is not equal to itself
        return f"it is the result of another run: {result.spec.label}"
    if result.failure is not None:
        return "it is the result of a failed run"
    due, episodes = spec.config.evaluation_steps, spec.config.evaluation_episodes
    if [m.step for m in result.measurements] != due:
        return f"it has {len(result.measurements)} evaluations that are not the {len(due)} due"
    for m in result.measurements:
        asked = {name: m.metrics.get(name, []) for name in spec.config.metrics}
        measured: dict[str, Sized] = {
            "returns": m.returns,
            "lengths": m.lengths,
            **m.metrics,
            **asked,
        }
        for what, values in measured.items():
            if len(values) != episodes:
                return f"at step {m.step} it has {len(values)} {what} of {episodes} episodes"
    return None


def _canonical(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True)


def _digest(canonical: str) -> str:
    return hashlib.sha256(canonical.encode()).hexdigest()
