"""The grid file: which algorithms run on which environments, with which seeds and settings."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from sb3_course.benchmark.errors import UserError, unknown


class GridError(UserError):
    """A grid that cannot be run; one line a mistake: file, key, what was given, what may be."""


def _bool_or_settings(value: Any) -> Any:
    if not isinstance(value, bool | dict):
        raise ValueError("allowed: true, false, or settings of SB3's VecNormalize")
    return value


Parameters = dict[str, JsonValue]
Normalize = Annotated[Any, AfterValidator(_bool_or_settings)]


class Section(BaseModel):
    """A section of the file; it refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        names = {field.alias or name for name, field in cls.model_fields.items()}
        for key in data if isinstance(data, Mapping) else ():
            if key not in names | cls.model_fields.keys():
                raise ValueError(unknown("key", key, names))
        return data


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
    backend: Literal["auto", "envpool", "dummy", "subproc"] = "auto"
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
    backend: Literal["auto", "envpool", "dummy", "subproc"]
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
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        names = (re.sub(r"[^a-z0-9.]+", "-", s.lower()).strip("-") for s in self.names)
        return "_".join([*names, f"seed{self.seed}", digest])

    @property
    def names(self) -> tuple[str, str]:
        """The names of the algorithm and of the environment."""
        return self.algorithm, self.environment

    @property
    def label(self) -> str:
        """The run in words."""
        return f"{self.algorithm} · {self.environment} · seed {self.seed}"


class Grid(Section):
    """A whole experiment: every algorithm on every environment with every seed."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seeds: list[NonNegativeInt] = Field(min_length=1)
    environments: dict[str, Environment] = Field(min_length=1)
    algorithms: dict[str, Algorithm] = Field(min_length=1)
    evaluation: Evaluation = Evaluation(n_points=10)
    time_limit: PositiveFloat = 24.0
    """Hours after which a run is stopped and recorded as failed."""
    memory_limit: PositiveFloat | None = None
    """Memory of a run in GiB; by default its share of the machine's."""

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: Any) -> Any:
        return list(range(value)) if isinstance(value, int) else value

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError("a seed is listed twice; allowed: distinct seeds, or their number")
        return value

    @model_validator(mode="after")
    def _overrides_of_known_environments(self) -> "Grid":
        for name, algorithm in self.algorithms.items():
            for environment in algorithm.environments:
                if environment not in self.environments:
                    problem = unknown("environment", environment, self.environments)
                    raise ValueError(f"algorithms.{name}.environments: {problem}")
        return self

    def runs(self) -> list[RunSpec]:
        """List the runs, in the order of the file."""
        return [
            RunSpec(
                algorithm=algorithm,
                environment=environment,
                seed=seed,
                config=self.config(algorithm, environment),
            )
            for environment in self.environments
            for algorithm in self.algorithms
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


class _Loader(yaml.SafeLoader):
    """Plain YAML which also reads ``1e-3`` as a number and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                line = node.start_mark.line + 1
                raise yaml.YAMLError(f"key {key!r} is given twice in the section of line {line}")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+([eE][-+]?[0-9]+)$"), list("-+0123456789")
)


def read_yaml(text: str) -> Any:
    """Read a value written as in a grid file.

    :param text: YAML, such as ``1e-3``, ``[64, 64]`` or a whole document
    """
    return yaml.load(text, Loader=_Loader)  # a subclass of the safe loader


def load_grid(path: Path) -> Grid:
    """Read a grid file and check its form; :func:`check_grid` checks its names.

    :param path: the YAML file
    :raises GridError: naming each mistake
    """
    try:
        data = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GridError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise GridError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    try:
        return Grid.model_validate(data)
    except ValidationError as error:
        raise GridError("\n".join(f"{path}: {line}" for line in _lines(error))) from error


def _lines(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        given = "" if isinstance(item["input"], Mapping) else f" given {item['input']!r};"
        yield f"{key or 'grid'}:{given} {message}"


def check_grid(grid: Grid, path: Path) -> None:
    """Check every name in a grid against what is installed, before hours are spent.

    :param grid: the grid
    :param path: its file, for messages
    :raises GridError: naming each mistake
    """
    problems = [*_environment_problems(grid), *_algorithm_problems(grid)]
    if problems:
        raise GridError("\n".join(f"{path}: {problem}" for problem in problems))


def _environment_problems(grid: Grid) -> Iterator[str]:
    for name, environment in grid.environments.items():
        try:
            check_environment(name)
            _check_normalize(environment.normalize)
        except UserError as error:
            yield f"environments.{name}: {error}"


def _algorithm_problems(grid: Grid) -> Iterator[str]:
    from sb3_course.benchmark.algorithms import constructor_arguments

    for name, algorithm in grid.algorithms.items():
        parts = {"": algorithm.params}
        parts |= {f".environments.{key}": o.params for key, o in algorithm.environments.items()}
        for key, params in parts.items():
            try:
                constructor_arguments(algorithm.class_, params)
            except UserError as error:
                yield f"algorithms.{name}{key}: {error}"
                break


def check_environment(name: str) -> None:
    """Check that Gymnasium knows an environment.

    :param name: its name, or ``module:name``
    :raises UserError: if not
    """
    import gymnasium

    module, _, plain = name.rpartition(":")
    try:
        if module:
            __import__(module)
        gymnasium.spec(plain)
    except (gymnasium.error.Error, ImportError) as error:
        raise UserError(unknown("environment", name, gymnasium.registry)) from error


def _check_normalize(normalize: Any) -> None:
    import inspect

    from stable_baselines3.common.vec_env import VecNormalize

    allowed = set(inspect.signature(VecNormalize).parameters) - {"venv"}
    for key in normalize if isinstance(normalize, dict) else ():
        if key not in allowed:
            raise UserError("normalize: " + unknown("setting of VecNormalize", key, allowed))
