"""A policy as one graph: from an environment's raw observations to the actions it is given."""

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

OBSERVATION, ACTION = "observation", "action"
"""Names of the input of a policy whose observations are no Dict, and of the output."""


class PolicyGraph(nn.Module):
    r"""The deterministic policy between raw observations and actions for the environment.

    It computes what SB3's ``predict(deterministic=True)`` returns for observations that
    ``VecNormalize`` has normalized: with running mean μ, variance σ², SB3's ε and clip c,

    .. math:: a = \operatorname{fit}\Bigl(\operatorname{mode} \pi\bigl(\cdot \mid
        \operatorname{clip}((o - \mu) / \sqrt{\sigma^2 + \varepsilon}, -c, c)\bigr)\Bigr)

    where fit rescales the output of a squashed policy to the bounds of a Box, and clips to them.
    Differences from μ are taken in float64, as ``VecNormalize`` does.

    :param policy: Policy on the CPU
    :param normalization: Normalization of its observations, or None
    :ivar inputs: Spaces of a Dict by their keys, or the one space as :data:`OBSERVATION`
    """

    def __init__(self, policy: BasePolicy, normalization: VecNormalize | None = None) -> None:
        super().__init__()
        policy.set_training_mode(False)
        self.policy = policy
        seen = policy.observation_space
        self._is_dict = isinstance(seen, spaces.Dict)
        self.inputs = dict(seen.spaces) if isinstance(seen, spaces.Dict) else {OBSERVATION: seen}
        self.normalizers = nn.ModuleList(
            _normalizer(normalization, name if self._is_dict else None) for name in self.inputs
        )
        space: Any = policy.action_space
        self.fit = (
            _Bounded(space, policy.squash_output)
            if isinstance(space, spaces.Box)
            else _Whole(space)
        )

    def forward(self, *observations: th.Tensor) -> th.Tensor:
        """Compute the actions.

        :param observations: Raw observations of shape (M, …), one tensor for each of ``inputs``
        :return: Actions of shape (M, …), of the action space's dtype; floats for whole numbers in a
            Box, as ``predict`` returns them
        """
        normal = [
            normalize(obs) for normalize, obs in zip(self.normalizers, observations, strict=True)
        ]
        obs = dict(zip(self.inputs, normal, strict=True)) if self._is_dict else normal[0]
        chosen: th.Tensor = self.fit(self.policy._predict(obs, deterministic=True))
        return chosen


def _normalizer(normalization: VecNormalize | None, key: str | None) -> nn.Module:
    """Return the normalization of one input; ``key`` is None where observations are no Dict."""
    if normalization is None or not normalization.norm_obs:
        return nn.Identity()
    moments: Any = normalization.obs_rms
    if key is not None:
        if key not in moments:
            return nn.Identity()
        moments = moments[key]
    deviation = np.sqrt(moments.var + normalization.epsilon)
    return _Standardized(moments.mean, deviation, normalization.clip_obs)


class _Standardized(nn.Module):
    mean: th.Tensor
    deviation: th.Tensor

    def __init__(self, mean: Any, deviation: Any, clip: float) -> None:
        super().__init__()
        self.register_buffer("mean", th.as_tensor(mean, dtype=th.float64))
        self.register_buffer("deviation", th.as_tensor(deviation, dtype=th.float64))
        self.clip = float(clip)

    def forward(self, obs: th.Tensor) -> th.Tensor:
        normal = (obs.to(th.float64) - self.mean) / self.deviation
        return normal.clamp(-self.clip, self.clip).to(th.float32)


class _Bounded(nn.Module):
    """Actions in a Box."""

    low: th.Tensor
    high: th.Tensor

    def __init__(self, space: spaces.Box, squashed: bool) -> None:
        super().__init__()
        self.shape, self.squashed = space.shape, squashed
        numbers = np.result_type(np.float32, space.dtype)  # of whole numbers, too, as predict's
        self.register_buffer("low", th.as_tensor(space.low.astype(numbers)))
        self.register_buffer("high", th.as_tensor(space.high.astype(numbers)))

    def forward(self, actions: th.Tensor) -> th.Tensor:
        # The bounds may be float64, which rounded to float32 could lie outside of themselves.
        shaped = actions.reshape(-1, *self.shape).to(self.low.dtype)
        if self.squashed:
            shaped = self.low + 0.5 * (shaped + 1.0) * (self.high - self.low)
        return th.minimum(th.maximum(shaped, self.low), self.high)


class _Whole(nn.Module):
    """Actions that are whole numbers."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        super().__init__()
        self.shape = tuple(space.shape or ())
        self.dtype = th.as_tensor(np.zeros(0, space.dtype)).dtype

    def forward(self, actions: th.Tensor) -> th.Tensor:
        return actions.reshape(-1, *self.shape).to(self.dtype)
