"""Schema of the grid file: algorithms, environments, seeds and settings of a benchmark.

.. code-block:: yaml

    name: mine                       # results are written to results/mine
    include: tuned.yaml              # a file or a list of files, merged with this one at any depth
    seeds: 5                         # the number of seeds, or a list of seeds
    evaluation: { n_points: 20, episodes: 10 } # or every: 50_000 instead of n_points

    environments:
      HalfCheetah-v4:                # a Gymnasium id, module:id, or any name if there is an id
        total_timesteps: 1_000_000
        n_envs: 16                   # 1
        backend: auto                # auto, envpool, gymnasium, dummy or subproc
        normalize: true              # false, true, or arguments of SB3's VecNormalize
        evaluation: { every: 100_000 } # replaces the one above for this environment
      Ant with contacts:
        total_timesteps: 1_000_000
        id: Ant-v4                   # by default the name above
        kwargs: { use_contact_forces: true } # arguments of the environment
        wrappers:                    # the innermost first: module:Class, with arguments or without
          - gymnasium.wrappers:RescaleAction: { min_action: -1, max_action: 1 }
          - my_module:MyWrapper
        frame_stack: 4               # the last observations, stacked by SB3's VecFrameStack
        time_limit: 500              # steps of an episode, in place of the registered limit
        evaluation: { n_points: 20, metrics: [x_position] } # keys of each episode's last info

    algorithms:
      NPG, small steps:              # any name
        class: NPG                   # of this package, SB3 or sb3-contrib, or module:Class
        params:                      # named as in the constructor
          learning_rate: lin_3e-4    # decreases linearly to 0
          policy_kwargs: { net_arch: [64, 64], activation_fn: Tanh, optimizer_class: AdamW }
        environments:                # overrides for one environment
          HalfCheetah-v4: { n_envs: 32, normalize: false, params: { target_kl: 0.05 } }
      A2C: { class: A2C, seeds: 10 } # by default those of the grid

    references:                      # returns of the scores 0 and 1, for tasks without shipped ones
      HalfCheetah-v4: { random: -284, expert: 4800 } # or expert alone: `sb3-course references`

    search:                          # what `sb3-course tune` tries for better settings: below
      algorithms: { 'NPG, small steps': { target_kl: { low: 0.003, high: 0.1, log: true } } }

    questions:                       # pairs of algorithms that the report compares in words
      Is the natural gradient better than A2C?: ['NPG, small steps', A2C]

    time_limit: 24                   # hours after which a run is stopped and counts as failed
    memory_limit: 4                  # GiB per run; by default an equal share of the memory
    checkpoint_every: 100_000        # steps; a killed run goes on from there, by default anew
    track: [wandb]                   # trackers: tensorboard, wandb, mlflow, trackio

An environment with settings is evaluated with the very same ones. Its returns are those below the
wrappers, as in RL Zoo: a wrapper that changes rewards changes what is learned from, not what is
measured. Besides the declared metrics, ``is_success`` is measured wherever every episode has it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from sb3_course.benchmark.definition.field_types import (
    MAX_EVALUATIONS,
    MAX_RUNS,
    Name,
    Normalize,
    Pair,
    Question,
    Real,
    Seeds,
    Steps,
    Trackers,
    check_label,
)
from sb3_course.benchmark.definition.references import DeclaredReference
from sb3_course.benchmark.definition.search import Search
from sb3_course.benchmark.definition.sections import (
    Algorithm,
    Environment,
    Evaluation,
    Override,
    Parameters,
    Section,
)
from sb3_course.benchmark.definition.yaml_source import GridSource, Mistake, Source, shown
from sb3_course.common.errors import unknown
from sb3_course.envs.backends import Backend
from sb3_course.envs.config import EnvConfig


class RunConfig(Section):
    """Everything that the returns of a run depend on, besides its seed."""

    algorithm_class: str
    params: Parameters
    total_timesteps: int
    n_envs: int
    backend: Backend
    normalize: Normalize
    evaluation_steps: list[int]
    evaluation_episodes: int
    env_settings: Parameters = Field(default_factory=dict)
    """What :class:`EnvConfig` says of its environment beside the name, as plain data."""
    metrics: list[str] = Field(default_factory=list)
    stop_at: int | None = None
    """Environment steps after which it ends, with the schedules of ``total_timesteps``."""
    later = frozenset({"env_settings", "metrics", "stop_at"})


class RunSpec(Section):
    """One run: an algorithm on an environment with a seed."""

    algorithm: str
    environment: str
    seed: int
    config: RunConfig

    @property
    def id(self) -> str:
        """Readable name of the run, with a hash that changes with any of its settings."""
        return id_of(self.model_dump(mode="json"))

    @property
    def env(self) -> EnvConfig:
        """How the environment is built."""
        return EnvConfig.from_data(self.environment, self.config.env_settings)

    @property
    def names(self) -> tuple[str, str]:
        """Names of the algorithm and of the environment."""
        return self.algorithm, self.environment

    @property
    def label(self) -> str:
        """Name of the run in tables and messages."""
        return f"{self.algorithm} · {self.environment} · seed {self.seed}"


def id_of(spec: Mapping[str, Any]) -> str:
    """Compute the id of a run from its data alone, a hundred times faster than by validation.

    :param spec: JSON data of a :class:`RunSpec`
    :return: :attr:`RunSpec.id`
    """
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]
    names = (
        re.sub(r"[^a-z0-9.]+", "-", spec[key].lower()).strip("-").lstrip(".-")  # never hidden
        for key in ("algorithm", "environment")
    )
    return "_".join([*names, f"seed{spec['seed']}", digest])


class Grid(Section):
    """Complete benchmark: every algorithm on every environment with every seed."""

    name: Annotated[Name, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seeds: Seeds
    environments: dict[Name, Environment] = Field(min_length=1)
    algorithms: dict[str, Algorithm] = Field(min_length=1)
    evaluation: Evaluation = Evaluation(n_points=10)
    questions: dict[Question, Pair] = Field(default_factory=dict)
    """Questions that the report answers, each by comparing two of the algorithms."""
    references: dict[str, DeclaredReference] = Field(default_factory=dict)
    """Returns that define the scores of environments, by their names in the grid."""
    search: Search | None = None
    """What is tried to find better settings."""
    time_limit: Real = Field(default=24.0, gt=0, le=100_000)
    """Hours after which a run is stopped and recorded as failed."""
    memory_limit: Real | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Memory of a run in GiB; None for an equal share of the machine's memory."""
    checkpoint_every: Steps | None = None
    """Environment steps after which a run keeps what it needs to go on if it is killed."""
    track: Trackers = Field(default_factory=list)
    """Trackers that its runs are sent to, which change no run."""
    later = frozenset({"references", "track", "search"})

    @field_validator("algorithms")
    @classmethod
    def _printable_names(cls, value: dict[str, Algorithm]) -> dict[str, Algorithm]:
        return {check_label(name): algorithm for name, algorithm in value.items()}

    @field_validator("references")
    @classmethod
    def _references_of_environments(
        cls, value: dict[str, DeclaredReference], info: ValidationInfo
    ) -> dict[str, DeclaredReference]:
        allowed = info.data.get("environments", value)  # missing if they have mistakes
        for name in value:
            if name not in allowed:
                raise ValueError(unknown("environment", name, allowed))
        return value

    @field_validator("search")
    @classmethod
    def _search_among_algorithms(cls, value: Search | None, info: ValidationInfo) -> Search | None:
        algorithms, seeds = info.data.get("algorithms"), info.data.get("seeds")
        if value is None or algorithms is None or seeds is None:  # which have mistakes
            return value
        for name in value.algorithms:
            if name not in algorithms:
                raise ValueError(unknown("algorithm", name, algorithms))
        value.check_seeds({*seeds, *(s for a in algorithms.values() for s in a.seeds or ())})
        return value

    @model_validator(mode="after")
    def _of_a_size_that_can_be_run(self) -> "Grid":
        n_each = sum(len(self.seeds_of(name)) for name in self.algorithms)
        n_evaluations = 0
        for environment in self.environments.values():
            plan = environment.evaluation or self.evaluation
            times = plan.n_points or environment.total_timesteps // (plan.every or 1)
            n_evaluations += n_each * times
        for given, allowed, what in (
            (n_each * len(self.environments), MAX_RUNS, "runs"),
            (n_evaluations, MAX_EVALUATIONS, "evaluations in all runs"),
        ):
            if given > allowed:
                raise ValueError(f"{given:,} {what}; allowed: up to {allowed:,}")
        return self

    def runs(self) -> list[RunSpec]:
        """Return all runs, in the order of the file."""
        return [
            RunSpec(algorithm=algorithm, environment=environment, seed=seed, config=config)
            for environment in self.environments
            for algorithm in self.algorithms
            for config in [self.config(algorithm, environment)]
            for seed in self.seeds_of(algorithm)
        ]

    def seeds_of(self, algorithm: str) -> list[int]:
        """Return the seeds of an algorithm.

        :param algorithm: Name of the algorithm in the grid
        :return: Its own seeds, or else those of the grid
        """
        own = self.algorithms[algorithm].seeds
        return self.seeds if own is None else own

    def config(self, algorithm: str, environment: str) -> RunConfig:
        """Merge the settings of an algorithm on an environment.

        :param algorithm: Name of the algorithm in the grid
        :param environment: Name of the environment in the grid
        :return: Settings, in which those for this one environment take precedence
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
            env_settings=base.config(environment).data(environment),
            metrics=evaluation.metrics,
        )


def load_grid(grid: GridSource) -> Grid:
    """Read a grid and check its schema; :func:`.checked_grid` checks the names in it, too.

    :param grid: Grid file, or its content as a mapping
    :return: Validated grid
    :raises GridError: If the grid has mistakes; the message lists all of them
    """
    source = Source(grid)
    parsed = parse(source.data)
    if not isinstance(parsed, Grid):
        raise source.error(parsed)
    return parsed


def parse(data: Mapping[Any, Any]) -> Grid | list[Mistake]:
    """Check a grid against the schema.

    :param data: Keys and values of the grid
    :return: Validated grid, or all mistakes in it
    """
    try:
        return Grid.model_validate(data)
    except ValidationError as error:
        return [_mistake(item) for item in error.errors()]


def _mistake(item: ErrorDetails) -> Mistake:
    key = tuple(part for part in item["loc"] if part != "[key]")
    if item["type"] == "missing":
        return Mistake(key, "is missing")
    given = "" if isinstance(item["input"], Mapping) else f"given {shown(item['input'])}; "
    if item["type"] == "extra_forbidden":
        given = ""  # the mistake is the key, which the message names
    return Mistake(key, given + item["msg"])
