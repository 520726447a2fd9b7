"""What a policy is made of, and whether its layers are all that is run."""

from typing import Any

from stable_baselines3.common.policies import ActorCriticPolicy
from torch.nn.modules import module as global_hooks

METHODS = (
    "forward",
    "extract_features",
    "get_distribution",
    "predict_values",
    "_get_action_dist_from_latent",
    "proba_distribution",
    "get_actions",
    "sample",
    "log_prob",
    "entropy",
)
"""Methods that formulas stand for, of a policy, its modules and its distribution."""


class Structure:
    """The modules and the parameters of a policy at present, and what may come between them.

    :param policy: Policy
    """

    def __init__(self, policy: ActorCriticPolicy) -> None:
        modules = list(policy.modules())
        self._tables: list[dict[str, Any]] = []
        self._hooks: list[Any] = [
            global_hooks._global_forward_hooks,
            global_hooks._global_forward_pre_hooks,
            global_hooks._global_backward_hooks,
            global_hooks._global_backward_pre_hooks,
        ]
        for module in modules:
            self._tables += [module._modules, module._parameters]
            self._hooks += [
                module._forward_hooks,
                module._forward_pre_hooks,
                module._backward_hooks,
                module._backward_pre_hooks,
            ]
        self._slots = [(table, *item) for table in self._tables for item in table.items()]
        self._parameters = list(policy.parameters())
        self._owners = [*modules, policy.action_dist]

    @property
    def is_same(self) -> bool:
        """Whether the policy still has the modules and the parameters that it had."""
        return sum(map(len, self._tables)) == len(self._slots) and all(
            table.get(name) is value for table, name, value in self._slots
        )

    @property
    def is_plain(self) -> bool:
        """Whether there are no hooks, on modules or gradients, and no replaced methods."""
        return not (
            any(self._hooks)
            or any(parameter._backward_hooks for parameter in self._parameters)
            or not all(vars(owner).keys().isdisjoint(METHODS) for owner in self._owners)
        )
