"""Environments for tests, in addition to those of ``sb3_course.envs.enumerable``."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from sb3_course.collection.rollout import Rollout
from sb3_course.envs import EnvPoolVecEnv
from sb3_course.envs.enumerable import VectorWorld


class CoinLengths(VectorWorld):
    """Episodes of 1 step or of ``long`` steps, with probability one half each."""

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
    """Scripted rewards, observations and ends of episodes, for hand-computed numbers and errors.

    An episode has as many steps as rewards, and one more observation; by default observations
    count the steps. ``end`` is ``"terminated"`` or ``"truncated"``.
    """

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


class RandomSpaces(gym.Env):
    """Random observations and rewards in the given spaces; episodes of 5 to 14 steps."""

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


def random_actions(venv: EnvPoolVecEnv, n_steps: int, n_envs: int = 8, seed: int = 0) -> np.ndarray:
    """A table of shape (n_steps, num_envs, ...), the same for environment i whatever num_envs."""
    venv.action_space.seed(seed)
    table = [[venv.action_space.sample() for _ in range(n_envs)] for _ in range(n_steps)]
    return np.array(table)[:, : venv.num_envs]


def rollout(venv: Any, actions: np.ndarray, reset: bool = True) -> list[tuple[Any, ...]]:
    """What the steps return; the first entry holds what reset returned."""
    seen = [(venv.reset(), None, None, None)] if reset else []
    return seen + [venv.step(a) for a in actions]


def observations(steps: list[tuple[Any, ...]]) -> np.ndarray:
    return np.array([step[0] for step in steps])


def z_scores(rows: np.ndarray, truth: torch.Tensor) -> np.ndarray:
    """Distance of the mean of estimates, a row each, from the truth, in standard errors."""
    return (rows.mean(0) - truth.numpy()) / (rows.std(0, ddof=1) / np.sqrt(len(rows)))


def two_episodes(rewards):
    """One environment: an episode of two steps, then one of three; a masked step at the end."""
    ends = np.array([[0], [1], [0], [0], [1], [0]], dtype=bool)
    mask = np.array([[1], [1], [1], [1], [1], [0]], dtype=bool)
    zeros = np.zeros((6, 1))
    return Rollout(zeros, zeros, rewards, ends, np.zeros_like(ends), mask, zeros[0], {})
