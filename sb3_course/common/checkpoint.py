"""One-file checkpoints: SB3's zip, with the class and the normalization statistics inside."""

import io
import json
import os
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
    unwrap_vec_normalize,
)

from sb3_course.common.errors import UserError
from sb3_course.common.files import write_atomically

CheckpointPath: TypeAlias = str | Path | io.BufferedIOBase
Normalize: TypeAlias = Literal["train", "freeze"]

#: Libraries in which plain names of classes are looked up, in this order.
LIBRARIES = ("sb3_course", "stable_baselines3", "sb3_contrib")
HEADER = "sb3_course.json"
STATISTICS = "vec_normalize.npz"
SETTINGS = (
    "norm_obs",
    "norm_reward",
    "clip_obs",
    "clip_reward",
    "gamma",
    "epsilon",
    "norm_obs_keys",
)
MOMENTS = ("mean", "var", "count")


def resolve(path: str | Path) -> Path:
    """Add SB3's ``.zip`` to a path without suffix.

    :param path: Path that the user gave
    :return: Path of the file
    """
    path = Path(path)
    return path if path.suffix else path.with_name(path.name + ".zip")


def append_header(file: io.BytesIO, algorithm: BaseAlgorithm) -> None:
    """Add the class's name, the environment's id and VecNormalize's statistics to SB3's zip.

    Only JSON and plain arrays are written, so that nothing in this part of an untrusted file is
    ever executed.

    :param file: SB3's zip file, in memory
    :param algorithm: Algorithm that it was saved from, of this package or another
    """
    header: dict[str, Any] = {
        "class": type(algorithm).__name__,
        "version": version("sb3-course"),
        "env": environment_id(algorithm),
    }
    module = type(algorithm).__module__
    if module.partition(".")[0] not in (*LIBRARIES, "__main__"):
        header["module"] = module  # where the class of one's own is imported from
    venv = algorithm.get_vec_normalize_env()
    if venv is not None:
        header |= normalization(venv)
        header["above_vec_normalize"] = _wrappers_above(algorithm.get_env(), venv)
        append_arrays(file, STATISTICS, header.pop("statistics"))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(HEADER, json.dumps(header, indent=2, default=lambda number: number.item()))


def environment_id(algorithm: BaseAlgorithm) -> str | None:
    """Return the id of the environment that an algorithm acts in.

    :param algorithm: Algorithm of this package or another. Its attribute ``env_id``, if it has
        one, knows what the environment does not: the module in ``module:id``, and the id after
        the environment's process has ended
    :return: Gymnasium's id, or None if there is none
    """
    env, saved_id = algorithm.get_env(), vars(algorithm).get("env_id")
    try:
        specs = [] if env is None else env.get_attr("spec", 0)
    except (AttributeError, EOFError, OSError):  # the VecEnv has no specs, or has ended
        specs = []
    spec_id: str | None = next((getattr(spec, "id", None) for spec in specs), None)
    return saved_id if spec_id is None or str(saved_id).endswith(f":{spec_id}") else spec_id


def normalization(venv: VecNormalize) -> dict[str, Any]:
    """Return what :func:`wrap_normalized` needs to make an equal ``VecNormalize``.

    :param venv: Wrapper to describe
    :return: Its settings under ``vec_normalize`` and its running moments under ``statistics``
    """
    moments = {
        f"{name}/{moment}": np.array(getattr(rms, moment))
        for name, rms in _running_moments(venv).items()
        for moment in MOMENTS
    }
    settings = {name: getattr(venv, name) for name in SETTINGS}
    return {"vec_normalize": settings, "statistics": moments}


def append_arrays(file: io.BytesIO, name: str, arrays: dict[str, Any]) -> None:
    """Add plain arrays to a checkpoint.

    :param file: Zip file, in memory
    :param name: Name of the member that holds the arrays, ending in ``.npz``
    :param arrays: Arrays by name
    """
    content = io.BytesIO()
    np.savez(content, **arrays)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, content.getvalue())


def read_arrays(path: CheckpointPath, name: str) -> dict[str, Any]:
    """Read arrays that :func:`append_arrays` wrote.

    :param path: Checkpoint
    :param name: Name of the member that holds the arrays
    :return: Arrays by name; empty if there is no such member
    :raises ValueError: If an array holds Python objects, whose loading could execute code
    """
    with zipfile.ZipFile(_source(path)) as archive:
        if name not in archive.namelist():
            return {}
        with np.load(io.BytesIO(archive.read(name)), allow_pickle=False) as arrays:
            return dict(arrays)


