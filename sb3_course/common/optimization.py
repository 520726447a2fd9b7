"""The critic's regression, and its minibatches."""

from collections.abc import Iterator

import torch as th

from sb3_course.collection.observations import TensorObs
from sb3_course.common.networks.critics import Critic


def fit_critic(
    critic: Critic,
    obs: TensorObs,
    targets: th.Tensor,
    n_updates: int,
    batch_size: int | None = None,
    chunk_size: int | None = None,
) -> float:
    r"""Fit V to targets by gradient steps on the mean squared error.

    .. math:: L(\phi) = \frac{1}{B} \sum_i \left( V_\phi(s_i) - y_i \right)^2

    Only the critic's own parameters get a gradient. A features extractor that the actor shares
    stays unchanged.

    :param critic: Critic V_φ, with its optimizer; frozen parameters stay as they are
    :param obs: States s_i, of shape (M, …)
    :param targets: Targets y_i, of shape (M,)
    :param n_updates: Number of gradient steps
    :param batch_size: Transitions B of a step, drawn without replacement until no B are left;
        None for the whole batch each time
    :param chunk_size: Most transitions evaluated at a time, which bounds the memory; None for all
    :return: Mean loss over the steps
    :raises FloatingPointError: The loss is not finite; the step is not taken
    """
    draws = minibatches(len(targets), n_updates, batch_size, targets.device)
    return sum(critic.fit(obs, targets, rows, chunk_size) for rows in draws) / n_updates


def minibatches(
    n: int,
    n_updates: int,
    batch_size: int | None,
    device: th.device,
    generator: th.Generator | None = None,
) -> Iterator[th.Tensor | slice]:
    """Yield the indices of minibatches, reshuffled each time that too few are left for another.

    :param n: Number of transitions
    :param n_updates: Number of minibatches
    :param batch_size: Size of a minibatch; None, or at least n, for all transitions each time
    :param device: Device of the indices
    :param generator: Random generator of that device; None for PyTorch's own
    :yield: Index tensor of shape (batch_size,), or a slice that selects everything
    """
    if batch_size is None or batch_size >= n:
        yield from [slice(None)] * n_updates
    else:
        position = n
        for _ in range(n_updates):
            if position + batch_size > n:
                order, position = th.randperm(n, device=device, generator=generator), 0
            yield order[position : position + batch_size]
            position += batch_size
