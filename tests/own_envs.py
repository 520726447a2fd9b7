"""Environments and wrappers as those of a user, by their names ``tests.own_envs:…``."""

import sys
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Walk(gym.Env):
    """A walk on a line to a goal; the info tells the distance and whether it was reached."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = spaces.Box(-9, 9, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, goal: float = 1.0, render_mode: str | None = None) -> None:
        if abs(goal) > 5:
            raise ValueError(f"goal must lie between -5 and 5, got {goal}")
        self.goal, self.render_mode = goal, render_mode

    def _obs(self) -> np.ndarray:
        return np.array([self.place, self.goal], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place = float(self.np_random.uniform(-1, 0))
        return self._obs(), {}

    def step(self, action: np.ndarray) -> Any:
        self.place = float(np.clip(self.place + 0.3 * float(action[0]), -9, 9))
        distance = abs(self.place - self.goal)
        reached = distance < 0.3
        info = {"is_success": reached, "distance": distance, "word": "none", "nothing": None}
        return self._obs(), -distance, reached, False, info

    def render(self) -> np.ndarray:
        return np.full((32, 32, 3), 255, np.uint8)


class Scaled(gym.RewardWrapper):
    """Multiplies rewards."""

    def __init__(self, env: gym.Env, times: float = 10.0) -> None:
        super().__init__(env)
        self.times = times

    def reward(self, reward: Any) -> float:
        return self.times * float(reward)


class AsDict(gym.ObservationWrapper):
    """Observations in a Dict with something that is no array."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.observation_space = spaces.Dict({"a": env.observation_space, "b": spaces.Discrete(2)})

    def observation(self, observation: Any) -> Any:
        return {"a": observation, "b": 0}


def leaves(env: gym.Env) -> gym.Env:
    """Exit as a script does."""
    sys.exit("made to leave")


gym.register("Walk-v0", Walk, max_episode_steps=20)
