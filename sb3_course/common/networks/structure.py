"""What a policy is made of, and whether its layers are all that is run."""

from itertools import chain
from operator import is_
from typing import Any

from stable_baselines3.common.policies import ActorCriticPolicy
from torch.nn.modules import module as global_hooks

METHODS = (
    "forward",
    "forward_actor",
    "forward_critic",
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
        self._policy, self._action_dist = policy, policy.action_dist
        self._parts = [part for table in self._tables for part in table.values()]
        self._parameters = list(policy.parameters())
        self._attributes = [vars(owner) for owner in (*modules, policy.action_dist)]
        self._sizes: list[int] = []
        self._was_plain = self.is_plain

    @property
    def is_as_it_was(self) -> bool:
        """Whether the policy may be evaluated as when this structure was taken down."""
        return self.is_same and self.is_plain == self._was_plain

    @property
    def is_same(self) -> bool:
        """Whether the policy still has its modules, parameters and kind of distribution."""
        if self._policy.action_dist is not self._action_dist:
            return False
        parts = chain.from_iterable(table.values() for table in self._tables)
        return sum(map(len, self._tables)) == len(self._parts) and all(map(is_, parts, self._parts))

    @property
    def is_plain(self) -> bool:
        """Whether there are no hooks, on modules or gradients, and no replaced methods."""
        sizes = [len(attributes) for attributes in self._attributes]
        if sizes != self._sizes:  # a replaced method is one attribute more
            if not all(attributes.keys().isdisjoint(METHODS) for attributes in self._attributes):
                return False
            self._sizes = sizes
        return not (
            any(self._hooks) or any(parameter._backward_hooks for parameter in self._parameters)
        )
