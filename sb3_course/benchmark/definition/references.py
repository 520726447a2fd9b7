"""Reference returns that a grid declares for its own tasks."""

from typing import Annotated

from pydantic import Field, model_validator

from sb3_course.benchmark.definition.field_types import Real
from sb3_course.benchmark.definition.sections import Section

Finite = Annotated[Real, Field(allow_inf_nan=False)]


class DeclaredReference(Section):
    """Returns that have the scores 0 and 1; without ``random`` it is measured."""

    random: Finite | None = None
    expert: Finite
    expert_name: str = "declared in the grid"

    @model_validator(mode="after")
    def _a_scale(self) -> "DeclaredReference":
        if self.random is not None and self.expert <= self.random:
            raise ValueError(
                f"expert {self.expert:g} and random {self.random:g}; allowed: an expert's return "
                "above that of random actions"
            )
        return self
