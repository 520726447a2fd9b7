"""Runs of behavioral cloning and DAgger that are stored as they end, of the homework or a study."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.env_util import make_vec_env

from sb3_course.benchmark.storage.provenance import of_a_run
from sb3_course.benchmark.storage.run_files import RunFiles
from sb3_course.common.evaluation import evaluation_envs
from sb3_course.imitation import DAgger, demonstrate
from sb3_course.imitation.experts import Expert

EXPERT_SEED = 7_000_000


class Teacher(NamedTuple):
    """An expert and what it has demonstrated.

    :param expert: Expert
    :param demonstrations: Its demonstrations
    :param mean_return: Mean return of the expert
    """

    expert: Expert
    demonstrations: Any
    mean_return: float


def mean_return(expert: Expert, environment: str, n_episodes: int) -> float:
    """Measure the mean return of an expert.

    :param expert: Expert
    :param environment: Gymnasium id
    :param n_episodes: Number of episodes
    :return: Mean over the episodes
    """
    envs = evaluation_envs(environment, n_episodes)
    played = demonstrate(expert, envs, n_episodes, EXPERT_SEED)
    return float(np.mean([trajectory.rews.sum() for trajectory in played]))


def train(run: Any, teacher: Teacher, settings: Mapping[str, Any]) -> DAgger:
    """Clone an expert, and go on with rounds of DAgger.

    :param run: Dataclass with ``environment``, ``seed``, ``rounds`` and ``episodes``
    :param teacher: Expert and demonstrations
    :param settings: Policy and other arguments of the constructor
    :return: Trained model
    """
    model = DAgger(
        env=make_vec_env(run.environment, 1, seed=run.seed),
        expert=teacher.expert,
        demonstrations=teacher.demonstrations,
        n_eval_episodes=run.episodes,
        seed=run.seed,
        device="cpu",
        **settings,
    )
    return model.learn(run.rounds * model.n_steps)


def execute(
    run: Any, teacher: Teacher, settings: Mapping[str, Any], stored: RunFiles
) -> list[dict[str, float]]:
    """Train one model, and store what its rounds measured.

    :param run: Dataclass with ``name`` and what :func:`train` reads
    :param teacher: Expert and demonstrations
    :param settings: Policy and other arguments of the constructor
    :param stored: Files of the finished runs
    :return: What each round measured
    """
    started = time.perf_counter()
    rounds = train(run, teacher, settings).rounds
    facts = {
        "run": asdict(run),
        "expert_return": teacher.mean_return,
        "rounds": rounds,
        "seconds": round(time.perf_counter() - started, 1),
        "versions": of_a_run(),
    }
    stored.write(run.name, json.dumps(facts) + "\n")
    return rounds


def run_files(folder: Path, kind: Callable[..., Any]) -> RunFiles:
    """Return the files of the finished runs.

    :param folder: Folder of the results
    :param kind: Dataclass of the runs, which knows their names
    :return: Files
    """
    return RunFiles(folder, lambda text: str(kind(**json.loads(text)["run"]).name))
