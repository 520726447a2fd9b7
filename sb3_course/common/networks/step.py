"""The step of an optimizer down a gradient that was computed by formula.

It is the optimizer's own kernel on the optimizer's own state: the parameters come out the same to
the last bit.
"""

import math
from collections.abc import Sequence
from operator import is_
from typing import Any

import torch as th
from torch import nn
from torch.optim import optimizer as global_hooks

FUSED_STEPS = {th.optim.Adam: th._fused_adam_, th.optim.AdamW: th._fused_adamw_}
"""Kernels that ``Optimizer.step`` calls after checks that cost several times as much."""
DECOUPLED = "decoupled_weight_decay"
KNOWN_OPTIONS = {
    *("params", "lr", "initial_lr", "betas", "eps", "weight_decay", DECOUPLED, "maximize"),
    *("amsgrad", "foreach", "capturable", "differentiable", "fused"),
}
"""Options of these optimizers that the kernels take, or that change nothing here."""


def views_like(flat: th.Tensor, parameters: Sequence[nn.Parameter]) -> list[th.Tensor]:
    """Return the parts of a vector that belong to parameters, as views of their shapes.

    :param flat: Vector of shape (P,)
    :param parameters: Parameters, of P numbers
    :return: One view for each parameter
    """
    parts = th.split(flat, [p.numel() for p in parameters])
    return [part.view(p.shape) for part, p in zip(parts, parameters, strict=True)]


class Step:
    """A gradient that is computed by formula, and the step of an optimizer down it.

    ==============  ============================================================
    variable        meaning
    ==============  ============================================================
    ``gradient``    ∇L, of shape (P,)
    ``gradients``   its parts, the ``grad`` of each parameter
    ==============  ============================================================

    :param parameters: Parameters, float32 and on one device
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        sizes = [p.numel() for p in self.parameters]
        self.gradient = self.parameters[0].new_zeros(sum(sizes), requires_grad=False)
        self.gradients = views_like(self.gradient, self.parameters)
        self._states: list[dict[str, th.Tensor]] = []
        self._own_states: list[dict[str, th.Tensor]] = []
        self._counts, self._steps = self.gradient, list[th.Tensor]()
        self._values = [p.detach() for p in self.parameters]
        self._places = [p.data_ptr() for p in self.parameters]

    @property
    def current(self) -> bool:
        """Whether the parameters still have the memory that they had."""
        return [p.data_ptr() for p in self.parameters] == self._places

    @property
    def trainable_gradient(self) -> th.Tensor:
        """The gradient by the parameters that are not frozen, flat."""
        if all(p.requires_grad for p in self.parameters):
            return self.gradient
        pairs = zip(self.parameters, self.gradients, strict=True)
        return th.cat([self.gradient[:0], *(g.view(-1) for p, g in pairs if p.requires_grad)])

    def take(
        self, optimizer: th.optim.Optimizer, max_grad_norm: float | None = None
    ) -> float | None:
        """Take one step of an optimizer down ``gradient``.

        :param optimizer: Optimizer of the parameters
        :param max_grad_norm: Maximum norm of the gradient; None for no clipping
        :return: Norm of the gradient before clipping; None where it is not clipped
        :raises FloatingPointError: The norm is not finite; the step is not taken
        """
        trainable = [p.requires_grad for p in self.parameters]
        if not all(trainable):
            for view, is_trainable in zip(self.gradients, trainable, strict=True):
                if not is_trainable:
                    view.zero_()
        norm = None
        if max_grad_norm is not None:
            norm = finite_norm(self.gradient.norm().item())
            self.gradient.mul_(min(1.0, max_grad_norm / (norm + 1e-6)))
        if all(trainable) and self.current and is_fused(optimizer) and self._has_state(optimizer):
            self._fused(optimizer)
        else:
            self._show_gradients()
            forget_others(optimizer, self.parameters)
            optimizer.step()
        return norm

    def _show_gradients(self) -> None:
        """Make ``gradients`` the ``grad`` of each parameter that is not frozen."""
        for p, view in zip(self.parameters, self.gradients, strict=True):
            p.grad = view if p.requires_grad else None

    def _has_state(self, optimizer: th.optim.Optimizer) -> bool:
        """Whether every parameter has moments, which the optimizer's first step makes."""
        states = list(optimizer.state.values())
        if not (self._states and same(states, self._states)):
            own = [optimizer.state[p] for p in self.parameters if p in optimizer.state]
            if len(own) < len(self.parameters) or not all(own):
                return False
            self._states, self._own_states = states, own
        return True

    def _count(self) -> list[th.Tensor]:
        """Add 1 to the number of steps of each parameter, all of which are views of one tensor."""
        steps = [state["step"] for state in self._own_states]
        if not same(steps, self._steps):
            self._counts = th.stack(steps)
            steps = self._steps = list(self._counts.unbind())
            for state, step in zip(self._own_states, steps, strict=True):
                state["step"] = step
        self._counts.add_(1)
        return steps

    def _fused(self, optimizer: th.optim.Optimizer) -> None:
        """Call the kernel of a fused Adam."""
        if self.parameters[0].grad is not self.gradients[0]:  # but of another Step, or removed
            self._show_gradients()
        group = optimizer.param_groups[0]
        FUSED_STEPS[type(optimizer)](
            self._values,
            self.gradients,
            [state["exp_avg"] for state in self._own_states],
            [state["exp_avg_sq"] for state in self._own_states],
            [],
            self._count(),
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=group["maximize"],
        )


