"""Returns of random actions that were measured for a grid, in ``results/GRID/references.json``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    TypeAdapter,
)

from sb3_course.common.files import read_kept, write_whole
from sb3_course.envs.config import EnvConfig

NAME = "references.json"


class MeasuredReference(BaseModel):
    """Mean undiscounted return of uniformly random actions.

    :param random: Mean over episodes
    :param low: Lower bound of its 95% bootstrap interval
    :param high: Upper bound
    :param episodes: Number of episodes
    :param seed: Seed of the first episode, from which the others count up
    :param threshold: Gymnasium's reward threshold, None if the task has none
    :param env: Environment that was measured, as :func:`described`
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    random: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    episodes: int = Field(ge=1)
    seed: int = Field(ge=0)
    threshold: FiniteFloat | None = None
    env: Mapping[str, JsonValue]


def described(env: EnvConfig) -> dict[str, Any]:
    """Return an environment as plain data, to tell whether a measurement is one of it.

    :param env: Environment
    :return: Its id and settings
    """
    data: dict[str, Any] = json.loads(json.dumps(env.data(""), default=repr))
    return data


_File = TypeAdapter(dict[str, MeasuredReference])


def read_references(folder: Path) -> dict[str, MeasuredReference]:
    """Read what was measured.

    :param folder: Folder of the results, ``results/GRID``
    :return: References by environment; none if nothing was measured
    :raises UserError: The file is damaged; says what to do
    """
    remedy = "measure again with `sb3-course references`"
    return read_kept(folder / NAME, _File.validate_json, remedy) or {}


def write_references(folder: Path, references: Mapping[str, MeasuredReference]) -> None:
    """Write what was measured.

    :param folder: Folder of the results, ``results/GRID``
    :param references: References by environment
    """
    text = _File.dump_json(dict(sorted(references.items())), indent=1).decode()
    write_whole(folder / NAME, text + "\n")
