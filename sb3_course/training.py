"""Train one model of any library so that nothing is lost: saves on the way, and goes on later."""

import re
import secrets
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HumanOutputFormat, KVWriter, Logger, configure
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import get_latest_run_id

from sb3_course import building, loading, registry
from sb3_course.common import checkpoint
from sb3_course.common.callbacks import EvaluateEvery, SaveEvery
from sb3_course.common.checkpoint import CheckpointError, NeedsPickleError
from sb3_course.common.errors import UserError, in_words
from sb3_course.common.tracking.callback import Track, tracked
from sb3_course.common.tracking.code import git_commit, versions
from sb3_course.common.tracking.film import episode_film
from sb3_course.common.tracking.tracker import TrackedRun, Tracking
from sb3_course.common.video import check_renders
from sb3_course.envs.config import EnvConfig, EnvConfigError
from sb3_course.envs.make import make_vec_env
from sb3_course.opening import PICKLES, check_trusted, check_weights, find_class, untrusted
from sb3_course.stopping import Finish, Stop, Tell

EPISODES = 10
"""Episodes of an evaluation during training."""

PROJECT = "sb3-course"
"""Project of trackers that trainings belong to."""


@dataclass(frozen=True)
class Setup:
    """What a training is started with, kept in its file so that it can go on.

    :param algo: Name of the algorithm
    :param env: Environment, with its settings
    :param n_envs: Number of environments
    :param seed: Seed of all random numbers
    :param backend: Backend of :func:`sb3_course.make_vec_env`
    :param timesteps: Environment steps in all
    :param save_every: Environment steps from one save to the next; None for none
    :param eval_every: Environment steps from one evaluation to the next; None for none
    :param track: Names of the trackers that it is sent to
    :param track_video: Whether they get a video of the trained policy
    :param tracked_as: Name of the run in trackers, so that a resumed training goes on there
    :param device: Device of the networks
    :param logged_to: Folder of its TensorBoard log, so that a resumed training goes on there
    """

    algo: str
    env: EnvConfig
    n_envs: int
    seed: int
    backend: Any
    timesteps: int
    save_every: int | None = None
    eval_every: int | None = None
    track: Sequence[str] = ()
    track_video: bool = False
    tracked_as: str | None = None
    device: str = "cpu"
    logged_to: str | None = None

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Setup":
        """Return the setup that :meth:`data` returned as plain data.

        :param data: Plain data
        :return: Setup
        :raises KeyError: If the id of the environment is missing
        :raises TypeError: If anything else is missing, or is too much
        :raises EnvConfigError: If the settings of the environment are malformed
        """
        others = {k: v for k, v in data.items() if k not in ("env_id", "env_settings")}
        env = EnvConfig.from_data(data["env_id"], data.get("env_settings", {}))
        return cls(env=env, **others)

    def data(self) -> dict[str, Any]:
        """Return the setup as plain data."""
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "env"}
        settings = self.env.data(self.env.name)
        return {**data, "env_id": self.env.id, **({"env_settings": settings} if settings else {})}


def start(
    setup: Setup, params: dict[str, Any], normalize: bool, tensorboard: Path | None
) -> BaseAlgorithm:
    """Make a model and its environments.

    :param setup: What the training is started with
    :param params: Hyper-parameters
    :param normalize: Whether to normalize observations and rewards
    :param tensorboard: Folder for TensorBoard's logs, or None
    :return: Model that is ready to train
    :raises UserError: If something does not exist or does not fit; names it
    """
    building.check_device(setup.device)
    if setup.track_video:
        building.check_environment(setup.env.id)
        check_renders(setup.env)
    logs = None if tensorboard is None else building.place_to_log(tensorboard, setup.env.name)
    model = building.build(
        setup.algo,
        params,
        setup.env,
        setup.n_envs,
        setup.seed,
        setup.backend,
        normalize,
        logs,
        verbose=1,
        device=setup.device,
    )
    vars(model)["training_setup"] = setup.data()
    return model


def resume(
    path: Path, trust: bool, tell: Tell, device: str | None = None
) -> tuple[BaseAlgorithm, Setup]:
    """Load a model, and its environments in the state in which it was saved.

    :param path: File that ``sb3-course train`` saved
    :param trust: Whether to read pickles of a file that this user did not write here
    :param tell: Function that gets a line if the running episodes or a replay buffer are lost
    :param device: Device of the networks; None for the one that it was started on
    :return: Model that is ready to go on, and what its training was started with
    :raises UserError: If the file is damaged, is another kind of file, is not trusted,
        or its weights are not finite
    """
    try:
        members = checkpoint.read_members(path)
        header = checkpoint.checked_header(members)
        trusted = trust or loading.is_trusted(path)
        setup = Setup.from_data(checkpoint.sb3_data(members)["training_setup"])
    except FileNotFoundError as error:
        raise UserError(f"--resume: {path} does not exist") from error
    except CheckpointError as error:
        raise UserError(f"--resume: {error}") from error
    except (KeyError, TypeError, EnvConfigError) as error:
        raise UserError(
            f"--resume: {path} does not say how its training was started, as files of "
            "`sb3-course train` do"
        ) from error
    if not trusted and "class" not in header:
        raise UserError(untrusted(path, PICKLES))
    algorithm = find_class(path, header, setup.algo if trusted else None, trusted)
    check_trusted(path, setup.env, trusted)
    setup = replace(setup, device=setup.device if device is None else device)
    building.check_device(setup.device)
    building.check_environment(setup.env.id)
    with building.being_made(setup.env):
        env = make_vec_env(setup.env, setup.n_envs, setup.seed, setup.backend, verbose=0)
    try:
        model, lost = loading.load_to_continue(algorithm, path, env, trusted, setup.device)
    except CheckpointError as error:
        env.close()
        needs_trust = isinstance(error, NeedsPickleError)
        raise UserError(untrusted(path, PICKLES) if needs_trust else str(error)) from error
    except Exception as error:
        env.close()
        raise UserError(f"{path} cannot be loaded: {in_words(error)}") from error
    check_weights(path, model)
    if lost is not None:
        tell(f"the running episodes start anew: {lost}")
    if isinstance(model, OffPolicyAlgorithm) and model.num_timesteps > 0:
        tell("the replay buffer starts empty, since no file holds it")
    return model, setup if trusted else replace(setup, track=(), logged_to=None)


