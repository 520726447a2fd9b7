"""Two spaces in place of an environment, which is all that an algorithm's constructor needs."""

from typing import Any

import gymnasium as gym
from gymnasium.spaces import Space


class SpacesOnlyEnv(gym.Env[Any, Any]):
    """Environment with spaces and no dynamics.

    :param observation_space: Observation space
    :param action_space: Action space
    """

    def __init__(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space
