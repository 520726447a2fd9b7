"""Which policies are multilayer perceptrons and nothing else, and what their layers are."""

from collections.abc import Sequence
from typing import NamedTuple

from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from torch import nn

from sb3_course.common.networks.structure import Structure


class Architecture(NamedTuple):
    """Linear layers, from the input to the output, and the class of the activation between."""

    layers: list[nn.Linear]
    activation: type[nn.Module]


def is_mlp(policy: ActorCriticPolicy) -> bool:
    """Return whether the layers' own forward passes are all that the policy's methods would run.

    :param policy: Policy
    :return: Whether it is SB3's own MLP policy on vectors, without hooks or replaced methods
    """
    space = policy.observation_space
    extractors = (
        policy.features_extractor,
        policy.pi_features_extractor,
        policy.vf_features_extractor,
    )
    return (
        type(policy) is ActorCriticPolicy
        and isinstance(space, spaces.Box)
        and len(space.shape) == 1
        and space.dtype.kind == "f"
        and all(type(extractor) is FlattenExtractor for extractor in extractors)
        and all(type(extractor.flatten) is nn.Flatten for extractor in extractors)
        and type(policy.mlp_extractor) is MlpExtractor
        and Structure(policy).is_plain
    )


def actor_architecture(
    policy: ActorCriticPolicy, parameters: Sequence[nn.Parameter]
) -> Architecture | None:
    """Return the layers of π_θ if the engine knows them and the distribution.

    :param policy: Policy
    :param parameters: Parameters θ that are trained
    :return: Its layers, or None
    """
    known = (DiagGaussianDistribution, CategoricalDistribution)
    if not is_mlp(policy) or type(policy.action_dist) not in known:
        return None
    log_std = getattr(policy, "log_std", None)
    if log_std is not None and not any(p is log_std for p in parameters):
        return None
    of_layers = [p for p in parameters if p is not log_std]
    return _architecture(policy.mlp_extractor.policy_net, policy.action_net, of_layers)


def critic_architecture(
    policy: ActorCriticPolicy, parameters: Sequence[nn.Parameter]
) -> Architecture | None:
    """Return the layers of V_φ if the engine knows them.

    :param policy: Policy
    :param parameters: Parameters φ that are trained
    :return: Its layers, or None
    """
    if not is_mlp(policy):
        return None
    return _architecture(policy.mlp_extractor.value_net, policy.value_net, parameters)


def _architecture(
    hidden: nn.Module, head: nn.Module, parameters: Sequence[nn.Parameter]
) -> Architecture | None:
    """Return the linear layers that hold these parameters, one activation between them, or None."""
    if type(hidden) is not nn.Sequential:
        return None
    modules = [*hidden, head]
    layers, activations = modules[::2], modules[1::2]
    linear = [layer for layer in layers if type(layer) is nn.Linear and layer.bias is not None]
    kinds = {type(activation) for activation in activations} or {nn.Tanh}
    own = {id(p) for layer in linear for p in (layer.weight, layer.bias)}
    plain = (
        len(linear) == len(layers)
        and len(activations) == len(layers) - 1
        and len(kinds) == 1
        and kinds <= {nn.Tanh, nn.ReLU}
        and own == {id(p) for p in parameters}
    )
    return Architecture(linear, kinds.pop()) if plain else None
