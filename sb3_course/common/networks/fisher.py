r"""The Fisher-vector product of a multilayer perceptron, without autograd.

.. math:: F v = \frac{1}{M} \sum_s J_s^\top M_s J_s v

(see :mod:`sb3_course.estimators.natural_gradient`). J v is the engine's derivative along v, J^T u
its backward pass, and M_s the Fisher information of the head: diag(p) - p p^T in the logits, 1/σ²
in the mean, and 2 in log σ, which no state changes.
"""

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from sb3_course.collection.observations import TensorObs
from sb3_course.common.networks.architecture import actor_architecture
from sb3_course.common.networks.engine import Mlp, views_like
from sb3_course.common.networks.heads import fisher_information
from sb3_course.estimators.natural_gradient import Product


def engine_fisher_vector_product(
    policy: ActorCriticPolicy, parameters: list[nn.Parameter], obs: TensorObs, damping: float
) -> Product | None:
    """Make the function v ↦ (F + λI) v if the engine knows the policy.

    :param policy: Policy π_θ
    :param parameters: Parameters θ, of P numbers; all of the actor's
    :param obs: States s, of shape (M, D)
    :param damping: Damping λ
    :return: Function from vectors of shape (P,) to vectors of shape (P,), or None
    """
    architecture = actor_architecture(policy)
    if architecture is None or not all(p.requires_grad for p in parameters):
        return None
    assert isinstance(obs, th.Tensor)
    mlp = Mlp(*architecture, parameters)
    with th.no_grad():
        run = mlp.forward(obs)
        log_std = getattr(policy, "log_std", None)
        information = fisher_information(run.output, log_std)
    place = [i for i, p in enumerate(parameters) if p is log_std]

    @th.no_grad()
    def product(v: th.Tensor) -> th.Tensor:
        direction = views_like(v, parameters)
        dz = mlp.derivative(run, direction)
        weighted = information(dz).div_(len(dz))
        result = damping * v
        parts = views_like(result, parameters)
        for i in place:
            parts[i].add_(direction[i], alpha=2)
        mlp.backward(run, weighted, parts)
        return result

    return product
