"""Minibatches of a regression, and the state of an optimizer."""

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import recursive_getattr
from torch import nn


def minibatches(
    n: int,
    n_updates: int,
    batch_size: int | None,
    device: th.device,
    generator: th.Generator | None = None,
) -> Iterator[th.Tensor | slice]:
    """Yield the indices of minibatches, reshuffled each time that too few are left for another.

    :param n: Number of transitions
    :param n_updates: Number of minibatches
    :param batch_size: Size of a minibatch; None, or at least n, for all transitions each time
    :param device: Device of the indices
    :param generator: Random generator of that device; None for PyTorch's own
    :yield: Index tensor of shape (batch_size,), or a slice that selects everything
    """
    if batch_size is None or batch_size >= n:
        yield from [slice(None)] * n_updates
    else:
        position = n
        for _ in range(n_updates):
            if position + batch_size > n:
                order, position = th.randperm(n, device=device, generator=generator), 0
            yield order[position : position + batch_size]
            position += batch_size


def fitting_states(model: BaseAlgorithm, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the states that optimizers can take, their own where a given one does not fit.

    :param model: Model
    :param given: Weights and states by name, as of SB3's ``get_parameters``
    :return: States of the optimizers among them, by name
    """
    states = {}
    for name, state in given.items():
        optimizer = recursive_getattr(model, name, None)
        if isinstance(optimizer, th.optim.Optimizer):
            if not restore(optimizer, state):
                warnings.warn(
                    f"{name} stays as it is: the given state is of another optimizer class or of "
                    "other parameters; if you had replaced that one, put it there again",
                    stacklevel=3,
                )
            states[name] = optimizer.state_dict()
    return states


def restore(optimizer: th.optim.Optimizer, state: Mapping[str, Any]) -> bool:
    """Restore a stored state of an optimizer, unless that is of another kind.

    :param optimizer: Optimizer; unchanged if the state does not fit
    :param state: State of an optimizer, as of its ``state_dict``
    :return: Whether it fits: as many groups of as many parameters, with all options that are needed
    """
    own = optimizer.state_dict()
    options = [group.keys() for group in own["param_groups"]]
    with suppress(ValueError, KeyError):  # another number of groups or parameters
        optimizer.load_state_dict(dict(state))  # which completes what older versions lack
        groups = zip(options, optimizer.param_groups, strict=True)
        if all(keys <= group.keys() for keys, group in groups) and _can_step(optimizer):
            return True
    optimizer.load_state_dict(own)
    return False


def _can_step(optimizer: th.optim.Optimizer) -> bool:
    """Return whether the moments are those that the optimizer's step needs, which a copy tries."""
    trial = copy.deepcopy(optimizer)
    for group in trial.param_groups:
        for parameter in group["params"]:
            parameter.grad = th.zeros_like(parameter)
    try:
        trial.step()
    except (KeyError, RuntimeError, TypeError):
        return False
    return True


def adopt(optimizer: th.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    """Add the parameters that a policy has gained to an optimizer, and keep those it has.

    :param optimizer: Optimizer
    :param parameters: All parameters that it is to train
    """
    held = {p for group in optimizer.param_groups for p in group["params"]}
    if gained := [p for p in parameters if p not in held]:
        optimizer.add_param_group({"params": gained})
