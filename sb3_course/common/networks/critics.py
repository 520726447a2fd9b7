"""The critic V_φ and its regression, by autograd or by the engine for multilayer perceptrons."""

from typing import TypeAlias

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn
from torch.nn import functional as F

from sb3_course.collection.observations import TensorObs
from sb3_course.common.networks.architecture import Architecture, critic_architecture
from sb3_course.common.networks.autograd import descend, finite_loss
from sb3_course.common.networks.engine import FlatParameters, Mlp, Pass
from sb3_course.common.parameter_groups import trainable


class AutogradCritic:
    """V_φ of any policy.

    :param policy: Policy whose ``predict_values`` is V_φ
    :param parameters: Parameters φ
    :param optimizer: Their optimizer
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        parameters: list[nn.Parameter],
        optimizer: th.optim.Optimizer,
    ) -> None:
        self._policy, self._parameters, self._optimizer = policy, parameters, optimizer

    @th.no_grad()
    def __call__(self, obs: TensorObs) -> th.Tensor:
        """Compute V_φ(s), without gradient.

        :param obs: States s, of shape (B, …)
        :return: Values, of shape (B,)
        """
        return self._policy.predict_values(obs).flatten()

    def evaluate(self, obs: TensorObs) -> th.Tensor:
        """Compute V_φ(s), and keep the forward pass for :meth:`descend`.

        :param obs: States s, of shape (B, …)
        :return: Values, of shape (B,), detached
        """
        self._values = self._policy.predict_values(obs).flatten()
        return self._values.detach()

    def descend(self, targets: th.Tensor) -> float:
        r"""Take one gradient step on the mean squared error of the states last evaluated.

        .. math:: L(\phi) = \frac{1}{B} \sum_i \left( V_\phi(s_i) - y_i \right)^2

        :param targets: Targets y_i, of shape (B,)
        :return: Loss before the step
        :raises FloatingPointError: The loss is not finite; the step is not taken
        """
        loss = F.mse_loss(self._values, targets)
        return descend(loss, trainable(self._parameters), self._optimizer)


class EngineCritic(AutogradCritic):
    """V_φ of a multilayer perceptron; the same numbers in a fraction of the time.

    :param architecture: Layers of V_φ
    :param parameters: Parameters φ
    :param optimizer: Their optimizer
    """

    def __init__(
        self,
        architecture: Architecture,
        parameters: list[nn.Parameter],
        optimizer: th.optim.Optimizer,
    ) -> None:
        self._architecture, self._parameters, self._optimizer = architecture, parameters, optimizer
        self._attach()

    def _attach(self) -> None:
        self._flat = FlatParameters(self._parameters, self._optimizer)
        self._mlp = Mlp(*self._architecture, self._parameters)
        self._pass = Pass([])

    @th.no_grad()
    def __call__(self, obs: TensorObs) -> th.Tensor:
        """Compute V_φ(s).

        :param obs: States s, of shape (B, D)
        :return: Values, of shape (B,)
        """
        assert isinstance(obs, th.Tensor)
        return self._mlp.forward(obs).output.view(-1)

    @th.no_grad()
    def evaluate(self, obs: TensorObs) -> th.Tensor:
        """Compute V_φ(s), and keep the forward pass for :meth:`descend`.

        :param obs: States s, of shape (B, D)
        :return: Values, of shape (B,)
        """
        if not self._flat.current:
            self._attach()
        assert isinstance(obs, th.Tensor)
        self._pass = self._mlp.forward(obs, self._pass)
        return self._pass.output.view(-1)

    @th.no_grad()
    def descend(self, targets: th.Tensor) -> float:
        """Take one gradient step on the mean squared error of the states last evaluated.

        :param targets: Targets y_i, of shape (B,)
        :return: Loss before the step
        :raises FloatingPointError: The loss is not finite; the step is not taken
        """
        errors = self._pass.output.view(-1) - targets
        loss = finite_loss(errors.dot(errors).item() / len(errors))
        self._flat.gradient.zero_()
        g = errors.mul_(2 / len(errors)).view(-1, 1)  # ∂L/∂V
        self._mlp.backward(self._pass, g, self._flat.gradients)
        self._flat.step()
        return loss


Critic: TypeAlias = AutogradCritic


def make_critic(
    policy: ActorCriticPolicy, parameters: list[nn.Parameter], optimizer: th.optim.Optimizer
) -> Critic:
    """Make the fastest critic that a policy allows.

    :param policy: Policy with V_φ
    :param parameters: Parameters φ, the frozen ones among them
    :param optimizer: Their optimizer
    :return: The critic
    """
    architecture = critic_architecture(policy)
    if architecture is None:
        return AutogradCritic(policy, parameters, optimizer)
    return EngineCritic(architecture, parameters, optimizer)
