"""The critic V_φ and its regression, by autograd or by the engine for multilayer perceptrons."""

from collections.abc import Iterable
from typing import TypeAlias

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn
from torch.nn import functional as F

from sb3_course.collection.observations import TensorObs, select, tensor
from sb3_course.common.networks.architecture import Architecture, critic_architecture
from sb3_course.common.networks.autograd import descend, finite_loss
from sb3_course.common.networks.engine import Mlp, Pass
from sb3_course.common.networks.parameter_groups import trainable
from sb3_course.common.networks.step import Step
from sb3_course.estimators.chunks import chunks


class AutogradCritic:
    """V_φ of any policy.

    :param policy: Policy whose ``predict_values`` is V_φ
    :param parameters: Parameters φ
    :param optimizer: Their optimizer, an attribute that may be replaced
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        parameters: list[nn.Parameter],
        optimizer: th.optim.Optimizer,
    ) -> None:
        self._policy, self._parameters, self.optimizer = policy, parameters, optimizer

    @th.no_grad()
    def __call__(self, obs: TensorObs) -> th.Tensor:
        """Compute V_φ(s), without gradient.

        :param obs: States s, of shape (B, …)
        :return: Values, of shape (B,)
        """
        return self._policy.predict_values(obs).flatten()

    def both(self, obs: TensorObs, others: TensorObs) -> tuple[th.Tensor, th.Tensor]:
        """Compute V_φ of two sets of states, without gradient.

        :param obs: States s, of shape (B, …)
        :param others: States s', of shape (B, …)
        :return: Values of each, of shape (B,)
        """
        return self(obs), self(others)

    @th.enable_grad()
    def evaluate(self, obs: TensorObs) -> th.Tensor:
        """Compute V_φ(s), and keep the forward pass for :meth:`descend`.

        :param obs: States s, of shape (B, …)
        :return: Values, of shape (B,), detached
        """
        self._values = self._policy.predict_values(obs).flatten()
        return self._values.detach()

    @th.enable_grad()
    def descend(self, targets: th.Tensor) -> float:
        r"""Take one gradient step on the mean squared error of the states last evaluated.

        .. math:: L(\phi) = \frac{1}{B} \sum_i \left( V_\phi(s_i) - y_i \right)^2

        :param targets: Targets y_i, of shape (B,)
        :return: Loss before the step
        :raises FloatingPointError: The loss is not finite; the step is not taken
        """
        loss = F.mse_loss(self._values, targets)
        return descend([loss], trainable(self._parameters), self.optimizer)

    def fit(
        self,
        obs: TensorObs,
        targets: th.Tensor,
        rows: th.Tensor | slice,
        chunk_size: int | None = None,
    ) -> float:
        """Take one gradient step on the mean squared error of some states, chunk by chunk.

        :param obs: States s, of shape (M, …)
        :param targets: Targets y, of shape (M,)
        :param rows: Which of the M states the step uses
        :param chunk_size: Most states evaluated at a time, which bounds the memory; None for all
        :return: Loss before the step
        :raises FloatingPointError: The loss is not finite; the step is not taken
        """
        chosen = targets[rows]
        parts = list(chunks(len(chosen), chunk_size or len(chosen)))
        seen = (select(obs, p if isinstance(rows, slice) else rows[p]) for p in parts)
        return self._fit(seen, [chosen[part] for part in parts])

    @th.enable_grad()
    def _fit(self, chunks_of_obs: Iterable[TensorObs], targets: list[th.Tensor]) -> float:
        n = sum(map(len, targets))
        losses = (
            F.mse_loss(self._policy.predict_values(obs).flatten(), y) * (len(y) / n)
            for obs, y in zip(chunks_of_obs, targets, strict=True)
        )
        return descend(losses, trainable(self._parameters), self.optimizer)


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
        self._architecture, self._parameters, self.optimizer = architecture, parameters, optimizer
        self._attach()

    def _attach(self) -> None:
        self._step = Step(self._parameters)
        self._mlp = Mlp(*self._architecture, self._parameters)
        self._pass = Pass([])

    def _follow(self) -> None:
        """Find the parameters' memory again if it is another."""
        if not self._step.current:
            self._attach()

    @th.no_grad()
    def __call__(self, obs: TensorObs) -> th.Tensor:
        """Compute V_φ(s).

        :param obs: States s, of shape (B, D)
        :return: Values, of shape (B,)
        """
        self._follow()
        return self._mlp.output(tensor(obs)).view(-1)

    def both(self, obs: TensorObs, others: TensorObs) -> tuple[th.Tensor, th.Tensor]:
        """Compute V_φ of two sets of as many states, in one pass.

        :param obs: States s, of shape (B, D)
        :param others: States s', of shape (B, D)
        :return: Values of each, of shape (B,)
        """
        one, other = self(th.cat([tensor(obs), tensor(others)])).chunk(2)
        return one, other

    def evaluate(self, obs: TensorObs) -> th.Tensor:
        """Compute V_φ(s), and keep the forward pass for :meth:`descend`.

        :param obs: States s, of shape (B, D)
        :return: Values, of shape (B,)
        """
        self._follow()
        self._pass = self._mlp.forward(tensor(obs), self._pass)
        return self._pass.output.view(-1)

    def descend(self, targets: th.Tensor) -> float:
        """Take one gradient step on the mean squared error of the states last evaluated.

        :param targets: Targets y_i, of shape (B,)
        :return: Loss before the step
        :raises FloatingPointError: The loss is not finite; the step is not taken
        """
        loss = finite_loss(self._differentiate(targets, targets.shape[0]))
        self._step.take(self.optimizer)
        return loss

    @th.no_grad()
    def _fit(self, chunks_of_obs: Iterable[TensorObs], targets: list[th.Tensor]) -> float:
        n, loss = sum(map(len, targets)), 0.0
        for i, (obs, y) in enumerate(zip(chunks_of_obs, targets, strict=True)):
            self.evaluate(obs)
            loss = finite_loss(loss + self._differentiate(y, n, add=i > 0))
        self._step.take(self.optimizer)
        return loss

    def _differentiate(self, targets: th.Tensor, n: int, add: bool = False) -> float:
        """Differentiate 1/n Σ (V_φ(s) − y)² over the states last evaluated; return it."""
        errors = self._pass.output.view(-1) - targets
        loss = errors.dot(errors).item() / n
        g = errors.mul_(2 / n).view(-1, 1)  # ∂L/∂V
        self._mlp.backward(self._pass, g, self._step.gradients, add)
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
    architecture = critic_architecture(policy, parameters)
    if architecture is None:
        return AutogradCritic(policy, parameters, optimizer)
    return EngineCritic(architecture, parameters, optimizer)
