"""Gradients of single trajectories, which the optimal baseline and the variance need."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.utils.rnn import pad_sequence

from sb3_course.collection.observations import TensorObs

CHUNK_TRANSITIONS = 8192


class _LogProb(nn.Module):
    """log π(a|s) as a module, since that is what ``functional_call`` calls."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, obs: TensorObs, actions: th.Tensor) -> th.Tensor:
        return self.policy.get_distribution(obs).log_prob(actions)


def trajectory_gradients(
    policy: ActorCriticPolicy,
    parameters: list[nn.Parameter],
    obs: TensorObs,
    actions: th.Tensor,
    weights: th.Tensor,
    lengths: list[int],
    chunk_transitions: int = CHUNK_TRANSITIONS,
) -> th.Tensor:
    r"""Weighted score of each trajectory, for several weights at once.

    .. math:: G_{i,w} = \sum_{t \in \tau_i} w_t \, \nabla_\theta \log \pi_\theta(a_t \mid s_t)

    With weight 1 this is the trajectory's score S, with weight Q̂_t its estimate A. One reverse pass
    through ``torch.func`` serves a chunk of trajectories, so the memory that activations take is
    bounded by ``chunk_transitions`` (a trajectory longer than that makes a chunk alone). The result
    itself holds K·W·P numbers.

    :param policy: The policy
    :param parameters: The P numbers' parameters θ, in the order of the last dimension
    :param obs: s_t of all trajectories one after another, of shape (M, …)
    :param actions: a_t, of shape (M, …)
    :param weights: w_t, of shape (M, W)
    :param lengths: Number of steps of each of the K trajectories; they sum to M
    :param chunk_transitions: How many transitions (padding included) one pass takes
    :return: G, of shape (K, W, P)
    """
    module = _LogProb(policy)
    places = _places(module, parameters)
    theta = [p.detach() for p in parameters]

    def weighted_score(
        theta: list[th.Tensor], obs: TensorObs, actions: th.Tensor, weights: th.Tensor
    ) -> th.Tensor:
        swapped = {place: theta[i] for place, i in places.items()}
        # Not tie_weights=True: where a module has two names (a shared features extractor), that
        # leaves its own parameters swapped out for good.
        log_prob: th.Tensor = functional_call(module, swapped, (obs, actions), tie_weights=False)
        return log_prob @ weights

    gradients = vmap(jacrev(weighted_score), in_dims=(None, 0, 0, 0), randomness="different")
    obs = preprocess_obs(obs, policy.observation_space, policy.normalize_images)
    batch = {"actions": actions, "weights": weights.to(th.float32)}
    batch |= {f"obs:{k}": v for k, v in obs.items()} if isinstance(obs, dict) else {"obs": obs}
    pieces = {name: th.split(values, lengths) for name, values in batch.items()}
    size = sum(p.numel() for p in parameters)
    result = weights.new_empty((len(lengths), weights.shape[1], size), dtype=th.float32)
    with _preprocessed(policy, obs):
        for chunk in _chunks(lengths, chunk_transitions):
            padded = {
                name: pad_sequence([parts[i] for i in chunk], batch_first=True)
                for name, parts in pieces.items()
            }
            chunk_obs = padded.get("obs", {k[4:]: v for k, v in padded.items() if k[:4] == "obs:"})
            jacobian = gradients(theta, chunk_obs, padded["actions"], padded["weights"])
            result[chunk] = th.cat([g.flatten(2) for g in jacobian], dim=2)
    return result


@contextmanager
def _preprocessed(policy: ActorCriticPolicy, obs: TensorObs) -> Iterator[None]:
    """Let the policy take observations as they are, since one-hot coding cannot be vectorized over.

    It is in evaluation mode meanwhile, which is how it acted. Its distribution object is put back
    too: it would keep tensors of the finished transform.
    """
    space, distribution = policy.observation_space, vars(policy.action_dist).copy()
    training = policy.training
    policy.set_training_mode(False)
    policy.observation_space = _float_space(obs)
    try:
        yield
    finally:
        policy.set_training_mode(training)
        policy.observation_space = space
        vars(policy.action_dist).clear()
        vars(policy.action_dist).update(distribution)


def _float_space(obs: TensorObs) -> spaces.Space[Any]:
    if isinstance(obs, dict):
        return spaces.Dict({key: _float_space(value) for key, value in obs.items()})
    return spaces.Box(-np.inf, np.inf, obs.shape[1:])


def _places(module: nn.Module, parameters: list[nn.Parameter]) -> dict[str, int]:
    """Name every place where a parameter stands, each module once, with the parameter's index."""
    index = {id(p): i for i, p in enumerate(parameters)}
    return {
        f"{prefix}.{name}": index[id(parameter)]
        for prefix, part in module.named_modules()
        for name, parameter in part.named_parameters(recurse=False)
        if id(parameter) in index
    }


def _chunks(lengths: list[int], chunk_transitions: int) -> list[list[int]]:
    """Group trajectories of like length, so that little is padded."""
    chunks: list[list[int]] = []
    longest = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not chunks or longest * (len(chunks[-1]) + 1) > chunk_transitions:
            chunks.append([])
            longest = lengths[i]
        chunks[-1].append(i)
    return chunks
