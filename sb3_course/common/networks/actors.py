"""The actor π_θ and its gradient step, by autograd or by the engine for multilayer perceptrons."""

from typing import TypeAlias

import torch as th
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from sb3_course.collection.observations import TensorObs, tensor
from sb3_course.common.networks.architecture import Architecture, actor_architecture
from sb3_course.common.networks.autograd import finite_loss, mean_entropy
from sb3_course.common.networks.engine import Mlp, Pass
from sb3_course.common.networks.heads import CategoricalHead, GaussianHead, Head
from sb3_course.common.networks.parameter_groups import trainable
from sb3_course.common.networks.step import Step, finite_norm
from sb3_course.common.networks.structure import Structure


class AutogradActor:
    r"""π_θ of any policy.

    An update is :meth:`act` and :meth:`score`, or :meth:`evaluate`, and then :meth:`descend`.

    .. math:: L(\theta) = -\frac{1}{B} \sum_i m_i \log \pi_\theta(a_i | s_i)
        - c_H \frac{1}{B} \sum_i H(\pi_\theta(\cdot | s_i))

    With m = Â a step down L is one up the policy gradient (lecture 6); with m = 1 it is behavioral
    cloning.

    :param policy: Policy
    :param parameters: Parameters θ
    :param optimizer: Their optimizer, an attribute that may be replaced
    :ivar n_passes: Number of forward passes that were kept, each in place of the one before
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        parameters: list[nn.Parameter],
        optimizer: th.optim.Optimizer,
    ) -> None:
        self._policy, self._parameters, self.optimizer = policy, parameters, optimizer
        self._structure = Structure(policy)
        self.n_passes = 0

    def is_current(self, policy: ActorCriticPolicy, parameters: list[nn.Parameter]) -> bool:
        """Return whether another actor need not be made from a policy.

        :param policy: The policy
        :param parameters: Its parameters θ at present
        :return: Whether it is the one that this actor was made from, with its modules and hooks
        """
        own = policy is self._policy and parameters is self._parameters
        return own and self._structure.is_as_it_was

    @th.no_grad()
    def sample(self, obs: TensorObs) -> th.Tensor:
        """Sample actions without the memory that a gradient needs.

        :param obs: States s, of shape (B, …)
        :return: Actions a, of shape (B, …)
        """
        return self._policy.get_distribution(obs).get_actions()

    @th.enable_grad()
    def act(self, obs: TensorObs) -> th.Tensor:
        """Sample actions, and keep the forward pass for :meth:`descend`.

        :param obs: States s, of shape (B, …)
        :return: Actions a, of shape (B, …), without gradient
        """
        self.n_passes += 1
        self._distribution: Distribution = self._policy.get_distribution(obs)
        self._actions = self._distribution.get_actions().detach()
        return self._actions

    @th.enable_grad()
    def evaluate(self, obs: TensorObs, actions: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Run the forward pass and :meth:`score` for given actions.

        :param obs: States s, of shape (B, …)
        :param actions: Actions a, of shape (B, …)
        :return: log π_θ(a|s) of shape (B,), detached, and the mean entropy in nats
        """
        self.n_passes += 1
        self._distribution, self._actions = self._policy.get_distribution(obs), actions
        return self.score()

    @th.enable_grad()
    def score(self) -> tuple[th.Tensor, th.Tensor]:
        """Compute the log-probabilities of the actions, and the policy's entropy.

        :return: log π_θ(a|s) of shape (B,), detached, and the mean entropy in nats
        """
        self._log_prob = self._distribution.log_prob(self._actions)
        self._entropy = mean_entropy(self._distribution, self._log_prob)
        return self._log_prob.detach(), self._entropy.detach()

    @th.enable_grad()
    def descend(
        self,
        multipliers: th.Tensor | None = None,
        ent_coef: float = 0.0,
        max_grad_norm: float | None = None,
    ) -> tuple[float, float | None]:
        """Take one step down L for the actions last scored.

        :param multipliers: Multipliers m, of shape (B,); None for 1
        :param ent_coef: Coefficient c_H of the entropy bonus
        :param max_grad_norm: Maximum norm of the gradient; None for no clipping
        :return: L before the step, and the norm of its gradient, or None without clipping
        :raises FloatingPointError: L or the norm is not finite; the step is not taken
        """
        weighted = self._log_prob if multipliers is None else self._log_prob * multipliers
        loss = -weighted.mean()
        if ent_coef:
            loss = loss - ent_coef * self._entropy
        value, norm = finite_loss(loss.item()), None
        parameters = trainable(self._parameters)
        self.optimizer.zero_grad()
        if parameters:
            gradients = th.autograd.grad(loss, parameters, allow_unused=True)
            for p, gradient in zip(parameters, gradients, strict=True):
                # Fused optimizers ignore strides; what no state of the batch uses stays as it is.
                p.grad = None if gradient is None else gradient.contiguous()
        if max_grad_norm is not None:
            norm = finite_norm(nn.utils.clip_grad_norm_(parameters, max_grad_norm).item())
        self.optimizer.step()
        return value, norm


