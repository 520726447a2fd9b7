"""Add this package's algorithms to RL Zoo, with their hyper-parameters and search spaces."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.common.base_class import CourseAlgorithm
from sb3_course.common.checkpoint import CheckpointPath
from sb3_course.common.errors import UserError, in_words
from sb3_course.common.yaml_values import described
from sb3_course.envs.make import normalization_of
from sb3_course.registry import default_policy, find_algorithm, with_schedules
from sb3_course.zoo.samplers import ALTERNATIVES, SAMPLERS, converted

NAMES = {
    "reinforce": "REINFORCE",
    "ispg": "ISPG",
    "npg": "NPG",
    "batch_actor_critic": "BatchActorCritic",
    "online_actor_critic": "OnlineActorCritic",
}
"""Classes by their names in RL Zoo, its options, log folders and files."""


class ZooAlgorithm:
    """One algorithm as RL Zoo makes and loads it.

    RL Zoo reads ``lin_0.05`` as a schedule in the names that its own algorithms have; here it is
    one in every parameter, as in a grid.

    :param name: Name of a class of this package
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.__name__ = name

    @property
    def algorithm(self) -> type[CourseAlgorithm]:
        """The class, which is imported on first use."""
        found: type[CourseAlgorithm] = getattr(import_module("sb3_course"), self.name)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> BaseAlgorithm:
        r"""Make a model.

        :param \*args: Arguments of the constructor
        :param \**kwargs: Arguments of the constructor by name
        :return: Model
        :raises UserError: If the constructor refuses them
        """
        arguments = _schedules(kwargs)
        try:
            return self.algorithm(*args, **arguments)
        except Exception as error:
            raise UserError(f"{self.name} refuses it: {in_words(error)}") from error

    def load(self, path: CheckpointPath, env: GymEnv | None = None, **kwargs: Any) -> BaseAlgorithm:
        r"""Load a model, whose environments RL Zoo normalizes itself.

        RL Zoo keeps the statistics in ``vecnormalize.pkl``, so nothing warns that a model without
        an environment gets observations as they are.

        :param path: File that RL Zoo saved
        :param env: Environment to continue with, with RL Zoo's own normalization
        :param \**kwargs: Further arguments of the class's ``load``
        :return: Model
        :raises UserError: If it is no file of the class, or does not fit the arguments
        """
        arguments = _schedules(kwargs)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* was trained on normalized observations")
            try:
                return self.algorithm.load(path, env, **arguments)
            except Exception as error:
                raise UserError(f"{self.name} cannot load {path}: {in_words(error)}") from error


def _schedules(arguments: dict[str, Any]) -> dict[str, Any]:
    """Make schedules of SB3 of texts, and of RL Zoo's own, which a file could not be read without.

    :param arguments: Arguments as RL Zoo passes them
    :return: Arguments of a constructor, or of ``load``
    """
    theirs = import_module("rl_zoo3.utils").SimpleLinearSchedule
    return with_schedules(
        {
            name: f"lin_{value.initial_value!r}" if isinstance(value, theirs) else value
            for name, value in arguments.items()
        }
    )


def hyperparams(name: str) -> Path:
    """Return the file of tuned hyper-parameters of an algorithm, in RL Zoo's format.

    :param name: Name in RL Zoo, such as ``"npg"``
    :return: Path of the file in this package
    """
    return Path(__file__).parent / "hyperparams" / f"{name}.yml"


def register() -> None:
    """Add the algorithms to RL Zoo, in this process.

    Its ``--conf-file`` is by default our file for our algorithms, and its own for the others.

    :raises ModuleNotFoundError: If RL Zoo is not installed
    """
    zoo = import_module("rl_zoo3")
    search = import_module("rl_zoo3.hyperparams_opt")
    for name, algorithm in NAMES.items():
        zoo.ALGOS[name] = ZooAlgorithm(algorithm)
        search.HYPERPARAMS_SAMPLER[name] = SAMPLERS[name]
        search.HYPERPARAMS_CONVERTER[name] = converted
    training: Any = import_module("rl_zoo3.train")
    if not hasattr(training.ExperimentManager, "of_sb3_course"):
        training.ExperimentManager = _manager(training.ExperimentManager)


@contextmanager
def _explained(config: str) -> Iterator[None]:
    """Tell in a line what is wrong with a file of hyper-parameters."""
    try:
        yield
    except OSError as error:
        raise UserError(f"--conf-file: {config}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UserError(f"--conf-file: {config}, {described(error)}") from error


def _manager(base: Any) -> Any:
    """Return RL Zoo's manager of a training, which finds our files of hyper-parameters."""

    class ExperimentManager(base):  # type: ignore[misc]  # RL Zoo has no types
        of_sb3_course = True
        normalize_kwargs: dict[str, Any]
        optimize_hyperparameters: bool
        trial_id: int | None
        storage: str | None
        study_name: str | None
        custom_hyperparams: dict[str, Any] | None

        def __init__(
            self, args: Any, algo: str, *rest: Any, config: str | None = None, **kwargs: Any
        ) -> None:
            if config is None and algo in NAMES:
                config = str(hyperparams(algo))
            super().__init__(args, algo, *rest, config=config, **kwargs)

        def read_hyperparameters(self) -> Any:
            with _explained(self.config):
                given, saved = super().read_hyperparameters()
            loads_trial = self.storage and self.study_name and self.trial_id
            alternative = ALTERNATIVES.get(self.algo)
            chosen = loads_trial and alternative in (self.custom_hyperparams or {})
            if self.optimize_hyperparameters or (loads_trial and not chosen):
                for arguments in (given, saved):
                    arguments.pop(alternative, None)
            return given, saved

        def _maybe_normalize(self, env: VecEnv, eval_env: bool) -> Any:
            if self.normalize and self.algo in NAMES:
                suitable = normalization_of(env.observation_space)
                self.normalize_kwargs = {**suitable, **self.normalize_kwargs}
            return super()._maybe_normalize(env, eval_env)

        def _preprocess_action_noise(
            self, hyperparams: dict[str, Any], saved: dict[str, Any], env: VecEnv
        ) -> Any:
            if self.algo in NAMES:
                of_class = default_policy(find_algorithm(NAMES[self.algo]), env.observation_space)
                hyperparams.setdefault("policy", of_class)
            return super()._preprocess_action_noise(hyperparams, saved, env)

    return ExperimentManager
