"""Find and build the algorithms that grid files and the command line name."""

import inspect
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from importlib import import_module
from importlib.util import find_spec
from operator import getitem
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import gymnasium
import torch as th
from stable_baselines3.common import torch_layers
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import LinearSchedule, set_random_seed
from stable_baselines3.common.vec_env import VecEnv
from torch import nn, optim
from torch.nn.modules import activation

from sb3_course.common.checkpoint import LIBRARIES, remember_environment
from sb3_course.common.errors import Key, UserError, in_words, unknown
from sb3_course.envs.backends import Backend
from sb3_course.envs.config import EnvConfig
from sb3_course.envs.make import make_vec_env

SET_BY_THE_RUN = frozenset(
    {"self", "env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model"}
)
"""Constructor arguments that a run sets itself."""
UNIONS = (Union, UnionType)


def find_algorithm(name: str) -> type[BaseAlgorithm]:
    """Find an algorithm's class by its name.

    :param name: Name of a class of this package, Stable-Baselines3 or sb3-contrib, or
        ``"module:Class"`` for any other class
    :return: Class of the algorithm
    :raises UserError: If there is no such class
    """
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
    annotations: dict[str, Any] = {}
    for cls in algorithm.__mro__:
        if "__init__" not in vars(cls):
            continue
        parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
        for p in parameters:
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                annotations.setdefault(p.name, p.annotation)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return {name: kind for name, kind in annotations.items() if name not in SET_BY_THE_RUN}


def _needed_kind(annotation: Any, given: Any) -> str | None:
    """Return what a parameter needs if it is annotated as a number or dict and given neither."""
    kinds = set(get_args(annotation) if get_origin(annotation) in UNIONS else [annotation])
    kinds = {get_origin(kind) or kind for kind in kinds} - {NoneType}
    if kinds & {int, float} and Callable not in kinds and isinstance(given, LinearSchedule):
        return "a constant, not a schedule"
    if kinds & {int, float} and kinds <= {int, float, bool, Callable}:
        return "a number" if isinstance(given, (str, list, dict)) else None
    return "a dict" if kinds == {dict} and not isinstance(given, (dict, NoneType)) else None


