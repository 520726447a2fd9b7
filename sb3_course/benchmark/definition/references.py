"""Reference returns that a grid declares for its own tasks."""

from pydantic import FiniteFloat, model_validator

from sb3_course.benchmark.definition.sections import Section


class DeclaredReference(Section):
    """Returns that have the scores 0 and 1; without ``random`` it is measured."""

    random: FiniteFloat | None = None
    expert: FiniteFloat
    expert_name: str = "declared in the grid"

    @model_validator(mode="after")
    def _a_scale(self) -> "DeclaredReference":
        if self.random is not None and self.expert <= self.random:
            raise ValueError(
                f"expert {self.expert:g} and random {self.random:g}; allowed: an expert's return "
                "above that of random actions"
            )
        return self
