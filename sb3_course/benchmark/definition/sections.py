"""Sections of the grid file: when to evaluate, the environments and the algorithms."""

from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from sb3_course.benchmark.definition.field_types import (
    RL_ZOO,
    EnvArguments,
    Envs,
    Metrics,
    Normalize,
    Seeds,
    Steps,
    Whole,
    Wrappers,
)
from sb3_course.common.errors import unknown
from sb3_course.envs.backends import Backend
from sb3_course.envs.config import MOST_FRAMES, MOST_STEPS, EnvConfig

Self = TypeVar("Self", bound="Section")
Parameters = dict[str, JsonValue]


class Section(BaseModel):
    """Section of the grid file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    names_elsewhere: ClassVar[dict[str, str]] = {}
    """Keys by the names that they have in RL Zoo's files."""
    later: ClassVar[frozenset[str]] = frozenset()
    """Keys that were added later. They are left out of the data where they are empty, so that the
    ids of earlier runs, their stored results and their manifests stay the same."""

    @model_serializer(mode="wrap")
    def _without_what_is_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        return {key: value for key, value in data.items() if value or key not in self.later}

    @model_validator(mode="wrap")
    @classmethod
    def _name_allowed_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            mistakes = [cls._in_plain_words(item) for item in error.errors()]
            raise ValidationError.from_exception_data(cls.__name__, mistakes) from error

    @classmethod
    def _in_plain_words(cls, item: ErrorDetails) -> InitErrorDetails:
        message, key = item["msg"].removeprefix("Value error, "), item["loc"]
        context = item.get("ctx", {})
        if item["type"] in _ALLOWED and "message" not in context:  # a section inside has said it
            message = f"allowed: {_ALLOWED[item['type']].format(**context)}"
        if item["type"] == "extra_forbidden" and len(key) == 1:
            names = {field.alias or name for name, field in cls.model_fields.items()}
            message = unknown("key", key[0], names)
            if key[0] in cls.names_elsewhere:
                message += f"; RL Zoo's {key[0]} is {cls.names_elsewhere[str(key[0])]} here"
        error = PydanticCustomError(item["type"], "{message}", {"message": message})
        return InitErrorDetails(type=error, loc=key, input=item["input"])


_ALLOWED = {
    "bool_type": "true or false",
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "keys with their values",
    "model_type": "keys with their values",
    "literal_error": "{expected}",
    "too_short": "at least {min_length}",
    "greater_than": "above {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "below {lt}",
    "less_than_equal": "up to {le}",
}
"""What pydantic's own checks allow, by their type."""


class Evaluation(Section):
    """When and how policies are evaluated: in intervals of ``every`` steps, or ``n_points`` times.

    With ``n_points`` the intervals are equal. Either way, there is an evaluation before training.
    """

    every: Steps | None = None
    n_points: Steps | None = None
    episodes: Whole = Field(default=20, ge=1, le=1000)
    metrics: Metrics = []
    later = frozenset({"metrics"})

    @model_validator(mode="after")
    def _one_of_two(self) -> "Evaluation":
        if (self.every is None) == (self.n_points is None):
            raise ValueError("set exactly one of: every, n_points")
        return self

    def steps(self, total_timesteps: int) -> list[int]:
        """Return the environment steps at which a policy is evaluated, first and last included.

        :param total_timesteps: Length of the run in environment steps
        :return: Environment steps in ascending order, from 0 to ``total_timesteps``
        """
        if self.n_points is not None:
            n_points = min(self.n_points, total_timesteps)  # else steps would be there twice
            return [round(i * total_timesteps / n_points) for i in range(n_points + 1)]
        return [*range(0, total_timesteps, self.every or 1), total_timesteps]


class Environment(Section):
    """Settings of one environment: how algorithms train on it and are evaluated."""

    total_timesteps: Steps
    n_envs: Envs = 1
    backend: Backend = "auto"
    normalize: Normalize = False
    evaluation: Evaluation | None = None
    id: str | None = None
    kwargs: EnvArguments = {}
    wrappers: Wrappers = []
    frame_stack: Annotated[Whole, Field(ge=1, le=MOST_FRAMES)] | None = None
    time_limit: Annotated[Whole, Field(ge=1, le=MOST_STEPS)] | None = None
    names_elsewhere = RL_ZOO
    later = frozenset({"id", "kwargs", "wrappers", "frame_stack", "time_limit"})

    def config(self, name: str) -> EnvConfig:
        """Return how the environment is built.

        :param name: Name of the environment in the grid, which is its id if no other is given
        :return: Description of the environment
        """
        wrappers: Any = tuple(self.wrappers)
        return EnvConfig(self.id or name, self.kwargs, wrappers, self.frame_stack, self.time_limit)


class Override(Section):
    """Settings of one algorithm that differ on one environment."""

    params: Parameters = {}
    n_envs: Envs | None = None
    normalize: Normalize | None = None


class Algorithm(Section):
    """One algorithm: its class, and its hyper-parameters, named as in its constructor."""

    class_: str = Field(alias="class")
    params: Parameters = {}
    environments: dict[str, Override] = {}
    seeds: Seeds | None = None
    """Seeds of this algorithm; by default those of the grid."""
    later = frozenset({"seeds"})
