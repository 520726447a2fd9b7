"""Small worlds whose answers are known."""

from itertools import product

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv


class VectorWorld(VecEnv):
    """A world that steps N copies at once; subclasses give ``begin`` and ``move``."""

    def __init__(self, num_envs, observation_space, action_space):
        super().__init__(num_envs, observation_space, action_space)
        self.generator = np.random.default_rng(0)

    def reset(self):
        if self._seeds[0] is not None:
            self.generator = np.random.default_rng(self._seeds[0])
            self._reset_seeds()
        self.begin(np.arange(self.num_envs))
        return self.observe()

    def step_async(self, actions):
        self.actions = actions

    def step_wait(self):
        rewards, terminated, truncated = self.move(self.actions)
        dones = terminated | truncated
        infos = [{} for _ in range(self.num_envs)]
        if dones.any():
            final = self.observe()
            for n in np.flatnonzero(dones):
                infos[n]["terminal_observation"] = final[n]
                infos[n]["TimeLimit.truncated"] = bool(truncated[n] and not terminated[n])
            self.begin(np.flatnonzero(dones))
        return self.observe(), rewards.astype(np.float32), dones, infos

    def close(self):
        pass

    def get_attr(self, attr_name, indices=None):
        if attr_name == "render_mode":
            return [None] * self.num_envs
        raise AttributeError(attr_name)

    def set_attr(self, attr_name, value, indices=None):
        raise NotImplementedError

    def env_method(self, method_name, *args, indices=None, **kwargs):
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * self.num_envs


class TabularMDP(VectorWorld):
    """Three states, two actions, three steps: every trajectory can be written down."""

    horizon, n_states, n_actions = 3, 3, 2

    def __init__(self, num_envs, table_seed=1):
        super().__init__(num_envs, spaces.Discrete(self.n_states), spaces.Discrete(self.n_actions))
        table = np.random.default_rng(table_seed)
        shape = (self.n_states, self.n_actions)
        self.transition = table.dirichlet(np.ones(self.n_states), size=shape)
        self.reward = 3.0 + table.normal(size=shape)
        self.start = table.dirichlet(np.ones(self.n_states))
        self.state = np.zeros(num_envs, dtype=np.int64)
        self.t = np.zeros(num_envs, dtype=int)

    def observe(self):
        return self.state.copy()

    def begin(self, which):
        self.state[which] = self.generator.choice(self.n_states, size=len(which), p=self.start)
        self.t[which] = 0

    def move(self, actions):
        rewards = self.reward[self.state, actions]
        cumulative = self.transition[self.state, actions].cumsum(axis=1)
        draw = self.generator.random((self.num_envs, 1))
        self.state = np.minimum((draw > cumulative).sum(axis=1), self.n_states - 1)
        self.t += 1
        return rewards, self.t == self.horizon, np.zeros(self.num_envs, dtype=bool)

    def trajectories(self):
        """Yield (probability without the policy's part, states, actions, rewards) of each."""
        n, m, h = self.n_states, self.n_actions, self.horizon
        for states in product(range(n), repeat=h):
            for actions in product(range(m), repeat=h):
                p = self.start[states[0]]
                for t in range(h - 1):
                    p *= self.transition[states[t], actions[t], states[t + 1]]
                yield p, states, actions, [self.reward[s, a] for s, a in zip(states, actions)]

    def log_probs(self, policy: ActorCriticPolicy):
        """log π(a|s) as a differentiable table of shape (n_states, n_actions)."""
        distribution = policy.get_distribution(th.arange(self.n_states))
        columns = [
            distribution.log_prob(th.full((self.n_states,), a)) for a in range(self.n_actions)
        ]
        return th.stack(columns, dim=1).double()

    def expected_estimate(self, policy, parameters, weigh):
        """
        Exact E[Σ_t ∇log π(a_t|s_t) w_t] / horizon, flat, with w = weigh(rewards).

        With total returns and with undiscounted rewards to go this is ∇J / horizon.
        """
        log_pi = self.log_probs(policy)
        surrogate = th.zeros((), dtype=th.float64)
        for p, states, actions, rewards in self.trajectories():
            scores = log_pi[list(states), list(actions)]
            probability = p * scores.sum().exp().detach()
            surrogate = surrogate + probability * (scores * th.tensor(weigh(rewards))).sum()
        gradients = th.autograd.grad(surrogate / self.horizon, parameters)
        return th.cat([g.flatten() for g in gradients]).double()

    def gradient(self, policy, parameters, gamma=1.0):
        """Exact ∇J / horizon of the discounted return, flat, by differentiating J itself."""
        log_pi = self.log_probs(policy)
        objective = th.zeros((), dtype=th.float64)
        for p, states, actions, rewards in self.trajectories():
            probability = p * log_pi[list(states), list(actions)].sum().exp()
            total = sum(gamma**t * r for t, r in enumerate(rewards))
            objective = objective + probability * total
        gradients = th.autograd.grad(objective / self.horizon, parameters)
        return th.cat([g.flatten() for g in gradients]).double()


class CoinLengths(VectorWorld):
    """An episode takes 1 step or ``long`` steps, by a fair coin at its start."""

    def __init__(self, num_envs, long=50):
        super().__init__(num_envs, spaces.Box(-1, 1, (1,)), spaces.Discrete(2))
        self.long = long
        self.left = np.ones(num_envs, dtype=int)

    def observe(self):
        return np.zeros((self.num_envs, 1), dtype=np.float32)

    def begin(self, which):
        self.left[which] = self.generator.choice([1, self.long], size=len(which))

    def move(self, actions):
        self.left -= 1
        return np.ones(self.num_envs), self.left == 0, np.zeros(self.num_envs, dtype=bool)


class Scripted(gym.Env):
    """Obeys a script: rewards, and how each episode ends. For hand-computed numbers and errors."""

    def __init__(self, rewards=(1.0, 2.0, 4.0), end="terminated", observations=None, space=None):
        self.observation_space = spaces.Box(-np.inf, np.inf, (1,))
        self.action_space = space or spaces.Discrete(2)
        self.rewards, self.end = rewards, end
        self.observations = observations or [float(t) for t in range(len(rewards) + 1)]

    def _obs(self):
        return np.array([self.observations[self.t]], dtype=np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._obs(), {}

    def step(self, action):
        reward = self.rewards[self.t]
        self.t += 1
        over = self.t == len(self.rewards)
        return (
            self._obs(),
            reward,
            over and self.end == "terminated",
            over and self.end == "truncated",
            {},
        )


class AnySpace(gym.Env):
    """Random observations and rewards in whatever spaces are asked for; 5 to 15 steps."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.left = int(self.np_random.integers(5, 15))
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action, dtype=self.action_space.dtype))
        self.left -= 1
        over = self.left == 0
        cut = bool(over and self.np_random.random() < 0.5)
        reward = float(self.np_random.normal())
        return self.observation_space.sample(), reward, over and not cut, cut, {}
