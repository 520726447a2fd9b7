"""Names in grid files and on the command line: classes, and arguments of their constructors."""

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from gymnasium.spaces import Dict, Space
from stable_baselines3.common import torch_layers
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import LinearSchedule
from torch import nn, optim
from torch.nn.modules import activation

from sb3_course.common.checkpoint import LIBRARIES
from sb3_course.common.errors import UserError, in_words, unknown

SET_BY_THE_RUN = frozenset(
    {"self", "env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model"}
)
"""Constructor arguments that a run sets itself."""
UNIONS = (Union, UnionType)
PLAIN = (bool, int, float, str, list, dict)


def find_algorithm(name: str) -> type[BaseAlgorithm]:
    """Find an algorithm's class by its name.

    :param name: Name of a class of this package, Stable-Baselines3 or sb3-contrib, or
        ``"module:Class"`` for any other class
    :return: Class of the algorithm
    :raises UserError: If there is no such class
    """
    if name in import_module("sb3_course").IMITATION:
        raise UserError(
            f"{name} learns from an expert: `sb3-course imitate`, or its class in Python"
        )
    known: dict[str, Any] = {}
    for library in LIBRARIES:
        if name in known:
            break  # the remaining libraries may not be installed
        module = import_module(library)
        known |= {n: _attribute(module, n) for n in module.__all__ if n not in known}
    algorithm: type[BaseAlgorithm] = find_class("algorithm", name, known, BaseAlgorithm)
    return algorithm


def _attribute(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name, None)
    except ImportError:  # the name needs an extra that is not installed
        return None


def hyper_parameters(algorithm: type[BaseAlgorithm]) -> dict[str, Any]:
    """Return the hyper-parameters that an algorithm's constructor takes.

    :param algorithm: Class of the algorithm; if its constructor takes ``**kwargs``, the arguments
        of its parent's constructor are included
    :return: Annotations by name, without what a run sets itself
    """
    return {name: p.annotation for name, p in constructor_parameters(algorithm).items()}


def constructor_parameters(algorithm: type[BaseAlgorithm]) -> dict[str, inspect.Parameter]:
    """Return the hyper-parameters of an algorithm's constructor, as its signature has them.

    :param algorithm: As in :func:`hyper_parameters`
    :return: Parameters by name, without what a run sets itself
    """
    found: dict[str, inspect.Parameter] = {}
    for cls in algorithm.__mro__:
        if "__init__" not in vars(cls):
            continue
        parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
        for p in parameters:
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                found.setdefault(p.name, p)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return {name: p for name, p in found.items() if name not in SET_BY_THE_RUN}


def kinds_of(annotation: Any) -> set[Any]:
    """Return what an annotation allows.

    :param annotation: Annotation of a parameter
    :return: Types beside None, without those of elements
    """
    kinds = get_args(annotation) if get_origin(annotation) in UNIONS else [annotation]
    return {get_origin(kind) or kind for kind in kinds} - {NoneType}


def _needed_kind(kinds: set[Any], given: Any) -> str | None:
    """Return what a parameter of some kinds needs if they are plain, and the value is no such."""
    if int in kinds and float not in kinds and isinstance(given, float):
        return "a whole number"
    if isinstance(given, PLAIN) and kinds and all(_is_of_python(kind) for kind in kinds):
        names = ("a class" if kind is type else f"an {kind.__name__}" for kind in kinds)
        return f"{' or '.join(sorted(names))}, which only Python can give"
    if kinds & {int, float} and Callable not in kinds and isinstance(given, LinearSchedule):
        return "a constant, not a schedule"
    if kinds & {int, float} and kinds <= {int, float, bool, Callable}:
        return "a number" if isinstance(given, (str, list, dict)) else None
    return "a dict" if kinds == {dict} and not isinstance(given, (dict, NoneType)) else None


def _is_of_python(kind: Any) -> bool:
    """Return whether a type's objects are a class of SB3's or its like, which no text names."""
    ours = ("stable_baselines3.", "sb3_")
    return kind is type or (isinstance(kind, type) and kind.__module__.startswith(ours))


def default_policy(algorithm: type[BaseAlgorithm], space: Space[Any] | None = None) -> str:
    """Return the name of the policy that an algorithm gets where none is given.

    :param algorithm: Algorithm class
    :param space: Observation space; None if it is not known
    :return: Its ``MultiInputPolicy`` for a Dict, and its ``MlpPolicy`` for any other space, or what
        the class has of that kind, such as RecurrentPPO's ``MlpLstmPolicy``
    """
    kind = "MultiInput" if isinstance(space, Dict) else "Mlp"
    names = [name for name in algorithm.policy_aliases if name.startswith(kind)]
    return names[0] if names else f"{kind}Policy"


