"""An environment's spaces without the environment: all that a constructor asks for."""

from typing import Any

import gymnasium as gym
from gymnasium.spaces import Space


class SpacesOnlyEnv(gym.Env[Any, Any]):
    """Two spaces; nothing ever happens in them.

    :param observation_space: Observation space
    :param action_space: Action space
    """

    def __init__(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space