class EngineActor(AutogradActor):
    """π_θ of a multilayer perceptron; the same numbers in a fraction of the time.

    :param architecture: Layers from the state to the mean or the logits
    :param policy: Policy with a Gaussian or categorical distribution
    :param parameters: Parameters θ
    :param optimizer: Their optimizer
    """

    def __init__(
        self,
        architecture: Architecture,
        policy: ActorCriticPolicy,
        parameters: list[nn.Parameter],
        optimizer: th.optim.Optimizer,
    ) -> None:
        super().__init__(policy, parameters, optimizer)
        self._architecture = architecture
        self._attach()

    @property
    def is_categorical(self) -> bool:
        """Whether the distribution over actions is categorical, not Gaussian."""
        return isinstance(self._head, CategoricalHead)

    def _attach(self) -> None:
        self._step = Step(self._parameters)
        self._mlp = Mlp(*self._architecture, self._parameters)
        self._pass = Pass([])
        log_std = getattr(self._policy, "log_std", None)
        self._head: Head = CategoricalHead()
        if log_std is not None:
            place = next(i for i, p in enumerate(self._parameters) if p is log_std)
            self._head = GaussianHead(log_std.detach(), self._step.gradients[place])

    @th.no_grad()
    def sample(self, obs: TensorObs) -> th.Tensor:
        """Sample actions without the memory that a gradient needs.

        :param obs: States s, of shape (B, D)
        :return: Actions a, of shape (B, …)
        """
        self._follow()
        return self._head.sample(self._mlp.output(tensor(obs)))

    def act(self, obs: TensorObs) -> th.Tensor:
        """Sample actions, and keep the forward pass for :meth:`descend`.

        :param obs: States s, of shape (B, D)
        :return: Actions a, of shape (B, …)
        """
        self._forward(obs)
        self._actions = self._head.sample(self._pass.output)
        return self._actions

    @th.no_grad()
    def evaluate(self, obs: TensorObs, actions: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Run the forward pass and :meth:`score` for given actions.

        :param obs: States s, of shape (B, D)
        :param actions: Actions a, of shape (B, …)
        :return: log π_θ(a|s) of shape (B,), and the mean entropy in nats
        """
        self._forward(obs)
        self._actions = actions
        return self.score()

    def _follow(self) -> None:
        """Find the parameters' memory again if it is another."""
        if not self._step.current:
            self._attach()

    def _forward(self, obs: TensorObs) -> None:
        self._follow()
        self.n_passes += 1
        self._pass = self._mlp.forward(tensor(obs), self._pass)

    def score(self) -> tuple[th.Tensor, th.Tensor]:
        """Compute the log-probabilities of the actions, and the policy's entropy.

        :return: log π_θ(a|s) of shape (B,), and the mean entropy in nats
        """
        self._log_prob, self._entropy = self._head.score(self._pass.output, self._actions)
        return self._log_prob, self._entropy

    def descend(
        self,
        multipliers: th.Tensor | None = None,
        ent_coef: float = 0.0,
        max_grad_norm: float | None = None,
    ) -> tuple[float, float | None]:
        """Take one step down L for the actions last scored.

        :param multipliers: Multipliers m, of shape (B,); None for 1
        :param ent_coef: Coefficient c_H of the entropy bonus
        :param max_grad_norm: Maximum norm of the gradient; None for no clipping
        :return: L before the step, and the norm of its gradient, or None without clipping
        :raises FloatingPointError: L or the norm is not finite; the step is not taken
        """
        n = self._log_prob.shape[0]
        m = th.ones_like(self._log_prob) if multipliers is None else multipliers
        bonus = ent_coef * self._entropy.item() if ent_coef else 0.0
        loss = finite_loss(-self._log_prob.dot(m).item() / n - bonus)
        self.differentiate(m.mul(-1 / n), ent_coef)
        return loss, self._step.take(self.optimizer, max_grad_norm)

    @th.no_grad()
    def differentiate(self, weights: th.Tensor, ent_coef: float) -> th.Tensor:
        r"""Differentiate a loss by θ for the actions last scored.

        .. math:: L(\theta) = \sum_i w_i \log \pi_\theta(a_i | s_i)
            - c_H \frac{1}{B} \sum_i H(\pi_\theta(\cdot | s_i))

        :param weights: Weights w, of shape (B,)
        :param ent_coef: Coefficient c_H of the entropy bonus
        :return: ∇L by the parameters that are not frozen, flat, which the next call overwrites
        """
        g = self._head.gradient(weights.view(-1, 1), ent_coef)
        self._mlp.backward(self._pass, g, self._step.gradients)
        return self._step.trainable_gradient


Actor: TypeAlias = AutogradActor


def make_actor(
    policy: ActorCriticPolicy, parameters: list[nn.Parameter], optimizer: th.optim.Optimizer
) -> Actor:
    """Make the fastest actor that a policy allows.

    :param policy: Policy π_θ
    :param parameters: Parameters θ, the frozen ones among them
    :param optimizer: Their optimizer
    :return: The actor
    """
    architecture = actor_architecture(policy, parameters)
    if architecture is None:
        return AutogradActor(policy, parameters, optimizer)
    return EngineActor(architecture, policy, parameters, optimizer)