def constructor_arguments(
    name: str, params: Mapping[str, Any], space: Space[Any] | None = None
) -> dict[str, Any]:
    """Check hyper-parameters against a constructor, and replace names in them by what they name.

    ==================================== =========================================================
    hyper-parameter                      names
    ==================================== =========================================================
    any                                  ``lin_0.05`` falls linearly from 0.05 to 0 over the run,
                                         as in RL Zoo
    ``policy``                           ``module:Class``, or a name of SB3's; without it
                                         :func:`default_policy`
    ``policy_kwargs.activation_fn``      a class of ``torch.nn``, such as ``Tanh``
    ``policy_kwargs.optimizer_class``    a class of ``torch.optim``, such as ``AdamW``, or SB3's
                                         ``RMSpropTFLike``
    ``…features_extractor_class``        a class of SB3's ``torch_layers``, such as ``NatureCNN``
    ==================================== =========================================================

    Any other class is named ``module:Class``.

    :param name: Name of the algorithm, as in :func:`find_algorithm`
    :param params: Hyper-parameters by name
    :param space: Observation space, if it is known, which decides the default policy
    :return: Keyword arguments of the constructor, including ``policy``
    :raises UserError: If a name is unknown, a number or dict is needed where there is none, or a
        schedule is given where the constructor takes none
    """
    algorithm = find_algorithm(name)
    allowed = hyper_parameters(algorithm)
    for key in params:
        if key not in allowed:
            raise UserError(unknown(f"hyper-parameter of {name}", key, allowed))
    arguments = {"policy": default_policy(algorithm, space), **with_schedules(params)}
    for key, given in arguments.items():
        kinds = kinds_of(allowed.get(key))
        whole = isinstance(given, float) and given.is_integer()
        if whole and int in kinds and float not in kinds:
            given = arguments[key] = int(given)  # as of 1e3
        needed = _needed_kind(kinds, given)
        if needed:
            raise UserError(f"{key} of {name} must be {needed}, got {params[key]!r}")
    policy, policies = arguments["policy"], algorithm.policy_aliases
    if ":" in str(policy):
        arguments["policy"] = find_class("policy", policy, {}, BasePolicy)
    elif isinstance(policy, str) and policies and policy not in policies:
        raise UserError(unknown(f"policy of {name}", policy, policies))
    if isinstance(arguments.get("train_freq"), list):
        # SB3 takes a tuple such as (1, "episode"), where YAML has a list.
        arguments["train_freq"] = tuple(arguments["train_freq"])
    if isinstance(arguments.get("policy_kwargs"), dict):
        arguments["policy_kwargs"] = {k: _part(k, v) for k, v in params["policy_kwargs"].items()}
    return arguments


def with_schedules(params: Mapping[str, Any]) -> dict[str, Any]:
    """Replace texts such as ``lin_0.05`` by the schedules that they mean.

    :param params: Hyper-parameters by name
    :return: Hyper-parameters by name
    :raises UserError: If such a text holds no number
    """
    return {name: _schedule(value) for name, value in params.items()}


def _schedule(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith("lin_"):
        return value
    try:
        return LinearSchedule(float(value.removeprefix("lin_")), 0.0, 1.0)
    except ValueError:
        raise UserError(
            f"{value!r} is not a schedule; allowed: lin_NUMBER, such as lin_3e-4"
        ) from None


def _part(key: str, value: Any) -> Any:
    """Find the class that an entry of ``policy_kwargs`` names."""
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

    :param kind: Kind of class, for error messages
    :param name: One of the known names, or ``"module:Class"``
    :param known: Objects by plain name, of which only subclasses of ``base`` count
    :param base: Required base class
    :return: Class that was found
    :raises UserError: If there is no such class
    """
    module, _, attribute = str(name).rpartition(":")
    if not module:
        classes = {n: c for n, c in known.items() if _derives(c, base) and c is not base}
        if name not in classes:
            raise UserError(unknown(kind, name, classes) + ", or module:Class")
        return classes[name]
    found = of_user(name, lambda: getattr(import_module(module), attribute))
    if not _derives(found, base):
        raise UserError(f"{name!r} is not a subclass of {base.__name__}")
    return found


def of_user(name: Any, find: Callable[[], Any]) -> Any:
    """Find something in a user's module, which executes it.

    :param name: What the user named, for error messages
    :param find: Function that imports and returns it
    :return: What was found
    :raises UserError: The module cannot be imported, or ends the program
    """
    try:
        return find()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also sys.exit, which would end this program without a word
        raise UserError(f"cannot import {str(name)[:200]!r}: {in_words(error)}") from error


def _derives(value: Any, base: type[Any]) -> bool:
    return inspect.isclass(value) and issubclass(value, base)
