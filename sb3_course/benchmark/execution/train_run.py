"""Train and evaluate one run."""

import re
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_course import loading
from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.definition.user_code import of_user
from sb3_course.benchmark.execution.clusters.shared_folder import (
    SECONDS_BETWEEN_BEATS,
    is_local,
)
from sb3_course.benchmark.execution.evaluation_callback import (
    NOT_CLOSED,
    SUCCESS,
    EvaluationCallback,
    close,
)
from sb3_course.benchmark.execution.heartbeat import beat
from sb3_course.benchmark.storage import provenance
from sb3_course.benchmark.storage.provenance import PROCESSOR
from sb3_course.benchmark.storage.result import Measurement, RunResult
from sb3_course.building import build
from sb3_course.common.callbacks import NOT_SAVED, SaveEvery
from sb3_course.common.checkpoint import CheckpointError, read_members
from sb3_course.common.tracking.callback import Track, tracked
from sb3_course.common.tracking.film import episode_film
from sb3_course.common.tracking.tracker import TrackedRun, Tracking

PAST = "run.json"
"""Member of a run's checkpoint: the run, and what it had measured."""
ANEW = "starting anew, since the checkpoint cannot be used"
EPISODES_ANEW = "the running episodes start anew"
ELSEWHERE = "it goes on with another processor, which may compute other last digits"
TOLD = (ANEW, EPISODES_ANEW, ELSEWHERE, NOT_SAVED, NOT_CLOSED)
"""Begin the lines of a run's output that are passed on."""
KEPT = 20_000
"""Characters kept of a traceback, or of the output of a process that died."""


class ProgressCallback(BaseCallback):
    """Callback that writes the run's heartbeat: twice a second, or every 5 s into a shared folder.

    :param path: Heartbeat file of the run
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._between = 0.5 if is_local(path.parent) else SECONDS_BETWEEN_BEATS
        self._next = 0.0

    def _on_training_start(self) -> None:
        self._started, self._first = time.perf_counter(), self.model.num_timesteps

    def _on_step(self) -> bool:
        now = time.perf_counter()
        if now >= self._next:
            self._next = now + self._between
            rate = (self.num_timesteps - self._first) / (now - self._started)
            beat(self._path, self.num_timesteps, rate)
        return True


class StopAt(BaseCallback):
    """Callback that ends the training at an environment step; schedules are as without it.

    :param step: Environment step
    """

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    def _on_step(self) -> bool:
        return self.num_timesteps < self._step


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a run keeps what it needs to go on after its process was killed.

    :param file: File, which belongs to this run alone
    :param every: Environment steps from one to the next
    """

    file: Path
    every: int


def run_one(
    spec: RunSpec,
    progress: Path | None = None,
    tensorboard: Path | None = None,
    checkpoints: Checkpoints | None = None,
    tracking: Tracking | None = None,
) -> RunResult:
    """Train and evaluate one run, on one thread.

    Equal specs have equal returns, bit for bit; after an interruption as well, where the states of
    the environments can be kept.

    :param spec: Run to execute
    :param progress: Heartbeat file, to which progress is written; None for none
    :param tensorboard: Folder for TensorBoard files, with a subfolder named by the run's id; None
        for none
    :param checkpoints: Where the run continues from, if it was interrupted; None for nowhere
    :param tracking: Trackers that it is sent to; None for none
    :return: Result of the run
    """
    started = time.perf_counter()
    torch.set_num_threads(1)
    config = spec.config
    model = model_of(spec, tensorboard)
    env = model.get_env()
    assert env is not None, "build() makes environments"
    code = made_with(spec)  # now, as files may be edited while it trains
    past = _Past()
    if hasattr(model, "replay_buffer"):
        checkpoints = None  # which do not hold it
    if checkpoints is not None:
        model, past = _continued(model, env, spec, code, checkpoints.file)
        code = _together(past.made_with or {}, code)
    track = None if tracking is None else _track(spec, code, tracking, past.spec is not None)
    evaluation = EvaluationCallback(
        spec.env,
        config.evaluation_steps,
        config.evaluation_episodes,
        spec.seed,
        done=past.measurements,
        trained=past.trained,
        metrics=config.metrics,
        told=None if track is None else lambda m: track.send(_logged(m), m.num_timesteps),
    )
    callbacks: list[BaseCallback] = [evaluation]
    if config.stop_at is not None:
        callbacks.append(StopAt(config.stop_at))
    if progress is not None:
        callbacks.append(ProgressCallback(progress))

    def seconds() -> float:
        return past.seconds + time.perf_counter() - started

    if checkpoints is not None:
        file, source = checkpoints.file, _source(code)

        def save(model: BaseAlgorithm) -> None:
            now = _Past(
                spec=spec,
                measurements=evaluation.measurements,
                trained=evaluation.trained,
                seconds=seconds(),
                made_with=code,
                source=source,
            )
            loading.save(model, file, {PAST: now.model_dump_json().encode()})

        callbacks.append(SaveEvery(checkpoints.every, save, print))
    try:
        with tracked(track) as trackers:
            model.learn(
                config.total_timesteps - model.num_timesteps,
                callback=[*callbacks, *trackers],
                tb_log_name=spec.id,
                reset_num_timesteps=model.num_timesteps == 0,
            )
    finally:
        close(env)
    return RunResult(
        spec=spec,
        measurements=evaluation.measurements,
        seconds=seconds(),
        made_with=code,
    )


def model_of(spec: RunSpec, tensorboard: Path | None = None) -> BaseAlgorithm:
    """Return the model of a run, with its environments, before any training.

    :param spec: Run
    :param tensorboard: Folder for TensorBoard files; None for none
    :return: Model
    """
    config = spec.config
    return build(
        config.algorithm_class,
        config.params,
        spec.env,
        config.n_envs,
        spec.seed,
        config.backend,
        config.normalize,
        tensorboard,
    )


