"""Which policies are multilayer perceptrons and nothing else, and what their layers are."""

from typing import NamedTuple

from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from torch import nn


class Architecture(NamedTuple):
    """Linear layers, from the input to the output, and the class of the activation between."""

    layers: list[nn.Linear]
    activation: type[nn.Module]


def is_mlp(policy: ActorCriticPolicy) -> bool:
    """Return whether the layers' own forward passes are all that the policy's methods would run.

    :param policy: Policy
    :return: Whether it is SB3's own MLP policy on vectors, without hooks
    """
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


def actor_architecture(policy: ActorCriticPolicy) -> Architecture | None:
    """Return the layers of π_θ if the engine knows them and the distribution.

    :param policy: Policy
    :return: Its layers, or None
    """
    known = (DiagGaussianDistribution, CategoricalDistribution)
    if not is_mlp(policy) or type(policy.action_dist) not in known:
        return None
    return _architecture(policy.mlp_extractor.policy_net, policy.action_net)


def critic_architecture(policy: ActorCriticPolicy) -> Architecture | None:
    """Return the layers of V_φ if the engine knows them.

    :param policy: Policy
    :return: Its layers, or None
    """
    if not is_mlp(policy):
        return None
    return _architecture(policy.mlp_extractor.value_net, policy.value_net)


def _architecture(hidden: nn.Module, head: nn.Module) -> Architecture | None:
    """Return linear layers with one activation after each but the last, or None."""
    if type(hidden) is not nn.Sequential:
        return None
    modules = [*hidden, head]
    layers, activations = modules[::2], modules[1::2]
    linear = [layer for layer in layers if type(layer) is nn.Linear and layer.bias is not None]
    kinds = {type(activation) for activation in activations} or {nn.Tanh}
    plain = (
        len(linear) == len(layers)
        and len(activations) == len(layers) - 1
        and len(kinds) == 1
        and kinds <= {nn.Tanh, nn.ReLU}
    )
    return Architecture(linear, kinds.pop()) if plain else None