def forget_others(optimizer: th.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> None:
    """Remove gradients of an earlier step, so that a step moves some parameters alone.

    :param optimizer: Optimizer, which may hold more parameters, as SB3's does
    :param parameters: Parameters of the step
    """
    own = set(parameters)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter not in own:
                parameter.grad = None


def same(some: Sequence[object], others: Sequence[object]) -> bool:
    """Return whether two sequences hold the very same objects.

    :param some: Objects
    :param others: Objects
    :return: Whether they are as many, and each is the other at its place
    """
    return len(some) == len(others) and all(map(is_, some, others))


def heed_strides(optimizer: th.optim.Optimizer) -> None:
    """Take the fused kernel from an optimizer whose parameters it would mix up.

    It walks through parameters, gradients and moments in the order of their memory, and gradients
    are contiguous: a parameter that is not, as in ``channels_last``, needs the other kernel.

    :param optimizer: Optimizer
    """
    for group in optimizer.param_groups:
        if group.get("fused") and not all(p.is_contiguous() for p in group["params"]):
            group["fused"] = False


def is_fused(optimizer: th.optim.Optimizer) -> bool:
    """Return whether one call of a kernel is all that ``optimizer.step()`` would do.

    :param optimizer: Optimizer
    :return: Whether it is a fused Adam or AdamW with one group, without AMSGrad, an option that
        changes its step otherwise, hooks and a ``step`` of the user's
    """
    groups: list[dict[str, Any]] = optimizer.param_groups
    is_adamw = type(optimizer) is th.optim.AdamW
    return (
        type(optimizer) in FUSED_STEPS
        and len(groups) == 1
        and bool(groups[0].get("fused"))
        and not groups[0]["amsgrad"]
        and groups[0].keys() <= KNOWN_OPTIONS
        and bool(groups[0].get(DECOUPLED, is_adamw)) == is_adamw
        and not (optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)
        and not (
            global_hooks._global_optimizer_pre_hooks or global_hooks._global_optimizer_post_hooks
        )
        and "step" not in vars(optimizer)
    )


def finite_norm(norm: float) -> float:
    """Check the norm of a gradient.

    :param norm: Norm
    :return: The norm
    :raises FloatingPointError: It is not finite
    """
    if not math.isfinite(norm):
        raise FloatingPointError(
            f"the gradient's norm is {norm}: look at the scale of the rewards and at learning_rate"
        )
    return norm