def write(path: CheckpointPath, content: bytes) -> None:
    """Write a checkpoint, atomically if it is a file.

    :param path: File object, or path, to which ``.zip`` is added if it has no suffix
    :param content: Content of the checkpoint
    """
    if isinstance(path, io.BufferedIOBase):
        path.write(content)
    else:
        write_atomically(resolve(path), content)


def read_header(path: CheckpointPath) -> dict[str, Any]:
    """Read the header that :func:`append_header` wrote.

    :param path: Checkpoint
    :return: Header with the statistics; empty for a file of another library
    :raises ValueError: If the file is not a zip file
    :raises FileNotFoundError: If there is no such file
    """
    try:
        with zipfile.ZipFile(_source(path)) as archive:
            header: dict[str, Any] = {}
            if HEADER in archive.namelist():
                header = json.loads(archive.read(HEADER))
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a checkpoint: it is not a zip file") from error
    statistics = read_arrays(path, STATISTICS)
    return header | ({"statistics": statistics} if statistics else {})


def _source(path: CheckpointPath) -> CheckpointPath:
    if isinstance(path, (str, Path)) and not Path(path).exists():
        return resolve(path)
    return path


def wrap_normalized(env: GymEnv, header: dict[str, Any], normalize: Normalize) -> VecEnv:
    """Wrap an environment in the normalization that a checkpoint was trained with.

    A ``VecNormalize`` that the environment already has, however deep, keeps all of its settings
    and takes the checkpoint's statistics alone.

    :param env: Environment, raw or vectorized
    :param header: Header of the checkpoint, with its statistics
    :param normalize: ``"train"`` to continue updating the statistics (a ``VecNormalize`` in the
        environment decides for itself), ``"freeze"`` to keep them and return raw rewards
    :return: Environment with normalization
    :raises ValueError: If a ``VecNormalize`` in it differs in whether it normalizes observations,
        or if there is none and the checkpoint's was below another wrapper
    """
    venv = env if isinstance(env, VecEnv) else DummyVecEnv([lambda: Monitor(env)])
    settings, above = header["vec_normalize"], header.get("above_vec_normalize", [])
    wrapper = unwrap_vec_normalize(venv)
    if wrapper is None and above:
        order = "(".join([*above, "VecNormalize(env)"]) + ")" * len(above)
        raise ValueError(
            f"the model was trained with VecNormalize below {', '.join(above)}: pass the "
            f"environment with a VecNormalize there, as in {order}, which takes the statistics"
        )
    if wrapper is None:
        wrapper = venv = VecNormalize(venv, **settings)
    elif wrapper.norm_obs != settings["norm_obs"]:
        raise ValueError(
            f"the model was trained with VecNormalize(norm_obs={settings['norm_obs']}), the "
            f"environment has norm_obs={wrapper.norm_obs}: pass it without VecNormalize"
        )
    statistics = header["statistics"]
    for name, rms in _running_moments(wrapper).items():
        for moment in MOMENTS:
            setattr(rms, moment, statistics[f"{name}/{moment}"])
    if normalize == "freeze":
        wrapper.training = False
        wrapper.norm_reward = False
    return venv


def _wrappers_above(env: VecEnv | None, venv: VecNormalize) -> list[str]:
    """Return the names of the wrappers above a ``VecNormalize`` that change what a policy sees."""
    names = []
    while isinstance(env, VecEnvWrapper) and env is not venv:
        if not isinstance(env, (VecTransposeImage, VecMonitor, VecCheckNan, VecVideoRecorder)):
            names.append(type(env).__name__)
        env = env.venv
    return names


def _running_moments(venv: VecNormalize) -> dict[str, RunningMeanStd]:
    moments = {"ret": venv.ret_rms}
    if venv.norm_obs:
        if isinstance(venv.obs_rms, dict):
            moments |= {f"obs:{key}": rms for key, rms in venv.obs_rms.items()}
        else:
            moments["obs"] = venv.obs_rms
    return moments


def place_to_save(path: Path) -> Path:
    """Check that a model can be saved, before it is trained.

    :param path: File to save to; ``.zip`` is added to a path without suffix, and missing folders
        are created
    :return: Path of the file
    :raises UserError: If the file cannot be written
    """
    path = resolve(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: {path.parent} cannot be created ({error.strerror})") from error
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f"--out: {path} cannot be written; allowed: a file in a writable folder")
    return path
