"""Train and measure one run."""

import re
import sys
import time
import traceback
from pathlib import Path

import torch
from stable_baselines3.common.callbacks import BaseCallback

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.execution.heartbeat import beat
from sb3_course.benchmark.storage import provenance
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.common.evaluation import EvaluationCallback
from sb3_course.registry import build

KEPT = 20_000
"""Letters that are kept of a traceback or of what a dead process printed."""


class ProgressCallback(BaseCallback):
    """Leave a sign of life with the environment steps taken so far, at most twice a second.

    :param path: the file
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._next = 0.0

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()

    def _on_step(self) -> bool:
        now = time.perf_counter()
        if now >= self._next:
            self._next = now + 0.5
            rate = self.num_timesteps / (now - self._started)
            beat(self._path, self.num_timesteps, rate)
        return True


def run_one(
    spec: RunSpec, progress: Path | None = None, tensorboard: Path | None = None
) -> RunResult:
    """Train and measure one run, on one thread.

    :param spec: the run
    :param progress: file in which to leave the steps taken so far
    :param tensorboard: folder for TensorBoard's files; the run's are named by its id
    :return: its result; the same spec gives the same returns, bit for bit
    """
    started = time.perf_counter()
    torch.set_num_threads(1)
    config = spec.config
    model = build(
        config.algorithm_class,
        config.params,
        spec.environment,
        config.n_envs,
        spec.seed,
        config.backend,
        config.normalize,
        tensorboard,
    )
    evaluation = EvaluationCallback(
        spec.environment, config.evaluation_steps, config.evaluation_episodes, spec.seed
    )
    callbacks: list[BaseCallback] = [evaluation]
    if progress is not None:
        callbacks.append(ProgressCallback(progress))
    try:
        model.learn(config.total_timesteps, callback=callbacks, tb_log_name=spec.id)
    finally:
        model.get_env().close()  # type: ignore[union-attr]
    seconds = time.perf_counter() - started
    return RunResult(
        spec=spec,
        measurements=evaluation.measurements,
        seconds=seconds,
        made_with=provenance.of_a_run(),
    )


def attempt(
    spec: RunSpec, progress: Path | None = None, tensorboard: Path | None = None
) -> RunResult:
    """Run, and turn an exception into a recorded failure.

    :param spec: the run
    :param progress: see :func:`run_one`
    :param tensorboard: see :func:`run_one`
    """
    started = time.perf_counter()
    try:
        return run_one(spec, progress, tensorboard)
    except (Exception, SystemExit):
        return RunResult(
            spec=spec,
            seconds=time.perf_counter() - started,
            failure=portable(traceback.format_exc()),
            made_with=provenance.of_a_run(),
        )


def portable(text: str) -> str:
    """Make a text fit to be kept and printed anywhere.

    :param text: such as a traceback
    :return: its end, without this machine's folders, control characters and what UTF-8 cannot hold
    """
    places = {sys.prefix: "<python>", sys.base_prefix: "<python>"}
    places |= {str(Path.cwd()): ".", str(Path.home()): "~"}
    for place, name in sorted(places.items(), key=lambda item: -len(item[0])):
        if len(place) > 1:
            text = text.replace(place, name)
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text)  # all but tab and line feed
    return text[-KEPT:].encode("utf-8", "backslashreplace").decode("utf-8")
