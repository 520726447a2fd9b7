"""The video that is added to a tracked run."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course.common.evaluation import evaluate, evaluation_seed
from sb3_course.common.video import film, filmed_env
from sb3_course.envs.config import EnvConfig


def episode_film(env: EnvConfig, seed: int) -> Callable[[BaseAlgorithm, Path], None]:
    """Return a function that records the first evaluation episode of a model's policy.

    :param env: Environment, with its settings
    :param seed: Seed of the run
    :return: Function of a model and a video file to write
    """

    def record(model: BaseAlgorithm, path: Path) -> None:
        with film(path) as video:
            envs = env.stack(DummyVecEnv([partial(filmed_env, env, video)]))
            try:
                evaluate(model, envs, evaluation_seed(seed))
            finally:
                envs.close()

    return record
