"""From a name in a grid file to an algorithm's class and constructor arguments."""

import inspect
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from stable_baselines3.common import torch_layers
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import LinearSchedule
from torch import nn, optim
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
    known: dict[str, Any] = {}
    for library in LIBRARIES:
        if name in known:
            break  # the others may not be installed
        module = import_module(library)
        known |= {n: _attribute(module, n) for n in module.__all__ if n not in known}
    algorithm: type[BaseAlgorithm] = find_class("algorithm", name, known, BaseAlgorithm)
    return algorithm


def _attribute(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name, None)
    except ImportError:  # a name that needs an extra which is not installed
        return None


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

    ==================================== =========================================================
    a hyper-parameter                    a name in it
    ==================================== =========================================================
    any                                  ``lin_0.05`` falls linearly from 0.05 to 0 over the run,
                                         as in RL Zoo
    ``policy``                           ``module:Class``; other names are SB3's
    ``policy_kwargs.activation_fn``      a class of ``torch.nn``, such as ``Tanh``
    ``policy_kwargs.optimizer_class``    a class of ``torch.optim``, such as ``AdamW``, or SB3's
                                         ``RMSpropTFLike``
    ``…features_extractor_class``        a class of SB3's ``torch_layers``, such as ``NatureCNN``
    ==================================== =========================================================

    Classes of your own are named ``module:Class``.

    :param name: the algorithm, as in :func:`find_algorithm`
    :param params: hyper-parameters by name
    :return: keyword arguments for the constructor, ``policy`` among them
    :raises UserError: if a name is unknown
    """
    allowed = hyper_parameters(find_algorithm(name))
    for key in params:
        if key not in allowed:
            raise UserError(unknown(f"hyper-parameter of {name}", key, allowed))
    arguments = {"policy": "MlpPolicy", **{key: _schedule(v) for key, v in params.items()}}
    if ":" in str(arguments["policy"]):
        arguments["policy"] = find_class("policy", arguments["policy"], {}, BasePolicy)
    if isinstance(arguments.get("train_freq"), list):
        arguments["train_freq"] = tuple(arguments["train_freq"])  # (1, "episode"): YAML has lists
    if isinstance(arguments.get("policy_kwargs"), dict):
        arguments["policy_kwargs"] = {k: _part(k, v) for k, v in params["policy_kwargs"].items()}
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


def _part(key: str, value: Any) -> Any:
    """Find the class that a setting of the policy names."""
    if key == "activation_fn":
        names = {name: getattr(activation, name) for name in activation.__all__}
        return find_class("activation function", value, names, nn.Module)
    if key == "optimizer_class":
        names = {**vars(optim), "RMSpropTFLike": RMSpropTFLike}
        return find_class("optimizer", value, names, optim.Optimizer)
    if key == "features_extractor_class":
        return find_class("features extractor", value, vars(torch_layers), BaseFeaturesExtractor)
    return value


def find_class(kind: str, name: Any, known: Mapping[str, Any], base: type[Any]) -> Any:
    """Find a class by its name.

    :param kind: what it is, for messages
    :param name: one of the known names, or ``"module:Class"``
    :param known: what there is by plain names; only subclasses of ``base`` count
    :param base: what the class has to derive from
    :return: the class
    :raises UserError: if there is no such class
    """
    module, _, attribute = str(name).rpartition(":")
    if not module:
        classes = {n: c for n, c in known.items() if _derives(c, base) and c is not base}
        if name not in classes:
            raise UserError(unknown(kind, name, classes) + ", or module:Class")
        return classes[name]
    try:
        found = getattr(import_module(module), attribute, None)
    except Exception as error:
        raise UserError(f"cannot import {name!r}: {type(error).__name__}: {error}") from error
    if not _derives(found, base):
        raise UserError(f"{name!r} is no subclass of {base.__name__}")
    return found


def _derives(value: Any, base: type[Any]) -> bool:
    return inspect.isclass(value) and issubclass(value, base)
