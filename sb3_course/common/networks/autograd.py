"""Gradient steps down a loss, for parameters of any policy."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch as th
from stable_baselines3.common.distributions import Distribution
from torch import nn

from sb3_course.common.networks.step import forget_others


class PolicyGradient(NamedTuple):
    """A policy gradient, and the numbers that are logged beside it.

    ============  =======  =====================================================================
    variable      shape    meaning
    ============  =======  =====================================================================
    ``loss``      ()       -1/M Σ_t m_t log π_θ(a_t|s_t)
    ``entropy``   ()       mean entropy H of π_θ(·|s_t), in nats
    ``gradient``  (P,)     ∇_θ of c_H H - ``loss``, or of c_H H alone, to ascend
    ============  =======  =====================================================================
    """

    loss: th.Tensor
    entropy: th.Tensor
    gradient: th.Tensor


def total(parts: Sequence[PolicyGradient]) -> PolicyGradient:
    """Sum what parts of a batch contribute, from the last to the first, as autograd does.

    :param parts: Parts, at least one, that are divided by the batch's number of transitions
    :return: Sum of each field
    """
    return PolicyGradient(*(sum(f[-2::-1], f[-1]) for f in zip(*parts, strict=True)))


def finite_loss(value: float) -> float:
    """Check the value of a loss.

    :param value: Loss
    :return: The loss
    :raises FloatingPointError: It is not finite
    """
    if not math.isfinite(value):
        raise FloatingPointError(
            f"a loss is {value}: look at the scale of the rewards, or of the demonstrations, and "
            "at the learning rates"
        )
    return value


def descend(
    losses: Iterable[th.Tensor], parameters: list[nn.Parameter], optimizer: th.optim.Optimizer
) -> float:
    """Take one gradient step down a sum of losses, whose graphs exist one at a time.

    :param losses: Terms of the loss, scalars, made one by one
    :param parameters: Parameters to differentiate the loss by; none if all are frozen
    :param optimizer: Optimizer of these parameters
    :return: Value of the loss before the step
    :raises FloatingPointError: The loss is not finite; the step is not taken
    """
    value, gradients = 0.0, list[th.Tensor]()
    for loss in losses:
        value = finite_loss(value + loss.item())
        gradients = add_gradients(gradients, loss, parameters)
        del loss
    forget_others(optimizer, parameters)  # also what was frozen since a step left its gradient
    if not parameters:
        return value
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.contiguous()  # fused optimizers ignore strides
    optimizer.step()
    return value


def add_gradients(
    gradients: list[th.Tensor], loss: th.Tensor, parameters: list[nn.Parameter]
) -> list[th.Tensor]:
    """Add the gradients of a loss to those of the losses before it, and free its graph.

    :param gradients: Sum of the gradients so far, which is changed; empty before the first loss
    :param loss: Loss, a scalar
    :param parameters: Parameters to differentiate the loss by
    :return: Sum of the gradients by each parameter; 0 by those that no loss depends on
    """
    if not parameters:
        return gradients
    new = th.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    if not gradients:
        return list(new)
    for total, gradient in zip(gradients, new, strict=True):
        total += gradient
    return gradients


def mean_entropy(distribution: Distribution, log_prob: th.Tensor) -> th.Tensor:
    """Return the mean entropy of a policy in nats.

    A squashed Gaussian's has no formula: it is estimated by -log π(a|s), as in SB3, and has no
    gradient.

    :param distribution: Distributions at B states
    :param log_prob: log π(a|s) of an action sampled at each of them, of shape (B,)
    :return: Mean entropy, a scalar
    """
    entropy = distribution.entropy()
    return (-log_prob.detach() if entropy is None else entropy).mean()
