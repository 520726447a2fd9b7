"""The grid file: which algorithms run on which environments, with which seeds and settings.

.. code-block:: yaml

    name: mine                       # results land in results/mine
    include: tuned.yaml              # a file or a list: their keys below this file's, at any depth
    seeds: 5                         # how many, or a list of them
    evaluation: { n_points: 20, episodes: 10 } # or every: 50_000 instead of n_points

    environments:
      HalfCheetah-v4:                # a Gymnasium name, or module:name
        total_timesteps: 1_000_000
        n_envs: 16                   # 1
        backend: auto                # auto, envpool, dummy or subproc
        normalize: true              # false, true, or VecNormalize's settings
        evaluation: { every: 100_000 } # for this environment

    algorithms:
      NPG, small steps:              # any name
        class: NPG                   # ours, SB3's, sb3-contrib's, or module:Class
        params:                      # the constructor's own names
          learning_rate: lin_3e-4    # falls linearly to 0
          policy_kwargs: { net_arch: [64, 64], activation_fn: Tanh, optimizer_class: AdamW }
        environments:                # what is different on one of them
          HalfCheetah-v4: { n_envs: 32, normalize: false, params: { target_kl: 0.05 } }
      A2C: { class: A2C }

    questions:                       # pairs that the report compares in words
      Is the natural gradient better than A2C?: ['NPG, small steps', A2C]

    time_limit: 24                   # hours after which a run has failed
    memory_limit: 4                  # GiB a run; by default its share of the machine's

An environment with other arguments is another task, with scores of its own: register it with
Gymnasium under a name of its own, in a module of yours, and call it ``module:name``.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from sb3_course.benchmark.definition.yaml_source import GridSource, Mistake, Source
from sb3_course.common.errors import unknown
from sb3_course.envs.backends import Backend


def _bool_or_settings(value: Any) -> Any:
    if not isinstance(value, bool | dict):
        raise ValueError("allowed: true, false, or settings of SB3's VecNormalize")
    return value


def _to_print(question: str) -> str:
    if not (question.strip() and question.isprintable()):
        raise ValueError("allowed: letters that can be printed, in one line")
    return question


def _of_algorithms(pair: tuple[str, str], info: ValidationInfo) -> tuple[str, str]:
    allowed = info.data.get("algorithms", pair)  # lacking where these are wrong themselves
    for name in pair:
        if name not in allowed:
            raise ValueError(unknown("algorithm", name, allowed))
    if pair[0] == pair[1]:
        raise ValueError("allowed: two algorithms")
    return pair


MAX_SEEDS = 100_000
Self = TypeVar("Self", bound="Section")
Parameters = dict[str, JsonValue]
Normalize = Annotated[Any, AfterValidator(_bool_or_settings)]
Question = Annotated[str, AfterValidator(_to_print)]
Pair = Annotated[tuple[str, str], AfterValidator(_of_algorithms)]


class Section(BaseModel):
    """A section of the file; it refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="wrap")
    @classmethod
    def _tell_allowed_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            mistakes = [cls._told(item) for item in error.errors()]
            raise ValidationError.from_exception_data(cls.__name__, mistakes) from error

    @classmethod
    def _told(cls, item: ErrorDetails) -> InitErrorDetails:
        message, key = item["msg"].removeprefix("Value error, "), item["loc"]
        if item["type"] == "extra_forbidden" and len(key) == 1:
            names = {field.alias or name for name, field in cls.model_fields.items()}
            message = unknown("key", key[0], names)
        told = PydanticCustomError(item["type"], "{message}", {"message": message})
        return InitErrorDetails(type=told, loc=key, input=item["input"])


class Evaluation(Section):
    """When and how policies are measured: ``every`` so many steps, or at ``n_points``."""

    every: PositiveInt | None = None
    n_points: PositiveInt | None = None
    episodes: int = Field(default=20, ge=1, le=1000)

    @model_validator(mode="after")
    def _one_of_two(self) -> "Evaluation":
        if (self.every is None) == (self.n_points is None):
            raise ValueError("give exactly one of: every, n_points")
        return self

    def steps(self, total_timesteps: int) -> list[int]:
        """List the environment steps at which a policy is measured, the first and last included.

        :param total_timesteps: length of the run in environment steps
        """
        if self.n_points is not None:
            return [round(i * total_timesteps / self.n_points) for i in range(self.n_points + 1)]
        return [*range(0, total_timesteps, self.every or 1), total_timesteps]


class Environment(Section):
    """One environment, by its Gymnasium name, and how algorithms train on it."""

    total_timesteps: PositiveInt
    n_envs: PositiveInt = 1
    backend: Backend = "auto"
    normalize: Normalize = False
    evaluation: Evaluation | None = None


class Override(Section):
    """What one algorithm does differently on one environment."""

    params: Parameters = {}
    n_envs: PositiveInt | None = None
    normalize: Normalize | None = None