def _track(
    spec: RunSpec, code: dict[str, str | None], tracking: Tracking, continued: bool
) -> Track:
    """Return the callback that tracks a run."""
    run = TrackedRun(
        id=spec.id,
        name=spec.label,
        group=f"{spec.algorithm} · {spec.environment}",
        config={**spec.model_dump(mode="json"), "code": code},
        tags=(spec.algorithm, spec.environment),
        continued=continued,
    )
    return Track(tracking, run, print, episode_film(spec.env, spec.seed))


def _logged(measurement: Measurement) -> dict[str, float]:
    """Return the means of an evaluation, named as in SB3's ``EvalCallback``."""
    found: dict[str, Sequence[float]] = {
        "mean_reward": measurement.returns,
        "mean_ep_length": measurement.lengths,
    }
    for name, values in measurement.metrics.items():
        found["success_rate" if name == SUCCESS else name] = values
    return {f"eval/{name}": float(np.mean(values)) for name, values in found.items()}


class _Past(BaseModel):
    """What a run had done when its checkpoint was saved."""

    model_config = ConfigDict(ser_json_inf_nan="constants")  # as in RunResult

    spec: RunSpec | None = None
    measurements: list[Measurement] = []
    trained: float = 0.0
    seconds: float = 0.0
    made_with: dict[str, str | None] | None = None
    source: str | None = None


def _continued(
    model: BaseAlgorithm, env: VecEnv, spec: RunSpec, code: dict[str, str | None], file: Path
) -> tuple[BaseAlgorithm, _Past]:
    """Return the model of the run's checkpoint and what it had done; the new one if there is none.

    :param model: New model
    :param env: Its environments, in which the other one goes on
    :param spec: Run
    :param code: What it is made with
    :param file: Checkpoint
    :return: Model that is ready to go on, and what it had done
    """
    if not file.exists():
        return model, _Past()
    try:
        past = _Past.model_validate_json(read_members(file)[PAST])
        if past.spec is None or past.spec.id != spec.id:
            raise CheckpointError(f"{file} is of another run")
        then = past.made_with or {}
        if _code(then) != _code(code) or past.source != _source(code):
            raise CheckpointError(f"{file} was made with other code or versions")
        trusted = loading.is_trusted(file)
        loaded, lost = loading.load_to_continue(type(model), file, env, trusted)
    except (KeyError, OSError, ValueError) as error:
        print(f"{ANEW}: {error}")
        return model, _Past()
    if lost is not None:
        print(f"{EPISODES_ANEW}: {lost}")
    both = _together(then, code)
    if any(both.get(name) != then.get(name) for name in PROCESSOR):
        print(f"{ELSEWHERE}: {code.get('cpu')}, after {then.get('cpu')}")
    return loaded, past


def _code(made: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name: value for name, value in made.items() if name not in PROCESSOR}


def _together(then: Mapping[str, str | None], now: dict[str, str | None]) -> dict[str, str | None]:
    """Return what a run is made with that goes on: its code, and every processor that it had."""
    both = {n: f"{then.get(n) or here}; {here}" for n in PROCESSOR if (here := now.get(n))}
    return now | {n: "; ".join(dict.fromkeys(words.split("; "))) for n, words in both.items()}


def _source(code: dict[str, str | None]) -> str | None:
    """Return the digest of this package's source; None if its commit says what it is."""
    commit = code.get("git_commit")
    is_any = commit is None or commit.endswith("-dirty")
    return provenance.digest_of_code() if is_any else None


def attempt(
    spec: RunSpec,
    progress: Path | None = None,
    tensorboard: Path | None = None,
    checkpoints: Checkpoints | None = None,
    tracking: Tracking | None = None,
) -> RunResult:
    """Train and evaluate one run, and turn an exception into a recorded failure.

    :param spec: Run to execute
    :param progress: Heartbeat file, as in :func:`run_one`
    :param tensorboard: Folder for TensorBoard files, as in :func:`run_one`
    :param checkpoints: Where the run continues from, as in :func:`run_one`
    :param tracking: Trackers, as in :func:`run_one`
    :return: Result of the run, with its traceback if it failed
    """
    started = time.perf_counter()
    try:
        return run_one(spec, progress, tensorboard, checkpoints, tracking)
    except (Exception, SystemExit):
        return RunResult(
            spec=spec,
            seconds=time.perf_counter() - started,
            failure=portable(traceback.format_exc()),
            made_with=made_with(spec),
        )


def made_with(spec: RunSpec) -> dict[str, str | None]:
    """Return the provenance of a run of this process, with the source of the user's modules.

    :param spec: Run
    :return: Commit, versions, system and processor, and digests of the user's code
    """
    return provenance.of_a_run() | of_user(spec.model_dump(mode="json"))


def portable(text: str) -> str:
    """Make a text safe to store and to print anywhere.

    :param text: Text of any origin, such as a traceback
    :return: Last :data:`KEPT` characters, without folders of this machine, control characters and
        characters that UTF-8 cannot encode
    """
    places = {sys.prefix: "<python>", sys.base_prefix: "<python>"}
    with suppress(OSError):  # the run's environment has removed the folder that it works in
        places[str(Path.cwd())] = "."
    with suppress(RuntimeError):  # the user has no home
        places[str(Path.home())] = "~"
    for place, name in sorted(places.items(), key=lambda item: -len(item[0])):
        if len(place) > 1:
            text = text.replace(place, name)
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text)  # all except tab and line feed
    return text[-KEPT:].encode("utf-8", "backslashreplace").decode("utf-8")
