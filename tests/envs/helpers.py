"""Helpers for the tests of EnvPool's environments."""

from typing import Any

import numpy as np

from sb3_course.envs import EnvPoolVecEnv


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
