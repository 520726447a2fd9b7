"""One gradient step down a loss, for parameters of any policy."""

import math

import torch as th
from torch import nn


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
    loss: th.Tensor,
    parameters: list[nn.Parameter],
    optimizer: th.optim.Optimizer,
) -> float:
    """Take one gradient step down a loss.

    :param loss: Loss, a scalar
    :param parameters: Parameters to differentiate the loss by; none if all are frozen
    :param optimizer: Optimizer of these parameters
    :return: Value of the loss before the step
    :raises FloatingPointError: The loss is not finite; the step is not taken
    """
    value = finite_loss(loss.item())
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if not parameter.requires_grad:
                parameter.grad = None  # frozen since its last step, which left a gradient
    if not parameters:
        return value
    gradients = th.autograd.grad(loss, parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.contiguous()  # fused optimizers ignore strides
    optimizer.step()
    return value