def train(
    model: BaseAlgorithm,
    setup: Setup,
    file: Path,
    tell: Tell,
    callbacks: Sequence[BaseCallback] = (),
    tables: bool = False,
    finish: Finish | None = None,
) -> None:
    """Train a model up to ``setup.timesteps`` environment steps, those already done included.

    Ctrl-C and SIGTERM, which a job scheduler sends before the end, stop it at the end of the batch.

    :param model: Model from :func:`start` or :func:`resume`
    :param setup: What the training was started with
    :param file: File that is saved to on the way
    :param tell: Function that gets lines about saves and evaluations
    :param callbacks: Further callbacks, such as one that shows progress
    :param tables: Whether to print SB3's table after each batch
    :param finish: What a signal may have told before the training listens
    :raises KeyboardInterrupt: It was stopped; its argument is the signal's number
    """
    setup = _set_logger(model, setup, tables)
    vars(model)["training_setup"] = setup.data()
    callbacks = list(callbacks)
    if setup.eval_every is not None:
        callbacks.append(EvaluateEvery(setup.eval_every, setup.env, EPISODES, setup.seed, tell))
    if setup.save_every is not None:
        callbacks.append(SaveEvery(setup.save_every, lambda saved: loading.save(saved, file), tell))
    stop = Stop(tell)
    with stop.listening(), tracked(_track(model, setup, tell)) as trackers:
        if finish is not None and finish.number:
            raise KeyboardInterrupt(finish.number)
        try:
            model.learn(
                setup.timesteps - model.num_timesteps,
                [*callbacks, stop, *trackers],
                reset_num_timesteps=model.num_timesteps == 0,
            )
        finally:  # SB3 writes what an update has recorded with the next batch
            if model.logger.name_to_value:
                model.logger.dump(model.num_timesteps)


def _set_logger(model: BaseAlgorithm, setup: Setup, tables: bool) -> Setup:
    """Make a logger, for TensorBoard in the folder where the training began; return the setup."""
    model.verbose = int(tables)
    if model.tensorboard_log is None:  # SB3's own logger makes a folder for no file
        formats: list[KVWriter] = [HumanOutputFormat(sys.stdout)] if tables else []
        model.set_logger(Logger(folder=None, output_formats=formats))
        return setup
    folder = setup.logged_to
    if folder is None:  # numbered as SB3 does; it would go on in the folder of whoever came last
        logs, name = Path(model.tensorboard_log).absolute(), type(model).__name__
        number = get_latest_run_id(str(logs), name) + (model.num_timesteps == 0)
        folder = str(logs / f"{name}_{number}")
    model.set_logger(configure(folder, ["tensorboard", *["stdout"] * tables]))
    return replace(setup, logged_to=folder)


def new_run_id(algo: str, env: EnvConfig, seed: int) -> str:
    """Return a name for a training in trackers that no other one has.

    :param algo: Name of the algorithm
    :param env: Environment
    :param seed: Seed
    :return: Name of letters, digits, points, hyphens and underscores
    """
    words = f"{algo}_{env.name}_seed{seed}_{secrets.token_hex(4)}"
    return re.sub(r"[^\w.-]+", "-", words.lower())


def _track(model: BaseAlgorithm, setup: Setup, tell: Tell) -> Track | None:
    """Return the callback that tracks a training; None if no tracker is asked for."""
    if not setup.track:
        return None
    algo, env = setup.algo, setup.env.name
    code = {"git_commit": git_commit(), **versions()}
    run = TrackedRun(
        id=setup.tracked_as or new_run_id(algo, setup.env, setup.seed),
        name=f"{algo} · {env} · seed {setup.seed}",
        group=f"{algo} · {env}",
        config={**setup.data(), "params": _params(model), "code": code},
        tags=(algo, env),
        continued=model.num_timesteps > 0,
    )
    tracking = Tracking(tuple(setup.track), PROJECT, Path.cwd(), setup.track_video)
    return Track(tracking, run, tell, episode_film(setup.env, setup.seed))


def _params(model: BaseAlgorithm) -> dict[str, Any]:
    """Return a model's hyper-parameters, defaults included, as plain data."""
    names = sorted(registry.hyper_parameters(type(model)).keys() & vars(model).keys())
    return {name: _plain(vars(model)[name]) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def save(model: BaseAlgorithm, file: Path, tell: Tell, ask: Callable[[], str] | None) -> Path:
    """Save a trained model, elsewhere if its place is full or gone.

    :param model: Trained model
    :param file: File to save to
    :param tell: Function that gets a line about what went wrong
    :param ask: Function that returns another path, or an empty text to try again; None if nobody
        can be asked, so that the folder of temporary files is tried
    :return: File that it was saved to
    :raises OSError: If no place takes it
    """
    name = f"sb3-course-{file.stem}-{secrets.token_hex(4)}{file.suffix}"
    spare = Path(tempfile.gettempdir()) / name
    while True:
        try:
            loading.save(model, file)
            return file
        except OSError as error:
            tell(f"{file} cannot be written: {error.strerror or error}")
            if ask is None:
                if file == spare:
                    raise
                file = spare
            else:
                file = checkpoint.resolve(ask().strip() or file)
