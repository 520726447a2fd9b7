r"""Multilayer perceptrons without autograd: forward pass, gradient and optimizer's step by formula.

A network of 64 units at a batch of 32 costs PyTorch more in bookkeeping than in arithmetic. Here
the layers' formulas are written out, over one flat buffer each of parameters, gradients and Adam's
moments, of which the module's own tensors are views: ``predict``, ``save``, ``load`` and whatever
else reads or writes them go on working, and the optimizer's state is the one that is saved.

With inputs h_0 = x, weights W_l, biases b_l and activation σ of the hidden layers,

.. math:: z_l = W_l h_{l-1} + b_l, \quad h_l = \sigma(z_l), \qquad
    \frac{\partial L}{\partial W_l} = g_l^\top h_{l-1}, \quad
    g_{l-1} = (g_l W_l) \circ \sigma'(z_{l-1})

(Goodfellow et al. 2016, algorithms 6.3 and 6.4), where g_l = ∂L/∂z_l. The derivative along a
direction v, which the Fisher-vector product needs, is (Pearlmutter 1994, equation 11)

.. math:: \dot z_l = W_l \dot h_{l-1} + V_l h_{l-1} + \dot b_l, \qquad
    \dot h_l = \sigma'(z_l) \circ \dot z_l
"""

import math
from collections.abc import Sequence
from typing import Any

import torch as th
from torch import nn

# The step itself, without the checks of ``Optimizer.step``, which cost five times as much.
FUSED_STEPS = {th.optim.Adam: th._fused_adam_, th.optim.AdamW: th._fused_adamw_}


def views_like(flat: th.Tensor, parameters: Sequence[nn.Parameter]) -> list[th.Tensor]:
    """Return the parts of a vector that belong to parameters, as views of their shapes.

    :param flat: Vector of shape (P,)
    :param parameters: Parameters, of P numbers
    :return: One view for each parameter
    """
    parts = th.split(flat, [p.numel() for p in parameters])
    return [part.view(p.shape) for part, p in zip(parts, parameters, strict=True)]


class FlatParameters:
    """Parameters of one optimizer whose values, gradients and moments lie in flat buffers.

    ==============  ============================================================
    variable        meaning
    ==============  ============================================================
    ``values``      θ, of shape (P,), in the order of ``parameters``
    ``gradient``    ∇L, of shape (P,); each parameter's ``grad`` is a view of it
    ==============  ============================================================

    :param parameters: Parameters, float32 and on one device
    :param optimizer: Their optimizer
    """

    def __init__(self, parameters: Sequence[nn.Parameter], optimizer: th.optim.Optimizer) -> None:
        self.parameters, self.optimizer = list(parameters), optimizer
        self.values = th.cat([p.detach().flatten() for p in parameters])
        self.gradient = th.zeros_like(self.values)
        self.gradients = views_like(self.gradient, self.parameters)
        for parameter, view in zip(
            self.parameters, views_like(self.values, self.parameters), strict=True
        ):
            parameter.data = view
        self._places = [p.data_ptr() for p in self.parameters]
        self._moments: tuple[th.Tensor, th.Tensor, th.Tensor] | None = None

    @property
    def current(self) -> bool:
        """Whether the parameters are still views of ``values``."""
        return [p.data_ptr() for p in self.parameters] == self._places

    def step(self, max_grad_norm: float | None = None) -> float | None:
        """Take one step of the optimizer down ``gradient``.

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
        if all(trainable) and self._has_flat_moments():
            self._step_flat()
        else:
            self._moments = None  # the counts of steps come apart
            for p, view, is_trainable in zip(
                self.parameters, self.gradients, trainable, strict=True
            ):
                p.grad = view if is_trainable else None
            self.optimizer.step()
        return norm

    def _step_flat(self) -> None:
        """Take the step of a fused Adam, over one vector instead of one tensor a layer."""
        assert self._moments is not None
        mean, square, counts = self._moments
        group = self.optimizer.param_groups[0]
        counts.add_(1)
        FUSED_STEPS[type(self.optimizer)](
            [self.values],
            [self.gradient],
            [mean],
            [square],
            [],
            [counts[0]],
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=group["maximize"],
        )

    def _has_flat_moments(self) -> bool:
        """Whether Adam's state lies in flat buffers; move it there if that is possible."""
        if not has_plain_step(self.optimizer):
            return False
        first = self.optimizer.state.get(self.parameters[0], {}).get("exp_avg")
        if self._moments is None or first is not self._first_moment:  # another state was loaded
            self._moments = self._flat_moments()
        return self._moments is not None

    def _flat_moments(self) -> tuple[th.Tensor, th.Tensor, th.Tensor] | None:
        if not is_plain_adam(self.optimizer, self.parameters):
            return None
        state = self.optimizer.state
        counts = [state[p]["step"].item() if state.get(p) else 0.0 for p in self.parameters]
        if len(set(counts)) > 1:  # some were frozen for a while
            return None
        flat = [th.zeros_like(self.values), th.zeros_like(self.values)]
        steps = th.tensor(counts, dtype=th.float32, device=self.values.device)
        moments = (views_like(moment, self.parameters) for moment in flat)
        for i, (p, *views) in enumerate(zip(self.parameters, *moments, strict=True)):
            for name, view in zip(("exp_avg", "exp_avg_sq"), views, strict=True):
                if state.get(p):
                    view.copy_(state[p][name])
            state[p] = {"step": steps[i], "exp_avg": views[0], "exp_avg_sq": views[1]}
            p.grad = self.gradients[i]
        self._first_moment = state[self.parameters[0]]["exp_avg"]
        return flat[0], flat[1], steps


