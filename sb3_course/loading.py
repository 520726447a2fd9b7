"""Load and save models whose files name their class."""

import io
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from sb3_course.common import checkpoint
from sb3_course.common.base_class import CourseAlgorithm
from sb3_course.common.checkpoint import (
    CheckpointError,
    CheckpointPath,
    Normalize,
    read_header,
    training_state,
)
from sb3_course.common.files import shipped
from sb3_course.envs.spaces_only import SpacesOnlyEnv


def load(
    path: CheckpointPath,
    env: GymEnv | None = None,
    normalize: Normalize = "train",
    **kwargs: Any,
) -> CourseAlgorithm:
    r"""Load a checkpoint of any algorithm of this package, whose class the file names.

    :param path: Checkpoint file, with or without ``.zip``
    :param env: Environment to continue with, raw or vectorized; see :meth:`.CourseAlgorithm.load`
    :param normalize: ``"train"`` to continue updating the normalization statistics, ``"freeze"``
        to keep them and return raw rewards, for evaluation
    :param \**kwargs: Further arguments of :meth:`.CourseAlgorithm.load`
    :return: Loaded model
    :raises CheckpointError: If the file is not a checkpoint of this package, a ``ValueError``
    """
    name = read_header(path).get("class")
    package = import_module("sb3_course")  # its names are resolved on first use
    known = (*package.ALGORITHMS, *package.IMITATION)
    if name not in known:
        raise CheckpointError(
            f"{path} was saved by {name or 'another library'}, which sb3_course.load does not know "
            f"(it loads {', '.join(known)}): use the class's own load"
        )
    algorithm: type[CourseAlgorithm] = getattr(package, str(name))
    return algorithm.load(path, env=env, normalize=normalize, **kwargs)


def save(
    model: BaseAlgorithm, path: CheckpointPath, more: checkpoint.Members | None = None
) -> None:
    """Save a model of any library with its class, environment, normalization and training state.

    :param model: Model of this package, SB3 or sb3-contrib
    :param path: File to write, replaced atomically
    :param more: Further content of the file, by name
    """
    if isinstance(model, CourseAlgorithm):
        members = model.file_members()
    else:
        buffer = io.BytesIO()
        model.save(buffer)
        members = checkpoint.read_members(buffer)
        training_state.write(training_state.take(model), members)
    members |= more or {}
    checkpoint.write_members(path, members, checkpoint.describe(model, members))


def is_trusted(path: CheckpointPath) -> bool:
    """Return whether a file may be unpickled without asking: this user wrote it here.

    :param path: Checkpoint
    :return: Whether it carries this user's seal, or came with the package
    :raises CheckpointError: If the file is not a checkpoint, or is damaged
    """
    ours = shipped("results/experts").resolve()
    if isinstance(path, (str, Path)) and Path(path).resolve().is_relative_to(ours):
        return True
    return checkpoint.is_sealed_here(checkpoint.read_members(path))


def load_any(
    algorithm: type[BaseAlgorithm],
    path: CheckpointPath,
    env: VecEnv | None,
    normalize: Normalize,
    trusted: bool,
    device: str = "cpu",
    plays: bool = False,
) -> BaseAlgorithm:
    """Load a model of any library that :func:`save` or SB3 saved.

    :param algorithm: Class of the model
    :param path: Checkpoint
    :param env: Environments, which are wrapped in the normalization of the file; None for a model
        without any
    :param normalize: What becomes of the normalization, as in :func:`load`
    :param trusted: Whether pickles are read; if not, as with ``weights_only=True``
    :param device: Device of the networks, as in SB3
    :param plays: Whether the model is not trained: it gets no replay buffer
    :return: Model
    :raises CheckpointError: If the file is malformed, or needs a pickle
    """
    if issubclass(algorithm, CourseAlgorithm):
        return algorithm.load(
            path, env=env, normalize=normalize, weights_only=not trusted, device=device
        )
    members = checkpoint.read_members(path)
    header = checkpoint.checked_header(members)
    given: GymEnv | None = env
    if env is not None:
        given = checkpoint.normalize_as_saved(env, header, normalize)
    checkpoint.sb3_data(members)
    custom = None if trusted else checkpoint.plain_attributes(members, {})
    # It can take gigabytes, and HER's needs the environment.
    bare = plays and issubclass(algorithm, OffPolicyAlgorithm)
    unused: dict[str, Any] = {"replay_buffer": object()} if bare else {}
    with checkpoint.reading(path):
        model = algorithm.load(
            checkpoint.as_zip(members), env=given, device=device, custom_objects=custom, **unused
        )
    if bare:
        vars(model)["replay_buffer"] = None
    checkpoint.remember(model, header)
    return model


