"""How many transitions are evaluated at a time, so that memory does not grow with the batch.

The gradient of a batch is a sum over its transitions. It is computed chunk by chunk, and each
chunk's graph is gone before the next one's is made; observations stay as they were stored (images
as bytes) until their chunk.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy

from sb3_course.collection.observations import Obs, example_observations, stack_obs

Result = TypeVar("Result")

CHUNK_BYTES = {"cpu": 2**24, "gpu": 2**27}
"""Most bytes that a chunk's graph keeps for its backward pass, on the CPU and on any other device.

An update's peak memory beyond the batch is a small multiple of this, plus some vectors of as many
numbers as the policy has parameters, whatever the number of transitions. 16 MiB are about 20,000
transitions of two layers of 64 units, and 80 images of 84 x 84 x 4. So few do not occupy a GPU.
"""


def chunk_bytes(device: th.device) -> int:
    """Return the most bytes that a chunk's graph keeps on a device.

    :param device: Device of the networks
    :return: One of :data:`CHUNK_BYTES`
    """
    return CHUNK_BYTES["cpu" if device.type == "cpu" else "gpu"]


def transitions_per_chunk(policy: ActorCriticPolicy) -> int:
    """Return how many transitions of a policy make a chunk of :func:`chunk_bytes`.

    :param policy: Policy, which is measured
    :return: Number of transitions, at least 1
    """
    return max(1, chunk_bytes(policy.device) // max(1, graph_bytes(policy)))


def chunks(n: int, size: int) -> Iterator[slice]:
    """Yield consecutive slices that cover n rows.

    :param n: Number of rows
    :param size: Most rows of a slice
    :yield: Slices, whose ends are within n
    """
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def graph_bytes(policy: ActorCriticPolicy) -> int:
    """Measure what the graph of one transition keeps, the larger of the actor's and the critic's.

    It is the difference between two equal observations and one, which leaves out the parameters.

    :param policy: Policy
    :return: Number of bytes
    """

    def kept(example: Obs, rows: int) -> tuple[int, int]:
        obs, _ = policy.obs_to_tensor(stack_obs([example] * rows))

        def score() -> None:
            distribution = policy.get_distribution(obs)
            distribution.log_prob(distribution.get_actions(deterministic=True))
            distribution.entropy()

        return _saved_bytes(score), _saved_bytes(lambda: policy.predict_values(obs))

    def of_row(example: Obs) -> int:
        one, two = kept(example, 1), kept(example, 2)
        return max(b - a for a, b in zip(one, two, strict=True))

    return next(examine(policy, of_row))


def examine(policy: ActorCriticPolicy, function: Callable[[Obs], Result]) -> Iterator[Result]:
    """Yield a function's values at the example observations at which the policy is defined.

    :param policy: Policy, which is called with no parameter frozen, and left as it was
    :param function: Function of a single observation that calls the policy
    :yield: Values, at least one
    :raises Exception: What the function raised first, if it raised at every observation
    """
    first: Exception | None = None
    defined = False
    frozen = [p for p in policy.parameters() if not p.requires_grad]
    for example in example_observations(policy.observation_space):
        try:
            for parameter in frozen:
                parameter.requires_grad_(True)
            with evaluating(policy), th.enable_grad(), th.random.fork_rng(devices=[]):
                result = function(example)
        except Exception as error:
            first = first or error
            continue
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)
        defined = True
        yield result
    if first is not None and not defined:
        raise first


def _saved_bytes(forward: Callable[[], Any]) -> int:
    """Count the bytes that a forward pass keeps for its backward pass, each storage once."""
    saved: list[th.Tensor] = []
    with th.autograd.graph.saved_tensors_hooks(saved.append, lambda nothing: nothing):
        forward()
    sizes = {
        storage.data_ptr(): storage.nbytes() for storage in (t.untyped_storage() for t in saved)
    }
    return sum(sizes.values())


@contextmanager
def evaluating(policy: ActorCriticPolicy) -> Iterator[None]:
    """Set a policy to evaluation mode, as it was when it acted, and leave it as it was.

    Its distribution object, which would keep tensors of the graph, is restored as well.

    :param policy: Policy
    """
    training, distribution = policy.training, vars(policy.action_dist).copy()
    policy.set_training_mode(False)
    try:
        yield
    finally:
        policy.set_training_mode(training)
        vars(policy.action_dist).clear()
        vars(policy.action_dist).update(distribution)
