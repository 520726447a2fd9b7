"""Base of the sections of a grid file, whose mistakes are told in plain words."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from sb3_course.common.errors import unknown

Self = TypeVar("Self", bound="Section")


class Section(BaseModel):
    """Section of the grid file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

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
        if item["type"] == "extra_forbidden" and len(key) == 1:
            names = {field.alias or name for name, field in cls.model_fields.items()}
            message = unknown("key", key[0], names)
        error = PydanticCustomError(item["type"], "{message}", {"message": message})
        return InitErrorDetails(type=error, loc=key, input=item["input"])
