"""Which parameters of a policy are the actor's and which are the critic's."""

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from sb3_course.collection.observations import Obs
from sb3_course.estimators.chunks import examine


def split_parameters(
    policy: ActorCriticPolicy,
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split a policy's parameters into the actor's and the critic's.

    The actor's are those that the action distribution depends on, the critic's are the others that
    the value depends on. Autograd finds these dependencies at example observations, so that any
    ``ActorCriticPolicy`` is supported, whatever its modules are called. What none of them reaches,
    such as the head of a task that no example has, goes with the rest of its module. A features
    extractor that both share belongs to the actor: a step of the critic must not change the policy.
    Frozen parameters (``requires_grad`` is False) are split like the others, so that they may be
    unfrozen later.

    :param policy: Policy to split
    :return: Parameters of the actor and of the critic, each in the order of ``policy.parameters()``
    """
    parameters = list(policy.parameters())

    def dependencies(example: Obs) -> tuple[list[bool], list[bool]]:
        obs, _ = policy.obs_to_tensor(example)
        distribution = policy.get_distribution(obs)
        log_prob = distribution.log_prob(distribution.get_actions(deterministic=True)).sum()
        value = policy.predict_values(obs).sum()
        return _depends_on(log_prob, parameters), _depends_on(value, parameters)

    of_actor, of_value = np.any(list(examine(policy, dependencies)), axis=0)
    whose = [
        "actor" if is_actor else "critic" if is_value else None
        for is_actor, is_value in zip(of_actor, of_value, strict=True)
    ]
    whose = _with_rest_of_module([name for name, _ in policy.named_parameters()], whose)
    actor = [p for p, group in zip(parameters, whose, strict=True) if group == "actor"]
    critic = [p for p, group in zip(parameters, whose, strict=True) if group == "critic"]
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


def _with_rest_of_module(names: list[str], whose: list[str | None]) -> list[str | None]:
    """Add each parameter without a group to that of the smallest module which has one."""
    groups = dict(zip(names, whose, strict=True))

    def group_of(name: str) -> str | None:
        module = name
        while groups[name] is None and "." in module:
            module = module.rpartition(".")[0]
            near = {group for other, group in groups.items() if other.startswith(f"{module}.")}
            for group in ("actor", "critic"):
                if group in near:
                    return group
        return groups[name]

    return [group_of(name) for name in names]