def load_to_predict(
    algorithm: type[BaseAlgorithm], path: CheckpointPath, trusted: bool
) -> BaseAlgorithm:
    """Load a model of any library without its environment, which need not exist here.

    One that has spaces alone takes its place, with the normalization of the file.

    :param algorithm: Class of the model
    :param path: Checkpoint
    :param trusted: Whether pickles are read
    :return: Model on the CPU
    :raises CheckpointError: If the file is malformed, or needs a pickle
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*trained on normalized observations")
        model = load_any(algorithm, path, None, "freeze", trusted, plays=True)
    header = checkpoint.read_header(path)
    if isinstance(model, CourseAlgorithm):
        model._normalization = None  # which the stand-in has, where it matters
    model.set_env(_stand_in(model, header))
    return model


def normalization_to_predict(model: BaseAlgorithm) -> VecNormalize | None:
    """Return the normalization of what a model observes, of its environment or else of its file.

    :param model: Model, which may have been loaded without an environment
    :return: Normalization, that of a file around no environment and not updated; None where
        observations are not normalized
    :raises CheckpointError: If it is not the outermost wrapper, or that of the file is malformed
    """
    venv = model.get_vec_normalize_env()
    if isinstance(venv, VecNormalize) and venv.norm_obs:
        _check_outermost(checkpoint.wrappers_above(model.get_env(), venv))
    kept = checkpoint.normalization_of(model) if venv is None else None
    stand_in = venv if kept is None else _stand_in(model, kept)
    return stand_in if isinstance(stand_in, VecNormalize) else None


def _stand_in(model: BaseAlgorithm, header: dict[str, Any]) -> VecEnv:
    made = partial(SpacesOnlyEnv, model.observation_space, model.action_space)
    venv = DummyVecEnv([made] * model.n_envs)
    settings, above = header.get("vec_normalize"), header.get("above_vec_normalize")
    if settings is None or (isinstance(settings, dict) and settings.get("norm_obs") is False):
        return venv
    _check_outermost(above or [])
    return checkpoint.wrap_normalized(venv, header, "freeze")


def _check_outermost(above: Sequence[Any]) -> None:
    if above:
        raise CheckpointError(
            f"its observations are normalized below {', '.join(map(str, above))}, which only its "
            "environment can do"
        )


def load_to_continue(
    algorithm: type[BaseAlgorithm],
    path: CheckpointPath,
    env: VecEnv,
    trusted: bool,
    device: str = "cpu",
) -> tuple[BaseAlgorithm, str | None]:
    """Load a model of any library, in the state in which :func:`save` found its training.

    The random generators of this process are set as well. Go on with
    ``learn(..., reset_num_timesteps=False)``.

    :param algorithm: Class of the model
    :param path: Checkpoint
    :param env: Environments as those that it was trained in
    :param trusted: Whether pickles are read, the states of the environments among them
    :param device: Device of the networks, as in SB3
    :return: Model, and why the running episodes are lost; None if they go on
    :raises CheckpointError: If the file is malformed, or needs a pickle
    """
    model = load_any(algorithm, path, env, "train", trusted, device)
    state = training_state.read(checkpoint.read_members(path), trusted)
    vars(model)["_saved_state"] = None  # put here and now, and not by learn()
    lost = "the file holds no training state" if state is None else None
    return model, lost if state is None else training_state.put(model, state)
