"""The policy on the hot path, where Python's overhead costs more than the arithmetic.

For SB3's own MLP policy on vectors the functions here run the layers themselves. They return the
same numbers, from the same random stream, as the policy's methods, in half the time. Any other
policy is called through its methods.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from torch import nn
from torch.nn import functional as F

Network: TypeAlias = Callable[[Any], th.Tensor]
Scores: TypeAlias = tuple[th.Tensor, th.Tensor]
Score: TypeAlias = Callable[[], Scores]


def make_sampler(policy: ActorCriticPolicy) -> Network:
    """Make ``obs -> policy.get_distribution(obs).get_actions()`` for a policy that stays as it is.

    :param policy: Policy; after a change of its parameters, make the function again
    :return: Function from observation tensors of shape (N, …) to actions of shape (N, …)
    """
    if not _is_gaussian_mlp(policy):
        return lambda obs: policy.get_distribution(obs).get_actions()
    mean, std = _network(policy.mlp_extractor.policy_net, policy.action_net), policy.log_std.exp()

    def sample(obs: th.Tensor) -> th.Tensor:
        loc = mean(obs)
        return th.normal(loc, std.expand_as(loc))

    return sample


def make_actor(policy: ActorCriticPolicy) -> Callable[[Any], tuple[th.Tensor, Score]]:
    """Make the function that samples actions by a differentiable forward pass.

    :param policy: Policy, whose parameters may change between calls
    :return: Function from observations of shape (N, …) to actions of shape (N, …), without
        gradient, and a function without arguments that computes, later, their log π(a|s) of shape
        (N,) and the mean entropy in nats, both differentiable
    """
    if not _is_gaussian_mlp(policy):
        return lambda obs: _act_by_methods(policy, obs)
    mean = _network(policy.mlp_extractor.policy_net, policy.action_net)

    def act(obs: th.Tensor) -> tuple[th.Tensor, Score]:
        loc, log_std = mean(obs), policy.log_std
        std = log_std.exp()
        with th.no_grad():
            actions = th.normal(loc, std.expand_as(loc))
        return actions, lambda: _score(actions, loc, log_std, std)

    return act


def make_scorer(policy: ActorCriticPolicy) -> Callable[[Any, th.Tensor], Scores]:
    """Make the function that computes the log-probability of actions.

    :param policy: Policy, whose parameters may change between calls
    :return: Function from observations of shape (N, …) and actions of shape (N, …) to log π(a|s) of
        shape (N,) and the mean entropy in nats, both differentiable
    """
    if not _is_gaussian_mlp(policy):
        return lambda obs, actions: _score_by_distribution(policy.get_distribution(obs), actions)
    mean = _network(policy.mlp_extractor.policy_net, policy.action_net)

    def score(obs: th.Tensor, actions: th.Tensor) -> Scores:
        return _score(actions, mean(obs), policy.log_std, policy.log_std.exp())

    return score


def make_critic(policy: ActorCriticPolicy) -> Network:
    """Make ``obs -> policy.predict_values(obs).flatten()``.

    :param policy: Policy, whose parameters may change between calls
    :return: Function from observations of shape (N, …) to values of shape (N,)
    """
    if not _is_mlp(policy):
        return lambda obs: policy.predict_values(obs).flatten()
    value = _network(policy.mlp_extractor.value_net, policy.value_net)
    return lambda obs: value(obs).flatten()


HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def _act_by_methods(policy: ActorCriticPolicy, obs: Any) -> tuple[th.Tensor, Score]:
    distribution = policy.get_distribution(obs)
    actions = distribution.get_actions().detach()
    return actions, lambda: _score_by_distribution(distribution, actions)


def _score_by_distribution(distribution: Distribution, actions: th.Tensor) -> Scores:
    entropy = distribution.entropy()
    assert entropy is not None, "only squashed distributions lack an entropy"
    return distribution.log_prob(actions), entropy.mean()


def _score(actions: th.Tensor, loc: th.Tensor, log_std: th.Tensor, std: th.Tensor) -> Scores:
    """Log-density and entropy of the Gaussian with mean ``loc`` and deviations ``std``."""
    entropy = log_std.sum() + len(log_std) * (0.5 + HALF_LOG_TAU)
    squares = ((actions - loc) / std).square().sum(dim=1)
    return -0.5 * squares - (entropy - 0.5 * len(log_std)), entropy


def _network(*parts: nn.Module) -> Network:
    """Run modules one after the other, without the overhead of ``Module.__call__``."""
    layers = [
        layer for part in parts for layer in (part if isinstance(part, nn.Sequential) else [part])
    ]

    def forward(x: th.Tensor) -> th.Tensor:
        for layer in layers:
            if type(layer) is nn.Linear:
                x = F.linear(x, layer.weight, layer.bias)
            else:
                x = layer.forward(x)
        return x

    return forward


def _is_mlp(policy: ActorCriticPolicy) -> bool:
    """Whether the layers' own forward passes are all that the policy's methods would run."""
    space = policy.observation_space
    return (
        type(policy) is ActorCriticPolicy
        and isinstance(space, spaces.Box)
        and len(space.shape) == 1
        and space.dtype.kind == "f"
        and type(policy.features_extractor) is FlattenExtractor
        and type(policy.mlp_extractor) is MlpExtractor
        and not any(m._forward_hooks or m._forward_pre_hooks for m in policy.modules())
    )


def _is_gaussian_mlp(policy: ActorCriticPolicy) -> bool:
    return _is_mlp(policy) and type(policy.action_dist) is DiagGaussianDistribution