def constructor_arguments(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Check hyper-parameters against a constructor, and replace names in them by what they name.

    ==================================== =========================================================
    hyper-parameter                      names
    ==================================== =========================================================
    any                                  ``lin_0.05`` falls linearly from 0.05 to 0 over the run,
                                         as in RL Zoo
    ``policy``                           ``module:Class``, or a name of SB3's
    ``policy_kwargs.activation_fn``      a class of ``torch.nn``, such as ``Tanh``
    ``policy_kwargs.optimizer_class``    a class of ``torch.optim``, such as ``AdamW``, or SB3's
                                         ``RMSpropTFLike``
    ``…features_extractor_class``        a class of SB3's ``torch_layers``, such as ``NatureCNN``
    ==================================== =========================================================

    Any other class is named ``module:Class``.

    :param name: Name of the algorithm, as in :func:`find_algorithm`
    :param params: Hyper-parameters by name
    :return: Keyword arguments of the constructor, including ``policy``
    :raises UserError: If a name is unknown, a number or dict is needed where there is none, or a
        schedule is given where the constructor takes none
    """
    allowed = hyper_parameters(find_algorithm(name))
    for key in params:
        if key not in allowed:
            raise UserError(unknown(f"hyper-parameter of {name}", key, allowed))
    arguments = {"policy": "MlpPolicy", **with_schedules(params)}
    for key, given in arguments.items():
        needed = _needed_kind(allowed.get(key), given)
        if needed:
            raise UserError(f"{key} of {name} must be {needed}, got {params[key]!r}")
    if ":" in str(arguments["policy"]):
        arguments["policy"] = find_class("policy", arguments["policy"], {}, BasePolicy)
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
    found = _of_user(name, lambda: getattr(import_module(module), attribute, None))
    if not _derives(found, base):
        raise UserError(f"{name!r} is not a subclass of {base.__name__}")
    return found


def _of_user(name: Any, find: Callable[[], Any]) -> Any:
    """Find something in a user's module, which executes it."""
    try:
        return find()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also sys.exit, which would end this program without a word
        raise UserError(f"cannot import {str(name)[:200]!r}: {in_words(error)}") from error


def _derives(value: Any, base: type[Any]) -> bool:
    return inspect.isclass(value) and issubclass(value, base)


def refusal(name: str, params: Mapping[str, Any], env: VecEnv) -> str | None:
    """Return why an algorithm cannot be built, if it cannot.

    :param name: Name of the algorithm, as in a grid
    :param params: Hyper-parameters, as in a grid
    :param env: Environment to build it with; no step is taken
    :return: Error message in one line, or None if the algorithm can be built
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run will repeat them
            arguments = constructor_arguments(name, params)
            find_algorithm(name)(env=env, seed=0, device="cpu", verbose=0, **arguments)
    except (Exception, SystemExit) as error:
        return in_words(error)
    return None


def at_fault(name: str, params: Mapping[str, Any], env: VecEnv) -> Key:
    """Find the innermost hyper-parameter without which an algorithm can be built.

    :param name: Name of the algorithm, as in a grid
    :param params: Hyper-parameters that its constructor rejects
    :param env: Environment to build it with
    :return: Key of the hyper-parameter, such as ``("policy_kwargs", "net_arch")``, or ``()`` if
        there is none
    """
    settings = params.get("policy_kwargs")
    inner = [("policy_kwargs", key) for key in settings] if isinstance(settings, dict) else []
    for key in [*inner, *((key,) for key in params)]:
        if refusal(name, _without(params, key), env) is None:
            return key
    return ()


def _without(params: Mapping[str, Any], key: Key) -> dict[str, Any]:
    head, *rest = key
    kept = {name: value for name, value in params.items() if name != head}
    return {**kept, str(head): _without(params[str(head)], tuple(rest))} if rest else kept


def value(params: Any, key: Key) -> Any:
    """Look up a hyper-parameter's value.

    :param params: Hyper-parameters
    :param key: Key of the hyper-parameter, as returned by :func:`at_fault`
    :return: Value at the key
    """
    return reduce(getitem, key, params)


def build(
    name: str,
    params: Mapping[str, Any],
    environment: EnvConfig | str,
    n_envs: int,
    seed: int,
    backend: Backend,
    normalize: bool | dict[str, Any],
    tensorboard: Path | None = None,
    verbose: int = 0,
    device: str = "cpu",
) -> BaseAlgorithm:
    """Make a model and the environments that it trains in.

    :param name: Name of the algorithm, as in a grid
    :param params: Hyper-parameters, as in a grid
    :param environment: Environment, with its settings
    :param n_envs: Number of environments
    :param seed: Seed of all random numbers
    :param backend: Backend of :func:`sb3_course.make_vec_env`
    :param normalize: Whether to normalize observations and rewards, or settings of SB3's
        ``VecNormalize``
    :param tensorboard: Folder for TensorBoard's logs, or None
    :param verbose: Verbosity, as in SB3
    :param device: Device of the networks, as in SB3
    :return: Model that is ready to train
    :raises UserError: If a name is unknown, the environment cannot be made here, or the
        constructor rejects the hyper-parameters; the message names the one at fault
    """
    config = EnvConfig.of(environment)
    check_environment(config.id)
    arguments = constructor_arguments(name, params)
    set_random_seed(seed)
    with being_made(config):
        env = make_vec_env(config, n_envs, seed, backend, normalize, verbose=verbose)
    logs = {} if tensorboard is None else {"tensorboard_log": str(tensorboard)}
    kwargs = {"seed": seed, "device": device, "verbose": verbose, **logs, **arguments}
    try:
        model = find_algorithm(name)(env=env, **kwargs)
    except (Exception, SystemExit) as error:
        key = at_fault(name, params, env)
        env.close()
        given = f"{'.'.join(map(str, key))}: given {value(params, key)!r}; " if key else ""
        raise UserError(f"{given}{name} refuses it: {in_words(error)}") from error
    remember_environment(model, config)
    return model


@contextmanager
def being_made(config: EnvConfig) -> Iterator[None]:
    """Explain why an environment cannot be made, within a context.

    :param config: Environment that is made in the context
    :yield: Nothing
    :raises UserError: If anything goes wrong there
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{config.name} cannot be made here: {in_words(error)}") from error


def check_device(name: str) -> None:
    """Check that PyTorch can compute on a device of this machine.

    :param name: Name of the device, or ``"auto"``
    :raises UserError: If it cannot; names the devices that are there
    """
    try:
        th.zeros(1, device="cpu" if name == "auto" else name).item()
    except Exception as error:
        count = th.cuda.device_count()
        here = ["auto", "cpu", *(["cuda"] if count else []), *(f"cuda:{i}" for i in range(count))]
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"device: given {name!r}; allowed here: {', '.join(here)} ({reason})"
        ) from error


def check_environment(name: Any) -> None:
    """Check that Gymnasium knows an environment.

    :param name: Gymnasium id, or ``module:id``
    :raises UserError: If it does not, or the module cannot be imported
    """
    module, _, plain = str(name).rpartition(":")
    try:
        if module:
            _of_user(module, lambda: import_module(module))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a newer version of the environment exists
            gymnasium.spec(plain)
    except gymnasium.error.Error as error:
        own = "" if module else f"; an environment of your own names its module: my_module:{plain}"
        raise UserError(unknown("environment", name, gymnasium.registry) + own) from error
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{name!r} cannot be looked up: {in_words(error)}") from error


def place_to_log(folder: Path, env_id: str) -> Path:
    """Return an environment's folder of TensorBoard logs, where SB3 numbers an algorithm's runs.

    :param folder: Folder for all environments
    :param env_id: Gymnasium id
    :return: Subfolder for this environment
    :raises UserError: If TensorBoard is not installed, or the folder cannot be written
    """
    if find_spec("tensorboard") is None:
        raise UserError("--tensorboard needs TensorBoard: pip install 'sb3-course[tensorboard]'")
    place = folder / re.sub(r"[/:]", "-", env_id)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise UserError(f"--tensorboard: {place} cannot be written ({error.strerror})") from error
    return place
