"""Distributions over actions as functions of a network's output z, with their gradients.

==================  ==============================  ========================================
distribution        log π(a|s)                      its gradient
==================  ==============================  ========================================
Gaussian            −½ Σ u² − Σ log σ − const,      ∂/∂μ = u/σ, ∂/∂log σ = u² − 1
                    u = (a − μ)/σ, z = μ
categorical         z_a − log Σ exp z               ∂/∂z = e_a − p, p = softmax(z)
==================  ==============================  ========================================

The Gaussian's entropy is Σ log σ + const. The categorical's, H = −Σ p log p, has the gradient
∂H/∂z = −p (log p + H).
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch as th

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class GaussianHead:
    """Gaussian with mean z and deviations that do not depend on the state.

    :param log_std: log σ, of shape (A,)
    :param gradient: Gradient of a loss by log σ, which :meth:`gradient` writes to
    """

    def __init__(self, log_std: th.Tensor, gradient: th.Tensor) -> None:
        self._log_std, self._gradient = log_std, gradient
        self._constant = len(log_std) * (0.5 + HALF_LOG_TAU)
        self._half_size = 0.5 * len(log_std)

    def sample(self, z: th.Tensor) -> th.Tensor:
        """Sample one action for each state.

        :param z: Means μ, of shape (B, A)
        :return: Actions, of shape (B, A)
        """
        return th.normal(z, self._log_std.exp().expand_as(z))

    def score(self, z: th.Tensor, actions: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Compute log-densities and the entropy.

        :param z: Means μ, of shape (B, A)
        :param actions: Actions a, of shape (B, A)
        :return: log π(a|s) of shape (B,), and the entropy in nats
        """
        self._std = self._log_std.exp()
        self._u = (actions - z).div_(self._std)
        entropy = self._log_std.sum() + self._constant
        return self._u.square().sum(1).mul_(-0.5).sub_(entropy - self._half_size), entropy

    def gradient(self, weights: th.Tensor, ent_coef: float) -> th.Tensor:
        """Differentiate L = Σ w log π(a|s) - c H for the states and actions last scored.

        :param weights: Weights w, of shape (B, 1)
        :param ent_coef: Coefficient c
        :return: ∂L/∂z, of shape (B, A)
        """
        weighted = self._u.mul(weights)
        through_std = self._u.div(self._std).mul_(weighted).sum(0).mul_(self._std)
        th.sub(through_std, weights.sum() + ent_coef, out=self._gradient)
        return weighted.div_(self._std)


class CategoricalHead:
    """Categorical distribution with logits z."""

    def sample(self, z: th.Tensor) -> th.Tensor:
        """Sample one action for each state.

        :param z: Logits, of shape (B, K)
        :return: Actions, of shape (B,)
        """
        return th.multinomial(self._normalize(z)[1], 1, True).view(-1)

    @staticmethod
    def _normalize(z: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Return log p and p, rounded as PyTorch's own distribution does."""
        log_p = z - z.logsumexp(-1, keepdim=True)
        return log_p, log_p.softmax(-1)

    def score(self, z: th.Tensor, actions: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Compute log-probabilities and the mean entropy.

        :param z: Logits, of shape (B, K)
        :param actions: Actions a, of shape (B,)
        :return: log π(a|s) of shape (B,), and the mean entropy in nats
        """
        self._log_p, self._p = self._normalize(z)
        self._a = actions.long().view(-1, 1)
        self._entropies = (self._p * self._log_p).sum(1, keepdim=True).neg_()
        return self._log_p.gather(1, self._a).view(-1), self._entropies.mean()

    def gradient(self, weights: th.Tensor, ent_coef: float) -> th.Tensor:
        """Differentiate L = Σ w log π(a|s) - c H for the states and actions last scored.

        :param weights: Weights w, of shape (B, 1)
        :param ent_coef: Coefficient c
        :return: ∂L/∂z, of shape (B, K)
        """
        g = self._log_p.exp().mul_(-weights).scatter_add_(1, self._a, weights)
        if ent_coef:
            g += self._p * (self._log_p + self._entropies) * (ent_coef / g.shape[0])
        return g


Head: TypeAlias = GaussianHead | CategoricalHead


def fisher_information(z: th.Tensor, log_std: th.Tensor | None) -> Callable[[th.Tensor], th.Tensor]:
    """Make the function u ↦ M_s u, the product with the Fisher information in z.

    :param z: Means or logits, of shape (B, K)
    :param log_std: log σ of a Gaussian, M = diag(1/σ²); None for logits, M = diag(p) - p pᵀ
    :return: Function of tensors of shape (B, K), which may overwrite its argument
    """
    if log_std is not None:
        precision = log_std.mul(-2).exp()
        return lambda u: u.mul_(precision)
    p = z.softmax(-1)
    return lambda u: u.sub_((p * u).sum(1, keepdim=True)).mul_(p)