class Algorithm(Section):
    """One algorithm: its class, and hyper-parameters named as in its constructor."""

    class_: str = Field(alias="class")
    params: Parameters = {}
    environments: dict[str, Override] = {}


class RunConfig(Section):
    """Everything that a run's returns depend on besides its seed."""

    algorithm_class: str
    params: Parameters
    total_timesteps: int
    n_envs: int
    backend: Backend
    normalize: Normalize
    evaluation_steps: list[int]
    evaluation_episodes: int


class RunSpec(Section):
    """One run: an algorithm on an environment with a seed."""

    algorithm: str
    environment: str
    seed: int
    config: RunConfig

    @property
    def id(self) -> str:
        """Readable name of the run which changes with anything that it depends on."""
        return id_of(self.model_dump(mode="json"))

    @property
    def names(self) -> tuple[str, str]:
        """The names of the algorithm and of the environment."""
        return self.algorithm, self.environment

    @property
    def label(self) -> str:
        """The run in words."""
        return f"{self.algorithm} · {self.environment} · seed {self.seed}"


def id_of(spec: Mapping[str, Any]) -> str:
    """Compute the id of a run from its data alone, a hundred times faster than by validation.

    :param spec: JSON data of a :class:`RunSpec`
    :return: :attr:`RunSpec.id`
    """
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]
    names = (
        re.sub(r"[^a-z0-9.]+", "-", spec[key].lower()).strip("-")
        for key in ("algorithm", "environment")
    )
    return "_".join([*names, f"seed{spec['seed']}", digest])


class Grid(Section):
    """A whole experiment: every algorithm on every environment with every seed."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(min_length=1)
    environments: dict[str, Environment] = Field(min_length=1)
    algorithms: dict[str, Algorithm] = Field(min_length=1)
    evaluation: Evaluation = Evaluation(n_points=10)
    questions: dict[Question, Pair] = {}
    """What the report answers, each by the comparison of two of the algorithms."""
    time_limit: float = Field(default=24.0, gt=0, le=100_000)
    """Hours after which a run is stopped and recorded as failed."""
    memory_limit: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Memory of a run in GiB; by default its share of the machine's."""

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: Any) -> Any:
        count = isinstance(value, int) and not isinstance(value, bool)
        if not (0 < value <= MAX_SEEDS if count else isinstance(value, list)):
            raise ValueError("allowed: a list of distinct seeds, or how many (from 0 upwards)")
        return list(range(value)) if count else value

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError("a seed is listed twice; allowed: distinct seeds, or how many")
        return value

    @field_validator("algorithms")
    @classmethod
    def _names_to_print(cls, value: dict[str, Algorithm]) -> dict[str, Algorithm]:
        for name in value:
            if not (name.strip() and name.isprintable() and len(name) <= 60):
                raise ValueError(f"the name {name!r}; allowed: 1 to 60 letters that can be printed")
        return value

    def runs(self) -> list[RunSpec]:
        """List the runs, in the order of the file."""
        return [
            RunSpec(algorithm=algorithm, environment=environment, seed=seed, config=config)
            for environment in self.environments
            for algorithm in self.algorithms
            for config in [self.config(algorithm, environment)]
            for seed in self.seeds
        ]

    def config(self, algorithm: str, environment: str) -> RunConfig:
        """Put together what an algorithm does on an environment.

        :param algorithm: its name in the file
        :param environment: its name in the file
        """
        base, method = self.environments[environment], self.algorithms[algorithm]
        override = method.environments.get(environment, Override())
        evaluation = base.evaluation or self.evaluation
        return RunConfig(
            algorithm_class=method.class_,
            params={**method.params, **override.params},
            total_timesteps=base.total_timesteps,
            n_envs=override.n_envs or base.n_envs,
            backend=base.backend,
            normalize=base.normalize if override.normalize is None else override.normalize,
            evaluation_steps=evaluation.steps(base.total_timesteps),
            evaluation_episodes=evaluation.episodes,
        )


def load_grid(grid: GridSource) -> Grid:
    """Read a grid file and check its form; :func:`.checked_grid` checks
    what it names as well.

    :param grid: A YAML file, or the same as a mapping
    :raises GridError: naming each mistake
    """
    source = Source(grid)
    parsed = parse(source.data)
    if not isinstance(parsed, Grid):
        raise source.error(parsed)
    return parsed


def parse(data: Mapping[Any, Any]) -> Grid | list[Mistake]:
    """Check the form of a grid.

    :param data: its keys and values
    :return: the grid, or each mistake in it
    """
    try:
        return Grid.model_validate(data)
    except ValidationError as error:
        return [_mistake(item) for item in error.errors()]


def _mistake(item: ErrorDetails) -> Mistake:
    key = tuple(part for part in item["loc"] if part != "[key]")
    if item["type"] == "missing":
        return Mistake(key, "is missing")
    given = "" if isinstance(item["input"], Mapping) else f"given {item['input']!r}; "
    if item["type"] == "extra_forbidden":
        given = ""  # the message has the key, which is the mistake
    return Mistake(key, given + item["msg"])
