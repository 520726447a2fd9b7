r"""The Fisher-vector product of a multilayer perceptron, without autograd.

.. math:: F v = \frac{1}{M} \sum_s J_s^\top M_s J_s v

(see :mod:`sb3_course.estimators.natural_gradient`). J v is the engine's derivative along v, J^T u
its backward pass, and M_s the Fisher information of the head: diag(p) - p p^T in the logits, 1/σ²
in the mean, and 2 in log σ, which no state changes.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from sb3_course.collection.observations import TensorObs, tensor
from sb3_course.common.networks.architecture import actor_architecture
from sb3_course.common.networks.engine import Mlp, Pass
from sb3_course.common.networks.heads import fisher_information
from sb3_course.common.networks.step import views_like
from sb3_course.estimators.natural_gradient import Product


def engine_fisher_vector_product(
    policy: ActorCriticPolicy,
    parameters: list[nn.Parameter],
    chunks: Callable[[], Iterable[TensorObs]],
    damping: float,
) -> Product | None:
    """Make the function v ↦ (F + λI) v if the engine knows the policy.

    The forward pass of a single chunk is kept for all products. Several chunks are run again for
    each product, so that memory does not grow with the batch.

    :param policy: Policy π_θ
    :param parameters: Parameters θ, of P numbers; all of the actor's
    :param chunks: Function that yields chunks of states s, of shape (B, D) each
    :param damping: Damping λ
    :return: Function from vectors of shape (P,) to vectors of shape (P,), or None
    """
    architecture = actor_architecture(policy, parameters)
    if architecture is None or not all(p.requires_grad for p in parameters):
        return None
    mlp, log_std = Mlp(*architecture, parameters), getattr(policy, "log_std", None)
    deviations = None if log_std is None else log_std.detach()
    first, *others = itertools.islice(chunks(), 2)
    kept = [] if others else [mlp.forward(tensor(first))]

    def product(v: th.Tensor) -> th.Tensor:
        direction, result, n = views_like(v, parameters), th.zeros_like(v), 0
        parts = views_like(result, parameters)
        for run in kept or passes():
            information = fisher_information(run.output, deviations)
            mlp.backward(run, information(mlp.derivative(run, direction)), parts, add=True)
            n += len(run.output)
        result.div_(n).add_(v, alpha=damping)
        for p, part, along in zip(parameters, parts, direction, strict=True):
            if p is log_std:
                part.add_(along, alpha=2)
        return result

    def passes() -> Iterator[Pass]:
        run = None
        for obs in map(tensor, chunks()):
            run = mlp.forward(obs, run)
            yield run

    return product
