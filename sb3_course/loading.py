"""Load and save models whose files name their class."""

import io
from importlib import import_module
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv

from sb3_course.common import checkpoint
from sb3_course.common.base_class import CourseAlgorithm
from sb3_course.common.checkpoint import CheckpointPath, Normalize, read_header
from sb3_course.common.files import write_atomically


def load(
    path: CheckpointPath,
    env: GymEnv | None = None,
    normalize: Normalize = "train",
    **kwargs: Any,
) -> CourseAlgorithm:
    r"""Load a checkpoint of any algorithm of this package, whose class the file names.

    :param path: Checkpoint file, with or without ``.zip``
    :param env: Environment to continue with, raw or vectorized; see :meth:`CourseAlgorithm.load`
    :param normalize: ``"train"`` to continue updating the normalization statistics, ``"freeze"``
        to keep them and return raw rewards, for evaluation
    :param \**kwargs: Further arguments of :meth:`CourseAlgorithm.load`
    :return: Loaded model
    :raises ValueError: If the file is not a checkpoint of this package
    """
    name = read_header(path).get("class")
    package = import_module("sb3_course")  # its names are resolved on first use
    known = (*package.ALGORITHMS, *package.IMITATION)
    if name not in known:
        raise ValueError(
            f"{path} was saved by {name or 'another library'}, which sb3_course.load does not know "
            f"(it loads {', '.join(known)}): use the class's own load"
        )
    algorithm: type[CourseAlgorithm] = getattr(package, str(name))
    return algorithm.load(path, env=env, normalize=normalize, **kwargs)


def save(model: BaseAlgorithm, path: Path) -> None:
    """Save a model of any library with its class, its environment id and its normalization.

    :param model: Model of this package, SB3 or sb3-contrib
    :param path: File to write, replaced atomically
    """
    if isinstance(model, CourseAlgorithm):
        model.save(path)
        return
    buffer = io.BytesIO()
    model.save(buffer)
    checkpoint.append_header(buffer, model)
    write_atomically(path, buffer.getvalue())
