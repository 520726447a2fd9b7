"""Small Markov decision processes in which every expectation can be computed exactly."""

from collections.abc import Iterator
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
    """Base class of worlds whose N copies step as one array.

    Subclasses implement :meth:`observe`, :meth:`begin` and :meth:`move`.

    :param num_envs: Number of copies, N
    :param observation_space: Observation space of one copy
    :param action_space: Action space of one copy
    """

    def __init__(
        self, num_envs: int, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
    ) -> None:
        super().__init__(num_envs, observation_space, action_space)
        self.generator = np.random.default_rng(0)

    def observe(self) -> Array:
        """Return the observation of every copy, of shape (N, …)."""
        raise NotImplementedError

    def begin(self, which: Array) -> None:
        """Begin a new episode in some of the copies.

        :param which: Indices of the copies
        """
        raise NotImplementedError

    def move(self, actions: Array) -> tuple[Array, Array, Array]:
        """Step every copy once.

        :param actions: Actions, of shape (N, …)
        :return: Rewards, terminated and truncated, each of shape (N,)
        """
        raise NotImplementedError

    def reset(self) -> Array:
        """Begin an episode in every copy, with a fresh random stream after :meth:`seed`."""
        if self._seeds[0] is not None:
            self.generator = np.random.default_rng(self._seeds[0])
            self._reset_seeds()
        self.begin(np.arange(self.num_envs))
        return self.observe()

    def step_async(self, actions: Array) -> None:
        """Store the actions for :meth:`step_wait`.

        :param actions: Actions, of shape (N, …)
        """
        self.actions = actions

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        """Step every copy, with SB3's same-step reset."""
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
        """Do nothing: there is nothing to close."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return the render mode, which SB3 asks for; there are no other attributes.

        :param attr_name: Name of the attribute
        :param indices: Ignored
        :return: None for every copy
        :raises AttributeError: If the attribute is any other
        """
        if attr_name == "render_mode":
            return [None] * self.num_envs
        raise AttributeError(attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Raise ``NotImplementedError``: the copies are not objects."""
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        """Raise ``NotImplementedError``: the copies are not objects."""
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return False for every copy."""
        return [False] * self.num_envs


class TabularMDP(VectorWorld):
    """Random tabular MDP with episodes of fixed length.

    By default it is so small (three states, two actions, three steps) that every trajectory can
    be enumerated. Larger ones are solved exactly by dynamic programming.

    ================  =========  ===============================
    variable          shape      meaning
    ================  =========  ===============================
    ``transition``    (S, A, S)  p(s'|s, a)
    ``reward``        (S, A)     r(s, a)
    ``start``         (S,)       p(s_0)
    ``horizon``                  steps in an episode, H
    ================  =========  ===============================

    :param num_envs: Number of copies, N
    :param table_seed: Seed of the tables
    :param horizon: Number of steps in an episode, H
    :param n_states: Number of states, S
    :param n_actions: Number of actions, A
    :param concentration: Concentration of the Dirichlet distribution that p(·|s, a) is drawn
        from; with small values the next state is nearly certain
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
        """Return the state of every copy, of shape (N,)."""
        return self.state.copy()

    def begin(self, which: Array) -> None:
        """Draw first states from p(s_0)."""
        self.state[which] = self.generator.choice(self.n_states, size=len(which), p=self.start)
        self.t[which] = 0

    def move(self, actions: Array) -> tuple[Array, Array, Array]:
        """Draw next states from p(s'|s, a)."""
        rewards = self.reward[self.state, actions]
        cumulative = self.transition[self.state, actions].cumsum(axis=1)
        draw = self.generator.random((self.num_envs, 1))
        self.state = np.minimum((draw > cumulative).sum(axis=1), self.n_states - 1)
        self.t += 1
        return rewards, self.t == self.horizon, np.zeros(self.num_envs, dtype=bool)

    # -- exact answers ---------------------------------------------------------------------------

    def log_probs(self, policy: ActorCriticPolicy) -> th.Tensor:
        """Return log π(a|s) as a differentiable table.

        :param policy: Policy for this world
        :return: Table of shape (S, A), float64
        """
        distribution = policy.get_distribution(th.arange(self.n_states))
        columns = [
            distribution.log_prob(th.full((self.n_states,), a)) for a in range(self.n_actions)
        ]
        return th.stack(columns, dim=1).double()

    def probs(self, policy: ActorCriticPolicy) -> Array:
        """Return π(a|s) as a table.

        :param policy: Policy for this world
        :return: Table of shape (S, A)
        """
        with th.no_grad():
            table: Array = self.log_probs(policy).exp().numpy()
        return table

    def action_values(self, probs: Array, gamma: float = 1.0) -> tuple[Array, Array]:
        r"""Compute the values by dynamic programming, backward from the last step.

        .. math:: Q_t(s, a) = r(s, a) + \gamma \sum_{s'} p(s'|s, a) V_{t+1}(s')
            \qquad V_t(s) = \sum_a \pi(a|s) Q_t(s, a)

        :param probs: π(a|s), of shape (S, A)
        :param gamma: Discount factor, γ
        :return: Q, of shape (H, S, A), and V, of shape (H + 1, S), whose last row is 0
        """
        q = np.zeros((self.horizon, self.n_states, self.n_actions))
        v = np.zeros((self.horizon + 1, self.n_states))
        for t in reversed(range(self.horizon)):
            q[t] = self.reward + gamma * self.transition @ v[t + 1]
            v[t] = (probs * q[t]).sum(axis=1)
        return q, v

    def objective(self, probs: Array) -> float:
        """Compute J, the expected undiscounted return.

        :param probs: π(a|s), of shape (S, A)
        :return: J
        """
        return float(self.start @ self.action_values(probs)[1][0])

    def visits(self, probs: Array) -> Array:
        """Compute the state distribution p(s_t = s) at every step.

        :param probs: π(a|s), of shape (S, A)
        :return: Probabilities, of shape (H, S)
        """
        chain = np.einsum("sa,sax->sx", probs, self.transition)
        rows = [self.start]
        for _ in range(self.horizon - 1):
            rows.append(rows[-1] @ chain)
        return np.array(rows)

    def trajectories(self) -> Iterator[Trajectory]:
        """Yield p(s_0) Π p(s'|s, a), the states, the actions and the rewards of each trajectory."""
        n, m, h = self.n_states, self.n_actions, self.horizon
        for states in product(range(n), repeat=h):
            for actions in product(range(m), repeat=h):
                p = self.start[states[0]]
                for t in range(h - 1):
                    p *= self.transition[states[t], actions[t], states[t + 1]]
                pairs = zip(states, actions, strict=True)
                yield p, states, actions, [self.reward[s, a] for s, a in pairs]

    def gradient(
        self, policy: ActorCriticPolicy, parameters: list[nn.Parameter], gamma: float = 1.0
    ) -> th.Tensor:
        """Compute ∇J / H of the discounted return exactly, by differentiating J itself.

        :param policy: Policy for this world
        :param parameters: Parameters of the policy, θ, P in all
        :param gamma: Discount factor, γ
        :return: Flat gradient, of shape (P,)
        """
        log_pi = self.log_probs(policy)
        objective = th.zeros((), dtype=th.float64)
        for p, states, actions, rewards in self.trajectories():
            probability = p * log_pi[list(states), list(actions)].sum().exp()
            total = sum(gamma**t * r for t, r in enumerate(rewards))
            objective = objective + probability * total
        gradients = th.autograd.grad(objective / self.horizon, parameters)
        return th.cat([g.flatten() for g in gradients]).double()
