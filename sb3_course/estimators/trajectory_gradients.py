"""Gradients of single trajectories, for the optimal baseline and the variance of the estimate."""

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
    multipliers: th.Tensor,
    lengths: list[int],
    chunk_transitions: int = CHUNK_TRANSITIONS,
) -> th.Tensor:
    r"""Compute the weighted score of each trajectory, for several multipliers at once.

    .. math:: G_{i,w} = \sum_{t \in \tau_i} m_{t,w} \, \nabla_\theta \log \pi_\theta(a_t \mid s_t)

    With m = 1 this is the trajectory's score S, with m = Q̂_t its estimate A. One reverse pass
    through ``torch.func`` serves a chunk of trajectories, so the memory of activations is bounded
    by ``chunk_transitions`` (a longer trajectory is a chunk by itself). The result holds K·W·P
    numbers.

    :param policy: Policy π_θ
    :param parameters: Parameters θ, of P numbers, in the order of the last dimension
    :param obs: States s_t of all trajectories one after another, of shape (M, …)
    :param actions: Actions a_t, of shape (M, …)
    :param multipliers: Multipliers m_{t,w} of ∇log π, of shape (M, W)
    :param lengths: Number of steps of each of the K trajectories, which sum to M
    :param chunk_transitions: Transitions of one pass, padding included
    :return: Weighted scores G, of shape (K, W, P)
    """
    module = _LogProb(policy)
    places = _places(module, parameters)
    theta = [p.detach() for p in parameters]

    def weighted_score(
        theta: list[th.Tensor], obs: TensorObs, actions: th.Tensor, multipliers: th.Tensor
    ) -> th.Tensor:
        swapped = {place: theta[i] for place, i in places.items()}
        # Not tie_weights=True: where a module has two names (a shared features extractor), that
        # leaves its own parameters swapped out for good.
        log_prob: th.Tensor = functional_call(module, swapped, (obs, actions), tie_weights=False)
        return log_prob @ multipliers

    gradients = vmap(jacrev(weighted_score), in_dims=(None, 0, 0, 0), randomness="different")
    obs = preprocess_obs(obs, policy.observation_space, policy.normalize_images)
    batch = {"actions": actions, "multipliers": multipliers.to(th.float32)}
    batch |= {f"obs:{k}": v for k, v in obs.items()} if isinstance(obs, dict) else {"obs": obs}
    pieces = {name: th.split(values, lengths) for name, values in batch.items()}
    size = sum(p.numel() for p in parameters)
    result = multipliers.new_empty((len(lengths), multipliers.shape[1], size), dtype=th.float32)
    with _preprocessed(policy, obs):
        for chunk in _chunks(lengths, chunk_transitions):
            padded = {
                name: pad_sequence([parts[i] for i in chunk], batch_first=True)
                for name, parts in pieces.items()
            }
            chunk_obs = padded.get("obs", {k[4:]: v for k, v in padded.items() if k[:4] == "obs:"})
            jacobian = gradients(theta, chunk_obs, padded["actions"], padded["multipliers"])
            result[chunk] = th.cat([g.flatten(2) for g in jacobian], dim=2)
    return result


@contextmanager
def _preprocessed(policy: ActorCriticPolicy, obs: TensorObs) -> Iterator[None]:
    """Make the policy take preprocessed observations, since ``vmap`` cannot do one-hot coding.

    Meanwhile it is in evaluation mode, as it was when it acted. Its distribution object is restored
    as well, since it would keep tensors of the finished transform.
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
    """Map the name of every place of a parameter, each module once, to the parameter's index."""
    index = {id(p): i for i, p in enumerate(parameters)}
    return {
        f"{prefix}.{name}": index[id(parameter)]
        for prefix, part in module.named_modules()
        for name, parameter in part.named_parameters(recurse=False)
        if id(parameter) in index
    }


def _chunks(lengths: list[int], chunk_transitions: int) -> list[list[int]]:
    """Group trajectories of similar length, so that there is little padding."""
    chunks: list[list[int]] = []
    longest = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not chunks or longest * (len(chunks[-1]) + 1) > chunk_transitions:
            chunks.append([])
            longest = lengths[i]
        chunks[-1].append(i)
    return chunks
