r"""Multilayer perceptrons without autograd: passes and gradients by formula.

A network of 64 units at a batch of 32 costs PyTorch more in bookkeeping than in arithmetic. Here
the layers' formulas are written out over the module's own tensors, so that ``predict``, ``save``,
``load`` and whatever else reads or writes them go on working. Operations and their order are
autograd's: the gradients are the same to the last bit.

With inputs h_0 = x, weights W_l, biases b_l and activation σ of the hidden layers,

.. math:: z_l = W_l h_{l-1} + b_l, \quad h_l = \sigma(z_l), \qquad
    \frac{\partial L}{\partial W_l} = g_l^\top h_{l-1}, \quad
    g_{l-1} = (g_l W_l) \circ \sigma'(z_{l-1})

(Goodfellow et al. 2016, algorithms 6.3 and 6.4), where g_l = ∂L/∂z_l. The derivative along a
direction v, which the Fisher-vector product needs, is (Pearlmutter 1994, equation 11)

.. math:: \dot z_l = W_l \dot h_{l-1} + V_l h_{l-1} + \dot b_l, \qquad
    \dot h_l = \sigma'(z_l) \circ \dot z_l
"""

from collections.abc import Sequence

import torch as th
from torch import nn


class Pass:
    """A forward pass of B states, with memory that the next one of as many states reuses.

    ==============  ====================================================================
    variable        meaning
    ==============  ====================================================================
    ``inputs``      input h_{l-1} of each layer, of shape (B, …)
    ``slopes``      σ'(z_l) of each hidden layer, once something has asked for them
    ``size``        B, if there are hidden layers
    ``scratch``     one buffer for each hidden layer
    ``output``      output of shape (B, K), which no later pass overwrites
    ==============  ====================================================================
    """

    def __init__(self, hidden: list[th.Tensor]) -> None:
        self.hidden, self.output = hidden, th.empty(0)
        self.size = hidden[0].shape[0] if hidden else 0
        self.inputs: list[th.Tensor] = []
        self.slopes = [th.empty_like(h) for h in hidden]
        self.scratch = [th.empty_like(h) for h in hidden]
        self.has_slopes = False


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
        self._hidden = list(zip(self._biases[:-1], self._transposed[:-1], strict=True))
        self._one = self._biases[0].new_ones(())

    def _parts(self, views: list[th.Tensor]) -> tuple[list[th.Tensor], list[th.Tensor]]:
        """Return the weights and the biases among the views of a flat vector."""
        return [views[w] for w, _ in self._places], [views[b] for _, b in self._places]

    def output(self, x: th.Tensor) -> th.Tensor:
        """Run the network without keeping the pass.

        :param x: Input, of shape (B, D)
        :return: Output, of shape (B, K)
        """
        for bias, weight in self._hidden:
            x = th.addmm(bias, x, weight)
            x = x.tanh_() if self._is_tanh else x.relu_()
        return th.addmm(self._biases[-1], x, self._transposed[-1])

    def forward(self, x: th.Tensor, run: Pass | None = None) -> Pass:
        """Run the network.

        :param x: Input, of shape (B, D)
        :param run: Pass that is not needed any more, whose memory is reused
        :return: The pass
        """
        n = x.shape[0]
        if run is None or run.size != n:
            run = Pass([x.new_empty(n, bias.shape[0]) for bias, _ in self._hidden])
        run.inputs, run.has_slopes = [x, *run.hidden], False
        for (bias, weight), h in zip(self._hidden, run.hidden, strict=True):
            x = th.addmm(bias, x, weight, out=h)
            x = x.tanh_() if self._is_tanh else x.relu_()
        run.output = th.addmm(self._biases[-1], x, self._transposed[-1])
        return run

    def _slopes(self, run: Pass) -> list[th.Tensor]:
        """Return σ' at each hidden layer from its output h: 1 - h² of tanh, sign h of ReLU."""
        if not run.has_slopes:
            for h, slope in zip(run.hidden, run.slopes, strict=True):
                if self._is_tanh:
                    th.addcmul(self._one, h, h, value=-1, out=slope)
                else:
                    th.sign(h, out=slope)
            run.has_slopes = True
        return run.slopes

    def backward(
        self, run: Pass, g: th.Tensor, gradients: list[th.Tensor], add: bool = False
    ) -> None:
        """Compute the gradient of a loss by the layers' parameters.

        :param run: Forward pass
        :param g: ∂L/∂output, of shape (B, K)
        :param gradients: Views of a flat gradient, which are written to
        :param add: Whether to add to what they hold
        """
        weights, biases = self._parts(gradients)
        slopes = self._slopes(run)
        for i in reversed(range(len(weights))):
            if add:
                weights[i].addmm_(g.t(), run.inputs[i])
                biases[i].add_(g.sum(0))
            else:
                th.mm(g.t(), run.inputs[i], out=weights[i])
                th.sum(g, 0, out=biases[i])
            if i:
                g = th.mm(g, self._weights[i], out=run.scratch[i - 1]).mul_(slopes[i - 1])

    def derivative(self, run: Pass, direction: list[th.Tensor]) -> th.Tensor:
        """Compute the derivative of the output along a direction in parameter space.

        :param run: Forward pass
        :param direction: Views of a flat vector v
        :return: d output(θ + εv) / dε at ε = 0, of shape (B, K)
        """
        weights, biases = self._parts(direction)
        slopes, dot = self._slopes(run), None
        outputs = [*run.scratch, th.empty_like(run.output)]
        for i, (h, out) in enumerate(zip(run.inputs, outputs, strict=True)):
            th.addmm(biases[i], h, weights[i].t(), out=out)
            if dot is not None:
                out.addmm_(dot.mul_(slopes[i - 1]), self._transposed[i])
            dot = out
        return outputs[-1]
