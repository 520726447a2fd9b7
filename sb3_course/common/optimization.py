"""Regression of the value function onto targets that are passed in."""

import math
from collections.abc import Iterator

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn
from torch.nn import functional as F

from sb3_course.collection.observations import TensorObs, select


def fit_critic(
    policy: ActorCriticPolicy,
    critic: list[nn.Parameter],
    optimizer: th.optim.Optimizer,
    obs: TensorObs,
    targets: th.Tensor,
    n_updates: int,
    batch_size: int | None = None,
) -> float:
    r"""Fit V to targets by so many gradient steps on the mean squared error.

    .. math:: L(\phi) = \frac{1}{B} \sum_i \left( V_\phi(s_i) - y_i \right)^2

    Only the critic's own parameters get a gradient. A features extractor that the actor shares
    stays as it is.

    :param policy: The policy, whose ``predict_values`` is V_φ
    :param critic: The critic's parameters φ
    :param optimizer: Their optimizer
    :param obs: s_i, of shape (M, …)
    :param targets: y_i, of shape (M,)
    :param n_updates: Gradient steps
    :param batch_size: Transitions B of a step, drawn without replacement until all were seen; None
        for the whole batch each time
    :return: Mean loss over the steps
    :raises FloatingPointError: The loss is not finite; the step is not taken
    """
    total = 0.0
    for indices in minibatches(len(targets), n_updates, batch_size, targets.device):
        values = policy.predict_values(select(obs, indices)).flatten()
        total += descend(F.mse_loss(values, targets[indices]), critic, optimizer)
    return total / n_updates


def descend(
    loss: th.Tensor, parameters: list[nn.Parameter], optimizer: th.optim.Optimizer
) -> float:
    """Take one step down a loss.

    :param loss: A scalar
    :param parameters: The only ones that get a gradient
    :param optimizer: Their optimizer
    :return: The loss
    :raises FloatingPointError: It is not finite; the step is not taken
    """
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(
            f"a loss is {value}: look at the rewards' scale, or the demonstrations', and at the "
            "learning rates"
        )
    gradients = th.autograd.grad(loss, parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.contiguous()  # fused optimizers read it as it lies
    optimizer.step()
    return value


def minibatches(
    n: int,
    n_updates: int,
    batch_size: int | None,
    device: th.device,
    generator: th.Generator | None = None,
) -> Iterator[th.Tensor | slice]:
    """Yield the indices of so many minibatches, reshuffled each time that the data are used up.

    :param n: Number of transitions
    :param n_updates: Number of minibatches
    :param batch_size: Their size; None, or at least n, for all transitions each time
    :param device: Where the indices live
    :param generator: What shuffles, on the same device; None for torch's global one
    :return: Index tensors of shape (batch_size,), or slices that take everything
    """
    if batch_size is None or batch_size >= n:
        yield from [slice(None)] * n_updates
        return
    order, position = th.randperm(n, device=device, generator=generator), 0
    for _ in range(n_updates):
        if position + batch_size > n:
            order, position = th.randperm(n, device=device, generator=generator), 0
        yield order[position : position + batch_size]
        position += batch_size
