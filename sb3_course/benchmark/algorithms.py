"""From a name in a grid file to an algorithm's class and constructor arguments."""

import inspect
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, TypeGuard

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from torch.nn.modules import activation

from sb3_course.benchmark.errors import UserError, unknown

LIBRARIES = ("sb3_course", "stable_baselines3", "sb3_contrib")
"""Where plain names are looked up; the first library that has the name gives the class."""

SET_BY_THE_RUN = frozenset(
    {"self", "env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model"}
)
"""Constructor arguments that a run sets itself."""


def find_algorithm(name: str) -> type[BaseAlgorithm]:
    """Find an algorithm's class.

    :param name: a class of this package, of Stable-Baselines3 or of sb3-contrib,
        or ``"module:Class"`` for one of your own
    :return: the class
    :raises UserError: if there is no such class
    """
    module, _, attribute = name.rpartition(":")
    if not module:
        return _find_plain(name)
    try:
        found = getattr(import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        raise UserError(f"cannot import {name!r}: {error}") from error
    if not _is_algorithm(found):
        raise UserError(f"{name!r} is no subclass of SB3's BaseAlgorithm")
    return found


def _find_plain(name: str) -> type[BaseAlgorithm]:
    for library in LIBRARIES:
        found = _attribute(import_module(library), name)
        if _is_algorithm(found):
            return found
    modules = [import_module(library) for library in LIBRARIES]
    allowed = {n for m in modules for n in m.__all__ if _is_algorithm(_attribute(m, n))}
    raise UserError(unknown("algorithm", name, allowed) + ", or module:Class")


def _attribute(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name, None)
    except ImportError:  # a name that needs an extra which is not installed
        return None


def _is_algorithm(value: Any) -> TypeGuard[type[BaseAlgorithm]]:
    return inspect.isclass(value) and issubclass(value, BaseAlgorithm)


def hyper_parameters(algorithm: type[BaseAlgorithm]) -> set[str]:
    """Name the hyper-parameters that an algorithm's constructor takes.

    :param algorithm: its class; where its constructor passes ``**kwargs`` on, so does this
    :return: names, without those that a run sets itself
    """
    names: set[str] = set()
    for cls in algorithm.__mro__:
        if "__init__" not in vars(cls):
            continue
        parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
        names |= {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names - SET_BY_THE_RUN


def constructor_arguments(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Check hyper-parameters against a constructor and resolve the names they hold.

    :param name: the algorithm, as in :func:`find_algorithm`
    :param params: hyper-parameters by name; ``policy_kwargs.activation_fn`` names a class of
        ``torch.nn``, such as ``Tanh``, and ``lin_0.05`` falls linearly from 0.05 to 0 over the run,
        as in RL Zoo
    :return: keyword arguments for the constructor, ``policy`` among them
    :raises UserError: if a name is unknown
    """
    allowed = hyper_parameters(find_algorithm(name))
    for key in params:
        if key not in allowed:
            raise UserError(unknown(f"hyper-parameter of {name}", key, allowed))
    arguments = {"policy": "MlpPolicy", **{key: _schedule(v) for key, v in params.items()}}
    policy_kwargs = params.get("policy_kwargs") or {}
    if "activation_fn" in policy_kwargs:
        function = _activation(policy_kwargs["activation_fn"])
        arguments["policy_kwargs"] = {**policy_kwargs, "activation_fn": function}
    return arguments


def _schedule(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith("lin_"):
        return value
    try:
        return LinearSchedule(float(value.removeprefix("lin_")), 0.0, 1.0)
    except ValueError:
        raise UserError(
            f"{value!r} is no schedule; allowed: lin_NUMBER, such as lin_3e-4"
        ) from None


def _activation(name: Any) -> Any:
    if name not in activation.__all__:
        raise UserError(unknown("activation function", name, activation.__all__))
    return getattr(activation, name)
