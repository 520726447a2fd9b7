"""Build models from what grid files and the command line say, and tell early what cannot be."""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from importlib import import_module
from importlib.util import find_spec
from operator import getitem
from pathlib import Path
from typing import Any

import gymnasium
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.common.errors import Key, UserError, in_words, unknown
from sb3_course.common.files import check_can_write_into
from sb3_course.envs.backends import Backend
from sb3_course.envs.config import EnvConfig
from sb3_course.envs.make import make_vec_env
from sb3_course.registry import constructor_arguments, find_algorithm, of_user


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
            arguments = constructor_arguments(name, params, env.observation_space)
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
    constructor_arguments(name, params)  # mistakes are told before an environment is made
    set_random_seed(seed)
    with being_made(config):
        env = make_vec_env(config, n_envs, seed, backend, normalize, verbose=verbose)
    arguments = constructor_arguments(name, params, env.observation_space)
    logs = {} if tensorboard is None else {"tensorboard_log": str(tensorboard)}
    kwargs = {"seed": seed, "device": device, "verbose": verbose, **logs, **arguments}
    try:
        return find_algorithm(name)(env=env, **kwargs)
    except (Exception, SystemExit) as error:
        key = at_fault(name, params, env)
        env.close()
        given = f"{'.'.join(map(str, key))}: given {value(params, key)!r}; " if key else ""
        raise UserError(f"{given}{name} refuses it: {in_words(error)}") from error


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
            of_user(module, lambda: import_module(module))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a newer version of the environment exists
            gymnasium.spec(plain)
    except gymnasium.error.Error as error:
        own = "" if module else f"; an environment of your own names its module: my_module:{plain}"
        known = [f"{module}:{each}" if module else each for each in gymnasium.registry]
        raise UserError(unknown("environment", name, known) + own) from error
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{name!r} cannot be looked up: {in_words(error)}") from error


def check_logs(folder: Path) -> None:
    """Check that TensorBoard logs can be written, before anything is trained.

    :param folder: Folder of the logs; missing ones are created
    :raises UserError: If TensorBoard is not installed, or the folder cannot be written
    """
    if find_spec("tensorboard") is None:
        raise UserError("--tensorboard needs TensorBoard: pip install 'sb3-course[tensorboard]'")
    check_can_write_into("--tensorboard", folder)


def place_to_log(folder: Path, env_id: str) -> Path:
    """Return an environment's folder of TensorBoard logs, where SB3 numbers an algorithm's runs.

    :param folder: Folder for all environments
    :param env_id: Gymnasium id
    :return: Subfolder for this environment
    :raises UserError: If TensorBoard is not installed, or the folder cannot be written
    """
    place = folder / re.sub(r"[/:]", "-", env_id)
    check_logs(place)
    return place
