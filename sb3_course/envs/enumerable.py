"""Small worlds whose answers are known: every expectation in them can be computed."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

Array: TypeAlias = np.ndarray[Any, Any]
Trajectory = tuple[float, tuple[int, ...], tuple[int, ...], list[float]]


class VectorWorld(VecEnv):
    """A world that steps N copies at once; subclasses give ``observe``, ``begin`` and ``move``.

    :param num_envs: N
    :param observation_space: Of one copy
    :param action_space: Of one copy
    """

    def __init__(
        self, num_envs: int, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
    ) -> None:
        super().__init__(num_envs, observation_space, action_space)
        self.generator = np.random.default_rng(0)

    def observe(self) -> Array:
        """Give the observation of every copy, of shape (N, …)."""
        raise NotImplementedError

    def begin(self, which: Array) -> None:
        """Begin a new episode.

        :param which: Numbers of the copies
        """
        raise NotImplementedError

    def move(self, actions: Array) -> tuple[Array, Array, Array]:
        """Make one step of every copy.

        :param actions: Of shape (N, …)
        :return: Rewards, terminated and truncated, of shape (N,) each
        """
        raise NotImplementedError

    def reset(self) -> Array:
        """Begin an episode everywhere; what was seeded starts its random stream anew."""
        if self._seeds[0] is not None:
            self.generator = np.random.default_rng(self._seeds[0])
            self._reset_seeds()
        self.begin(np.arange(self.num_envs))
        return self.observe()

    def step_async(self, actions: Array) -> None:
        """Take the actions.

        :param actions: Of shape (N, …)
        """
        self.actions = actions

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        """Make the step, with SB3's same-step reset."""
        rewards, terminated, truncated = self.move(self.actions)
        dones = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if dones.any():
            final = self.observe()
            for n in np.flatnonzero(dones):
                infos[n]["terminal_observation"] = final[n]
                infos[n]["TimeLimit.truncated"] = bool(truncated[n] and not terminated[n])
            self.begin(np.flatnonzero(dones))
        return self.observe(), rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Do nothing."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Answer SB3's question for the render mode.

        :param attr_name: What is asked for
        :param indices: Not used
        """
        if attr_name == "render_mode":
            return [None] * self.num_envs
        raise AttributeError(attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: the copies are no objects."""
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        """Refuse: the copies are no objects."""
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Say no for every copy."""
        return [False] * self.num_envs


class TabularMDP(VectorWorld):
    """A few states and actions, drawn at random; episodes of fixed length.

    By default so small (three states, two actions, three steps) that every trajectory can be
    written down. Longer ones are solved exactly by dynamic programming.

    ================  =========  ===============================
    variable          shape      meaning
    ================  =========  ===============================
    ``transition``    (S, A, S)  p(s'|s, a)
    ``reward``        (S, A)     r(s, a)
    ``start``         (S,)       p(s_0)
    ``horizon``                  steps of an episode, H
    ================  =========  ===============================

    :param num_envs: How many copies step at once
    :param table_seed: Seed of the tables
    :param horizon: H
    :param n_states: S
    :param n_actions: A
    :param concentration: Of the Dirichlet draws of p(·|s, a): small ones make it nearly certain
        where an action leads
    :param reward_offset: Mean of the rewards, whose standard deviation is 1
    """

    def __init__(
        self,
        num_envs: int,
        table_seed: int = 1,
        horizon: int = 3,
        n_states: int = 3,
        n_actions: int = 2,
        concentration: float = 1.0,
        reward_offset: float = 3.0,
    ) -> None:
        super().__init__(num_envs, spaces.Discrete(n_states), spaces.Discrete(n_actions))
        self.horizon, self.n_states, self.n_actions = horizon, n_states, n_actions
        table = np.random.default_rng(table_seed)
        shape = (n_states, n_actions)
        self.transition: Array = table.dirichlet(np.full(n_states, concentration), size=shape)
        self.reward: Array = reward_offset + table.normal(size=shape)
        self.start: Array = table.dirichlet(np.ones(n_states))
        self.state = np.zeros(num_envs, dtype=np.int64)
        self.t = np.zeros(num_envs, dtype=int)

    def observe(self) -> Array:
        """See :class:`VectorWorld`."""
        return self.state.copy()

    def begin(self, which: Array) -> None:
        """See :class:`VectorWorld`."""
        self.state[which] = self.generator.choice(self.n_states, size=len(which), p=self.start)
        self.t[which] = 0

    def move(self, actions: Array) -> tuple[Array, Array, Array]:
        """See :class:`VectorWorld`."""
        rewards = self.reward[self.state, actions]
        cumulative = self.transition[self.state, actions].cumsum(axis=1)
        draw = self.generator.random((self.num_envs, 1))
        self.state = np.minimum((draw > cumulative).sum(axis=1), self.n_states - 1)
        self.t += 1
        return rewards, self.t == self.horizon, np.zeros(self.num_envs, dtype=bool)

    # -- exact answers ---------------------------------------------------------------------------

    def log_probs(self, policy: ActorCriticPolicy) -> th.Tensor:
        """Log π(a|s) as a differentiable table.

        :param policy: A policy for this world
        :return: Of shape (S, A), float64
        """
        distribution = policy.get_distribution(th.arange(self.n_states))
        columns = [
            distribution.log_prob(th.full((self.n_states,), a)) for a in range(self.n_actions)
        ]
        return th.stack(columns, dim=1).double()

    def probs(self, policy: ActorCriticPolicy) -> Array:
        """Give π(a|s) as a table.

        :param policy: A policy for this world
        :return: Of shape (S, A)
        """
        with th.no_grad():
            table: Array = self.log_probs(policy).exp().numpy()
        return table

    def action_values(self, probs: Array, gamma: float = 1.0) -> tuple[Array, Array]:
        r"""Solve for the values by dynamic programming, backwards from the last step.

        .. math:: Q_t(s, a) = r(s, a) + \gamma \sum_{s'} p(s'|s, a) V_{t+1}(s')
            \qquad V_t(s) = \sum_a \pi(a|s) Q_t(s, a)

        :param probs: π(a|s), of shape (S, A)
        :param gamma: γ
        :return: Q, of shape (H, S, A), and V, of shape (H + 1, S), whose last row is 0
        """
        q = np.zeros((self.horizon, self.n_states, self.n_actions))
        v = np.zeros((self.horizon + 1, self.n_states))
        for t in reversed(range(self.horizon)):
            q[t] = self.reward + gamma * self.transition @ v[t + 1]
            v[t] = (probs * q[t]).sum(axis=1)
        return q, v

    def objective(self, probs: Array) -> float:
        """J, the expected undiscounted return.

        :param probs: π(a|s), of shape (S, A)
        """
        return float(self.start @ self.action_values(probs)[1][0])

    def visits(self, probs: Array) -> Array:
        """Give p(s_t = s) under a policy.

        :param probs: π(a|s), of shape (S, A)
        :return: Of shape (H, S)
        """
        chain = np.einsum("sa,sax->sx", probs, self.transition)
        rows = [self.start]
        for _ in range(self.horizon - 1):
            rows.append(rows[-1] @ chain)
        return np.array(rows)

    def trajectories(self) -> Iterator[Trajectory]:
        """Yield (probability without the policy's part, states, actions, rewards) of each."""
        n, m, h = self.n_states, self.n_actions, self.horizon
        for states in product(range(n), repeat=h):
            for actions in product(range(m), repeat=h):
                p = self.start[states[0]]
                for t in range(h - 1):
                    p *= self.transition[states[t], actions[t], states[t + 1]]
                pairs = zip(states, actions, strict=True)
                yield p, states, actions, [self.reward[s, a] for s, a in pairs]

    def expected_estimate(
        self,
        policy: ActorCriticPolicy,
        parameters: list[nn.Parameter],
        weigh: Callable[[list[float]], list[float]],
    ) -> th.Tensor:
        r"""Exact :math:`E[\sum_t \nabla \log \pi(a_t|s_t) w_t] / H`, flat.

        With total returns and with undiscounted rewards to go this is ∇J / H.

        :param policy: A policy for this world
        :param parameters: θ
        :param weigh: From an episode's rewards to its w
        :return: Of shape (P,)
        """
        log_pi = self.log_probs(policy)
        surrogate = th.zeros((), dtype=th.float64)
        for p, states, actions, rewards in self.trajectories():
            scores = log_pi[list(states), list(actions)]
            probability = p * scores.sum().exp().detach()
            surrogate = surrogate + probability * (scores * th.tensor(weigh(rewards))).sum()
        gradients = th.autograd.grad(surrogate / self.horizon, parameters)
        return th.cat([g.flatten() for g in gradients]).double()

    def gradient(
        self, policy: ActorCriticPolicy, parameters: list[nn.Parameter], gamma: float = 1.0
    ) -> th.Tensor:
        """Exact ∇J / H of the discounted return, flat, by differentiating J itself.

        :param policy: A policy for this world
        :param parameters: θ
        :param gamma: γ
        :return: Of shape (P,)
        """
        log_pi = self.log_probs(policy)
        objective = th.zeros((), dtype=th.float64)
        for p, states, actions, rewards in self.trajectories():
            probability = p * log_pi[list(states), list(actions)].sum().exp()
            total = sum(gamma**t * r for t, r in enumerate(rewards))
            objective = objective + probability * total
        gradients = th.autograd.grad(objective / self.horizon, parameters)
        return th.cat([g.flatten() for g in gradients]).double()


class Tightrope(TabularMDP):
    r"""The tightrope walker of CS285 homework 1: one right action on the rope, and no way back.

    States 0 … T-1 are places on the rope and state T is the net. The right action goes one place
    on, every other one falls; what has fallen stays in the net. The cost of a step is 1 where the
    action is not the expert's, so that its reward is

    .. math:: r(s, a) = -\mathbb{1}[a \ne \pi^*(s)]

    :param num_envs: How many copies step at once
    :param horizon: T, steps of an episode
    :param n_actions: A; the expert's action differs from place to place
    """

    def __init__(self, num_envs: int, horizon: int, n_actions: int = 10) -> None:
        super().__init__(num_envs, horizon=horizon, n_states=horizon + 1, n_actions=n_actions)
        places, net = np.arange(horizon), horizon
        self.expert = np.arange(horizon + 1) % n_actions
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

    :param num_envs: How many copies step at once
    :param horizon: H, steps of an episode
    """

    def __init__(self, num_envs: int, horizon: int = 10) -> None:
        super().__init__(num_envs, spaces.Box(-np.inf, np.inf, (1,)), spaces.Box(-1e3, 1e3, (1,)))
        self.horizon = horizon
        self.state = np.zeros(num_envs)
        self.t = np.zeros(num_envs, dtype=int)

    def observe(self) -> Array:
        """See :class:`VectorWorld`."""
        return self.state[:, None].astype(np.float32)

    def begin(self, which: Array) -> None:
        """See :class:`VectorWorld`."""
        self.state[which] = self.generator.normal(size=len(which))
        self.t[which] = 0

    def move(self, actions: Array) -> tuple[Array, Array, Array]:
        """See :class:`VectorWorld`."""
        action = actions[:, 0].astype(np.float64)
        rewards = -(self.state**2) - 0.01 * action**2
        self.state = self.state + action
        self.t += 1
        return rewards, self.t == self.horizon, np.zeros(self.num_envs, dtype=bool)

    def second_moments(self, k: th.Tensor, log_std: th.Tensor) -> th.Tensor:
        r"""E[s_t²] of a ~ N(k s, σ²), exactly.

        .. math:: m_0 = 1 \qquad m_{t+1} = (1 + k)^2 m_t + \sigma^2

        :param k: Scalar
        :param log_std: log σ, scalar
        :return: m_0 … m_{H-1}, of shape (H,), differentiable
        """
        moments = [th.ones_like(k)]
        for _ in range(self.horizon - 1):
            moments.append((1 + k) ** 2 * moments[-1] + (2 * log_std).exp())
        return th.stack(moments)

    def objective(self, k: th.Tensor, log_std: th.Tensor) -> th.Tensor:
        r"""J, the expected undiscounted return, exactly.

        .. math:: J = -\sum_{t=0}^{H-1} \left( m_t + 0.01 (k^2 m_t + \sigma^2) \right)

        :param k: Scalar
        :param log_std: log σ, scalar
        :return: Scalar, differentiable
        """
        moments = self.second_moments(k, log_std)
        return -(moments + 0.01 * (k**2 * moments + (2 * log_std).exp())).sum()

    def fisher(self, k: th.Tensor, log_std: th.Tensor) -> th.Tensor:
        r"""Fisher information of the policy in (k, log σ), averaged over the steps.

        .. math:: F = \operatorname{diag}\left( \frac{\bar m}{\sigma^2}, 2 \right)
            \qquad \bar m = \frac{1}{H} \sum_t m_t

        :param k: Scalar
        :param log_std: log σ, scalar
        :return: Of shape (2, 2)
        """
        curvature = self.second_moments(k, log_std).mean() * (-2 * log_std).exp()
        return th.diag(th.stack([curvature, th.full_like(curvature, 2.0)]))
