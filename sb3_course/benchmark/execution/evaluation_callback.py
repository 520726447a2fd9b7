"""Measure the policy of a run at declared environment steps."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from sb3_course.benchmark.storage.result import Measurement
from sb3_course.common.evaluation import evaluate, evaluation_envs, evaluation_seed, undisturbed


class EvaluationCallback(BaseCallback):
    """Callback that evaluates the policy in training at declared environment steps.

    The evaluation for a step is made at the first vector step that reaches it, with the policy
    that acts then. It therefore never benefits from more experience than its step allows, whatever
    the algorithm's batch size is.

    :param env_id: Gymnasium id
    :param steps: Environment steps at which to evaluate, ascending; 0 is before training
    :param episodes: Number of episodes per evaluation
    :param seed: Seed of the run
    :param clock: Function that returns the time in seconds
    :param done: Measurements of the part of the run that was trained before
    :param trained: Seconds of that training
    :raises ValueError: If a return is not finite, during training
    """

    def __init__(
        self,
        env_id: str,
        steps: list[int],
        episodes: int,
        seed: int,
        clock: Callable[[], float] = time.perf_counter,
        done: Sequence[Measurement] = (),
        trained: float = 0.0,
    ) -> None:
        super().__init__()
        self.measurements = list(done)
        self._env_id, self._episodes = env_id, episodes
        self._pending = list(steps)[len(done) :]
        self._seed = evaluation_seed(seed)
        self._clock = clock
        self._trained = trained
        self._started = 0.0

    @property
    def trained(self) -> float:
        """Seconds of training so far, without evaluations."""
        return self._clock() - self._started

    def _on_training_start(self) -> None:
        with undisturbed(self.model):
            self._envs = evaluation_envs(self._env_id, self._episodes)
        self._started = self._clock() - self._trained
        self._on_step()

    def _on_step(self) -> bool:
        while self._pending and self.num_timesteps >= self._pending[0]:
            before = self._clock()
            with undisturbed(self.model):
                returns, lengths = evaluate(self.model, self._envs, self._seed)
            if not np.isfinite(returns).all():
                raise ValueError(
                    f"the evaluation at environment step {self._pending[0]} gave the returns "
                    f"{returns.tolist()}, which must be finite"
                )
            self.measurements.append(
                Measurement(
                    step=self._pending.pop(0),
                    num_timesteps=self.num_timesteps,
                    wall_time=before - self._started,
                    returns=returns.tolist(),
                    lengths=lengths.tolist(),
                )
            )
            self._started += self._clock() - before
        return True

    def _on_training_end(self) -> None:
        self._envs.close()
        if self._pending:
            raise RuntimeError(
                f"training ended at environment step {self.num_timesteps}, "
                f"before the measurements due at {self._pending}"
            )
