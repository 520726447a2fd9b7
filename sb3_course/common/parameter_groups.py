"""Which parameters of a policy are the actor's and which are the critic's."""

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from sb3_course.collection.observations import zero_observation
from sb3_course.estimators.chunks import examined


def split_parameters(
    policy: ActorCriticPolicy,
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split a policy's parameters into the actor's and the critic's.

    The actor's are those that the action distribution depends on, the critic's are the others that
    the value depends on. Autograd finds these dependencies, so that any ``ActorCriticPolicy`` is
    supported, whatever its modules are called. A features extractor that both share belongs to the
    actor: a step of the critic must not change the policy. Frozen parameters (``requires_grad`` is
    False) are split like the others, so that they may be unfrozen later.

    :param policy: Policy to split
    :return: Parameters of the actor and of the critic, each in the order of ``policy.parameters()``
    """
    parameters = list(policy.parameters())
    obs, _ = policy.obs_to_tensor(zero_observation(policy.observation_space))
    with examined(policy):
        distribution = policy.get_distribution(obs)
        log_prob = distribution.log_prob(distribution.get_actions(deterministic=True)).sum()
        value = policy.predict_values(obs).sum()
        of_actor = _depends_on(log_prob, parameters)
        of_value = _depends_on(value, parameters)
    actor = [p for p, is_actor in zip(parameters, of_actor, strict=True) if is_actor]
    critic = [
        p
        for p, is_actor, is_value in zip(parameters, of_actor, of_value, strict=True)
        if is_value and not is_actor
    ]
    return actor, critic


def trainable(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Return the parameters that are not frozen at present.

    :param parameters: Parameters of a group
    :return: Parameters that require a gradient
    """
    return [p for p in parameters if p.requires_grad]


def _depends_on(output: th.Tensor, parameters: list[nn.Parameter]) -> list[bool]:
    if not output.requires_grad:
        return [False] * len(parameters)
    gradients = th.autograd.grad(output, parameters, allow_unused=True)
    return [gradient is not None for gradient in gradients]
