"""What a model was trained with, as plain data."""

import inspect
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from sb3_course.common.checkpoint import Members, checked_header, sb3_data
from sb3_course.common.tracking.code import versions
from sb3_course.registry import hyper_parameters


def installed() -> dict[str, str]:
    """Return the versions of Python and of the packages on which returns depend."""
    return {name: number for name, number in versions().items() if number is not None}


def configuration(model: BaseAlgorithm, members: Members) -> dict[str, Any]:
    """Return what a model was trained with.

    :param model: Model without environment, as
        :func:`~sb3_course.loading.load_to_predict` loads it
    :param members: Content of its file
    :return: Class, policy, environment, all hyper-parameters, normalization and versions, as plain
        data; what JSON lacks is written as Python would
    """
    header, data = checked_header(members), sb3_data(members)
    setup = data.get("training_setup") or {}
    started = {key: setup[key] for key in ("backend", "timesteps") if key in setup}
    return {
        "algorithm": type(model).__name__,
        "policy": policy_name(model),
        "env": header.get("env"),
        "env_settings": plain(header.get("env_settings", {})),
        **({"env_unknown": plain(unknown)} if (unknown := header.get("env_unknown")) else {}),
        "n_envs": model.n_envs,
        "seed": model.seed,
        **started,
        "num_timesteps": model.num_timesteps,
        "hyper_parameters": _hyper_parameters(model),
        "vec_normalize": plain(header.get("vec_normalize")),
        "versions": _of_training(header, members),
    }


def policy_name(model: BaseAlgorithm) -> str:
    """Return a policy's name as the constructor takes it.

    :param model: Model
    :return: SB3's alias, such as ``"MlpPolicy"``, or ``"module:Class"``
    """
    cls = type(model.policy)
    aliases = [name for name, known in model.policy_aliases.items() if known is cls]
    return aliases[0] if aliases else f"{cls.__module__}:{cls.__qualname__}"


def _hyper_parameters(model: BaseAlgorithm) -> dict[str, Any]:
    """Return the constructor's arguments, in its order, as far as the model keeps them."""
    names = [
        name
        for cls in type(model).__mro__
        if "__init__" in vars(cls)
        for name in inspect.signature(vars(cls)["__init__"]).parameters
    ]
    taken = hyper_parameters(type(model)).keys() - {"policy"}
    values = vars(model)
    return {
        name: plain(values[key])
        for name in dict.fromkeys(names)
        if name in taken
        for key in (name, f"_{name}")
        if key in values
    }


def plain(value: Any) -> Any:
    """Return a value as JSON has it, or else as Python would write it.

    :param value: Value of a hyper-parameter
    :return: Numbers, text and containers as they are, schedules as ``lin_0.05`` where RL Zoo can
        write them so, classes and functions by their names
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, FloatSchedule):
        return plain(value.value_schedule)
    if isinstance(value, ConstantSchedule):
        return plain(value.val)
    if isinstance(value, LinearSchedule) and (value.end, value.end_fraction) == (0.0, 1.0):
        return f"lin_{float(value.start)!r}"
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}:{value.__qualname__}"
    text = repr(value)
    return type(value).__name__ if re.search(r"\bat 0x", text) else text  # an address says nothing


def _of_training(header: Mapping[str, Any], members: Members) -> dict[str, str]:
    """Return the versions that the file was saved with, without the machine's name of its system.

    SB3 keeps them as lines ``- Python: 3.11.7``.
    """
    lines = members.get("system_info.txt", b"").decode(errors="replace").splitlines()
    found = [re.fullmatch(r"- ([\w -]+): ([\w.+-]{1,40})", line.strip()) for line in lines]
    named = {match[1].lower(): match[2] for match in found if match}
    named.pop("gpu enabled", None)
    own = {"sb3-course": str(header["version"])} if "version" in header else {}
    return own | named