def is_plain_adam(optimizer: th.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> bool:
    """Return whether one fused step over a flat vector is what the optimizer would do.

    :param optimizer: Optimizer
    :param parameters: Parameters of the flat vector
    :return: Whether it is a fused Adam or AdamW of exactly these, without AMSGrad
    """
    groups: list[dict[str, Any]] = optimizer.param_groups
    return (
        type(optimizer) in FUSED_STEPS
        and len(groups) == 1
        and [id(p) for p in groups[0]["params"]] == [id(p) for p in parameters]
        and bool(groups[0].get("fused"))
        and not groups[0]["amsgrad"]
    )


def has_plain_step(optimizer: th.optim.Optimizer) -> bool:
    """Return whether ``optimizer.step()`` is its class's own, without hooks.

    :param optimizer: Optimizer
    :return: Whether nothing else would notice that ``step`` is not called
    """
    hooks = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    return "step" not in vars(optimizer) and not hooks


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


class Pass:
    """A forward pass of B states, with memory that the next one of as many states reuses.

    ==============  ====================================================================
    variable        meaning
    ==============  ====================================================================
    ``inputs``      input h_{l-1} of each layer, of shape (B, …)
    ``slopes``      σ'(z_l) of each hidden layer, once something has asked for them
    ``scratch``     one buffer for each hidden layer
    ``output``      output of shape (B, K), which no later pass overwrites
    ==============  ====================================================================
    """

    def __init__(self, hidden: list[th.Tensor]) -> None:
        self.hidden, self.output = hidden, th.empty(0)
        self.inputs: list[th.Tensor] = []
        self._slopes = [th.empty_like(h) for h in hidden]
        self.scratch = [th.empty_like(h) for h in hidden]
        self.has_slopes = False

    def slopes(self, is_tanh: bool) -> list[th.Tensor]:
        """Return σ' at each hidden layer, a function of its output h.

        :param is_tanh: Whether σ is tanh, with σ' = 1 - h²; else it is ReLU, with σ' = sign h
        :return: Slopes, of shape (B, …) each
        """
        if not self.has_slopes:
            for h, slope in zip(self.hidden, self._slopes, strict=True):
                if is_tanh:
                    th.addcmul(h.new_ones(()), h, h, value=-1, out=slope)
                else:
                    th.sign(h, out=slope)
            self.has_slopes = True
        return self._slopes


class Mlp:
    """Linear layers with one activation between them.

    :param layers: Linear layers, from the input to the output
    :param activation: Class of the activation: ``nn.Tanh`` or ``nn.ReLU``
    :param parameters: Parameters of an actor or a critic, those of the layers among them
    """

    def __init__(
        self,
        layers: Sequence[nn.Linear],
        activation: type[nn.Module],
        parameters: Sequence[nn.Parameter],
    ) -> None:
        place = {id(p): i for i, p in enumerate(parameters)}
        self._places = [(place[id(layer.weight)], place[id(layer.bias)]) for layer in layers]
        self._is_tanh = activation is nn.Tanh
        self._weights, self._biases = self._parts([p.detach() for p in parameters])
        self._transposed = [weight.t() for weight in self._weights]

    def _parts(self, views: list[th.Tensor]) -> tuple[list[th.Tensor], list[th.Tensor]]:
        """Return the weights and the biases among the views of a flat vector."""
        return [views[w] for w, _ in self._places], [views[b] for _, b in self._places]

    def forward(self, x: th.Tensor, run: Pass | None = None) -> Pass:
        """Run the network.

        :param x: Input, of shape (B, D)
        :param run: Pass that is not needed any more, whose memory is reused
        :return: The pass
        """
        shapes = [(len(x), len(bias)) for bias in self._biases[:-1]]
        if run is None or [h.shape for h in run.hidden] != shapes:
            run = Pass([x.new_empty(shape) for shape in shapes])
        run.inputs, run.has_slopes = [x, *run.hidden], False
        for bias, weight, h in zip(self._biases, self._transposed, run.hidden, strict=False):
            x = th.addmm(bias, x, weight, out=h)
            x = x.tanh_() if self._is_tanh else x.relu_()
        run.output = th.addmm(self._biases[-1], x, self._transposed[-1])
        return run

    def backward(self, run: Pass, g: th.Tensor, gradients: list[th.Tensor]) -> None:
        """Add the gradient of a loss to the layers' gradients.

        :param run: Forward pass
        :param g: ∂L/∂output, of shape (B, K)
        :param gradients: Views of a flat gradient, which are added to
        """
        weights, biases = self._parts(gradients)
        slopes, ones = run.slopes(self._is_tanh), g.new_ones(1, len(g))
        for i in reversed(range(len(weights))):
            weights[i].addmm_(g.t(), run.inputs[i])
            biases[i].view(1, -1).addmm_(ones, g)
            if i:
                g = th.mm(g, self._weights[i], out=run.scratch[i - 1]).mul_(slopes[i - 1])

    def derivative(self, run: Pass, direction: list[th.Tensor]) -> th.Tensor:
        """Compute the derivative of the output along a direction in parameter space.

        :param run: Forward pass
        :param direction: Views of a flat vector v
        :return: d output(θ + εv) / dε at ε = 0, of shape (B, K)
        """
        weights, biases = self._parts(direction)
        slopes, dot = run.slopes(self._is_tanh), None
        outputs = [*run.scratch, th.empty_like(run.output)]
        for i, (h, out) in enumerate(zip(run.inputs, outputs, strict=True)):
            th.addmm(biases[i], h, weights[i].t(), out=out)
            if dot is not None:
                out.addmm_(dot.mul_(slopes[i - 1]), self._transposed[i])
            dot = out
        return outputs[-1]
