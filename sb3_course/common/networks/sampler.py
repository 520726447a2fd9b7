"""Actions of a policy that stays as it is, where Python's overhead costs more than arithmetic."""

from collections.abc import Callable
from typing import Any

import torch as th
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn
from torch.nn import functional as F

from sb3_course.common.networks.architecture import is_mlp


def make_sampler(policy: ActorCriticPolicy) -> Callable[[Any], th.Tensor]:
    """Make ``obs -> policy.get_distribution(obs).get_actions()`` for a policy that stays as it is.

    For SB3's own Gaussian MLP policy on vectors it runs the layers itself: the same numbers, from
    the same random stream, in half the time. Any other policy is called through its methods.

    :param policy: Policy; after a change of its parameters, make the function again
    :return: Function from observation tensors of shape (N, …) to actions of shape (N, …)
    """
    if not (is_mlp(policy) and type(policy.action_dist) is DiagGaussianDistribution):
        return lambda obs: policy.get_distribution(obs).get_actions()
    layers, std = [*policy.mlp_extractor.policy_net, policy.action_net], policy.log_std.exp()

    def sample(obs: th.Tensor) -> th.Tensor:
        x = obs
        for layer in layers:
            # without the overhead of Module.__call__
            is_linear = type(layer) is nn.Linear
            x = F.linear(x, layer.weight, layer.bias) if is_linear else layer.forward(x)
        return th.normal(x, std.expand_as(x))

    return sample
