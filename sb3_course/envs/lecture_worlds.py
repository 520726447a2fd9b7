"""Worlds of CS285's lectures and homework whose expectations are known exactly."""

import numpy as np
import torch as th
from gymnasium import spaces

from sb3_course.envs.enumerable import Array, TabularMDP, VectorWorld

N_ACTIONS = 10


class Tightrope(TabularMDP):
    r"""The tightrope walker of CS285 lecture 2: one right action on the rope, and no way back.

    States 0 … T-1 are places on the rope and state T is the net. The expert's action moves one
    place forward, every other action falls, and whoever has fallen stays in the net. A step costs
    1 if the action is not the expert's, which differs from place to place:

    .. math:: r(s, a) = -\mathbb{1}[a \ne \pi^*(s)]

    :param num_envs: Number of copies, N
    :param horizon: Number of steps in an episode, T
    """

    def __init__(self, num_envs: int, horizon: int) -> None:
        super().__init__(num_envs, horizon=horizon, n_states=horizon + 1, n_actions=N_ACTIONS)
        places, net = np.arange(horizon), horizon
        self.expert = np.arange(horizon + 1) % N_ACTIONS
        self.transition = np.zeros_like(self.transition)
        self.transition[:, :, net] = 1.0
        self.transition[places, self.expert[places], net] = 0.0
        self.transition[places, self.expert[places], np.minimum(places + 1, horizon - 1)] = 1.0
        self.reward = np.full_like(self.reward, -1.0)
        self.reward[np.arange(horizon + 1), self.expert] = 0.0
        self.start = np.eye(horizon + 1)[0]


class LectureWorld(VectorWorld):
    r"""The one-dimensional world of CS285 lecture 5 (Peters and Schaal 2008).

    .. math:: s' = s + a \qquad r(s, a) = -s^2 - 0.01 a^2 \qquad s_0 \sim \mathcal{N}(0, 1)

    :param num_envs: Number of copies, N
    :param horizon: Number of steps in an episode, H
    """

    def __init__(self, num_envs: int, horizon: int = 10) -> None:
        super().__init__(num_envs, spaces.Box(-np.inf, np.inf, (1,)), spaces.Box(-1e3, 1e3, (1,)))
        self.horizon = horizon
        self.state = np.zeros(num_envs)
        self.t = np.zeros(num_envs, dtype=int)

    def observe(self) -> Array:
        """Return the state of every copy, of shape (N, 1)."""
        return self.state[:, None].astype(np.float32)

    def begin(self, which: Array) -> None:
        """Draw first states from N(0, 1)."""
        self.state[which] = self.generator.normal(size=len(which))
        self.t[which] = 0

    def move(self, actions: Array) -> tuple[Array, Array, Array]:
        """Add the actions to the states."""
        action = actions[:, 0].astype(np.float64)
        rewards = -(self.state**2) - 0.01 * action**2
        self.state = self.state + action
        self.t += 1
        return rewards, self.t == self.horizon, np.zeros(self.num_envs, dtype=bool)

    def second_moments(self, k: th.Tensor, log_std: th.Tensor) -> th.Tensor:
        r"""Compute E[s_t²] of the policy a ~ N(k s, σ²) exactly.

        .. math:: m_0 = 1 \qquad m_{t+1} = (1 + k)^2 m_t + \sigma^2

        :param k: Gain of the policy, a scalar
        :param log_std: Logarithm of σ, a scalar
        :return: Moments m_0 … m_{H-1}, of shape (H,), differentiable
        """
        moments = [th.ones_like(k)]
        for _ in range(self.horizon - 1):
            moments.append((1 + k) ** 2 * moments[-1] + (2 * log_std).exp())
        return th.stack(moments)

    def objective(self, k: th.Tensor, log_std: th.Tensor) -> th.Tensor:
        r"""Compute J, the expected undiscounted return, exactly.

        .. math:: J = -\sum_{t=0}^{H-1} \left( m_t + 0.01 (k^2 m_t + \sigma^2) \right)

        :param k: Gain of the policy, a scalar
        :param log_std: Logarithm of σ, a scalar
        :return: J, a differentiable scalar
        """
        moments = self.second_moments(k, log_std)
        return -(moments + 0.01 * (k**2 * moments + (2 * log_std).exp())).sum()

    def fisher(self, k: th.Tensor, log_std: th.Tensor) -> th.Tensor:
        r"""Compute the policy's Fisher information in (k, log σ), averaged over the steps.

        .. math:: F = \operatorname{diag}\left( \frac{\bar m}{\sigma^2}, 2 \right)
            \qquad \bar m = \frac{1}{H} \sum_t m_t

        :param k: Gain of the policy, a scalar
        :param log_std: Logarithm of σ, a scalar
        :return: F, of shape (2, 2)
        """
        curvature = self.second_moments(k, log_std).mean() * (-2 * log_std).exp()
        return th.diag(th.stack([curvature, th.full_like(curvature, 2.0)]))
