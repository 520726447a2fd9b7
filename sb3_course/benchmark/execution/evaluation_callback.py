"""Measure the policy of a run at declared environment steps."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.benchmark.storage.result import Measurement
from sb3_course.common.errors import in_words
from sb3_course.common.evaluation import (
    evaluation_envs,
    evaluation_seed,
    play_episodes,
    undisturbed,
)
from sb3_course.envs.config import EnvConfig, EnvId

SUCCESS = "is_success"
"""Key of an info by which environments tell, since Gym, whether an episode reached its goal."""
NOT_CLOSED = "the environments could not be closed"
"""Begins the line of a run's output that tells of it."""
_OF_SB3 = {"terminal_observation", "TimeLimit.truncated", "episode"}


class EvaluationCallback(BaseCallback):
    """Callback that evaluates the policy in training at declared environment steps.

    The evaluation for a step is made at the first vector step that reaches it, with the policy
    that acts then. It therefore never benefits from more experience than its step allows, whatever
    the algorithm's batch size is.

    :param env: Environment, with the settings that it is trained with
    :param steps: Environment steps at which to evaluate, ascending; 0 is before training
    :param episodes: Number of episodes per evaluation
    :param seed: Seed of the run
    :param clock: Function that returns the time in seconds
    :param done: Measurements of the part of the run that was trained before
    :param trained: Seconds of that training
    :param metrics: Keys of the last info of each episode that are measured; ``is_success`` is
        measured without being asked wherever every episode has it as a number
    :param told: Function that gets each measurement when it is made; its time does not count
    :raises ValueError: If a return or a metric is not finite, or a metric is missing, during
        training
    """

    def __init__(
        self,
        env: EnvConfig | EnvId,
        steps: list[int],
        episodes: int,
        seed: int,
        clock: Callable[[], float] = time.perf_counter,
        done: Sequence[Measurement] = (),
        trained: float = 0.0,
        metrics: Sequence[str] = (),
        told: Callable[[Measurement], None] | None = None,
    ) -> None:
        super().__init__()
        self.measurements = list(done)
        self._env, self._episodes, self._metrics = env, episodes, metrics
        self._pending = list(steps)[len(done) :]
        self._seed = evaluation_seed(seed)
        self._clock, self._told = clock, told
        self._trained = trained
        self._started = 0.0

    @property
    def trained(self) -> float:
        """Seconds of training so far, without evaluations."""
        return self._clock() - self._started

    def _on_training_start(self) -> None:
        with undisturbed(self.model):
            self._envs = evaluation_envs(self._env, self._episodes)
        self._started = self._clock() - self._trained
        self._on_step()

    def _on_step(self) -> bool:
        while self._pending and self.num_timesteps >= self._pending[0]:
            before = self._clock()
            with undisturbed(self.model):
                played = play_episodes(self.model, self._envs, self._seed)
            if not np.isfinite(played.returns).all():
                raise ValueError(
                    f"the evaluation at environment step {self._pending[0]} gave the returns "
                    f"{played.returns.tolist()}, which must be finite"
                )
            self.measurements.append(
                Measurement(
                    step=self._pending.pop(0),
                    num_timesteps=self.num_timesteps,
                    wall_time=before - self._started,
                    returns=played.returns.tolist(),
                    lengths=played.lengths.tolist(),
                    metrics=metrics_of(played.infos, self._metrics),
                )
            )
            if self._told is not None:
                self._told(self.measurements[-1])
            self._started += self._clock() - before
        return True

    def _on_training_end(self) -> None:
        close(self._envs)
        if self._pending:
            raise RuntimeError(
                f"training ended at environment step {self.num_timesteps}, "
                f"before the measurements due at {self._pending}"
            )


def close(env: VecEnv) -> None:
    """Close environments; an error is printed, since it takes nothing from what was measured.

    :param env: Environments
    """
    try:
        env.close()
    except Exception as error:
        print(f"{NOT_CLOSED}: {in_words(error)}")


def metrics_of(infos: Sequence[dict[str, Any]], asked: Sequence[str]) -> dict[str, list[float]]:
    """Return numbers that environments tell in their infos.

    :param infos: Last info of each episode
    :param asked: Keys that each of them must have
    :return: One value per episode by key; with :data:`SUCCESS` where it is a number in all of them
    :raises ValueError: If a value that was asked for is missing, or is no finite number
    """
    values = {key: [_checked(key, i, info) for i, info in enumerate(infos)] for key in asked}
    success = [_number(info.get(SUCCESS)) for info in infos]
    if np.isfinite(success).all():
        values.setdefault(SUCCESS, success)
    return values


def _number(value: Any) -> float:
    """Return a single number or a bool as a number, NaN for anything else."""
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged list
        return np.nan
    return float(array.item()) if array.size == 1 and array.dtype.kind in "biuf" else np.nan


def _checked(key: str, episode: int, info: dict[str, Any]) -> float:
    where = f"the metric {key!r} in the last info of evaluation episode {episode}"
    if key not in info:
        known = ", ".join(sorted(map(str, info.keys() - _OF_SB3))) or "nothing"
        raise ValueError(f"{where} is missing; the info has: {known}")
    number = _number(info[key])
    if not np.isfinite(number):
        raise ValueError(f"{where} is {info[key]!r}; allowed: a finite number, or true and false")
    return number
