"""Bugs that are planted to see whether the regression tests catch them.

Each is a context manager that plants the bug in the library and yields the settings to run with.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np

import sb3_course
from sb3_course import REINFORCE, estimators
from sb3_course.benchmark.definition.grid import RunConfig

Plant = Callable[[RunConfig], AbstractContextManager[RunConfig]]

WHOLE_EPISODES = ("REINFORCE", "ISPG")


def algorithm(config: RunConfig) -> Any:
    """Return the class of a run."""
    return getattr(sb3_course, config.algorithm_class)


def argument(config: RunConfig, name: str) -> Any:
    """Return an argument of the constructor, given or default."""
    return config.params.get(name, inspect.signature(algorithm(config)).parameters[name].default)


def baseline(config: RunConfig) -> Any:
    """Return the baseline of a class of whole episodes, None for the others."""
    return argument(config, "baseline") if config.algorithm_class in WHOLE_EPISODES else None


@contextmanager
def train_does_nothing(config: RunConfig) -> Iterator[RunConfig]:
    """Leave the policy as it is."""
    with patch.object(algorithm(config), "train", lambda self: None):
        yield config


@contextmanager
def flipped_baseline_sign(config: RunConfig) -> Iterator[RunConfig]:
    """Add the baseline that should be subtracted; the critic's targets stay right."""
    name, cls = config.algorithm_class, algorithm(config)
    train = cls.train

    def with_flipped_values(self: Any) -> None:
        """Change the sign of V(s) in the TD errors of the advantage, which come last."""
        td_errors = estimators.td_errors
        n_calls, last = 0, 1
        if name == "BatchActorCritic" and self.critic_target != "mc":
            last = 2  # the first are those of the critic's targets

        def flipped(rewards: Any, values: Any, next_values: Any, gamma: float) -> Any:
            nonlocal n_calls
            n_calls += 1
            return td_errors(rewards, -values if n_calls == last else values, next_values, gamma)

        with patch.object(estimators, "td_errors", flipped):
            train(self)

    def with_flipped_critic(self: Any) -> None:
        """Change the sign of V(s) in Â, the third value that an online update computes."""
        critic, n_calls = self._critic, 0

        def flipped(obs: Any) -> Any:
            nonlocal n_calls
            n_calls += 1
            return -critic(obs) if n_calls == 3 else critic(obs)

        with patch.object(self, "_critic", flipped):
            train(self)

    planted: Any
    if name in WHOLE_EPISODES and baseline(config) == "optimal":
        optimal = estimators.optimal_baseline
        planted = patch.object(estimators, "optimal_baseline", lambda *a: -optimal(*a))
    elif name in WHOLE_EPISODES:
        baselines = REINFORCE.baselines
        planted = patch.object(REINFORCE, "baselines", lambda *a: -baselines(*a))
    elif name == "OnlineActorCritic":
        planted = patch.object(cls, "train", with_flipped_critic)
    else:
        planted = patch.object(cls, "train", with_flipped_values)
    with planted:
        yield config


@contextmanager
def missing_gamma(config: RunConfig) -> Iterator[RunConfig]:
    """Update as if γ were 1."""
    cls = algorithm(config)
    train = cls.train

    def undiscounted(self: Any) -> None:
        with patch.object(self, "gamma", 1.0):
            train(self)

    with patch.object(cls, "train", undiscounted):
        yield config


@contextmanager
def gae_without_the_episode_end(config: RunConfig) -> Iterator[RunConfig]:
    """Continue the sum, and V(s_{t+1}), into the next episode."""
    to_go = estimators.reward_to_go

    def next_values(values: Any, ends: Any, bootstrap_values: Any) -> Any:
        shifted = bootstrap_values.copy()
        shifted[:-1] = values[1:]
        return shifted

    def gae(deltas: Any, ends: Any, gamma: float, gae_lambda: float) -> Any:
        return to_go(deltas, np.zeros_like(ends), gamma * gae_lambda)

    with patch.object(estimators, "next_values", next_values), patch.object(estimators, "gae", gae):
        yield config


@contextmanager
def scaled(name: str, factor: float, config: RunConfig) -> Iterator[RunConfig]:
    """Multiply an argument of the constructor."""
    value = argument(config, name)
    yield config.model_copy(update={"params": {**config.params, name: value * factor}})


def rates(config: RunConfig) -> tuple[str, ...]:
    """Return the arguments that set the length of steps; NPG's learning rate is its critic's."""
    return ("learning_rate", "target_kl") if config.algorithm_class == "NPG" else ("learning_rate",)


def plants_of(config: RunConfig) -> dict[str, Plant]:
    """Return the bugs that a run can have, by name."""
    plants: dict[str, Plant] = {"train() does nothing": train_does_nothing}
    if config.algorithm_class not in WHOLE_EPISODES or baseline(config) is not None:
        plants["flipped baseline sign"] = flipped_baseline_sign
    plants["missing gamma"] = missing_gamma
    if config.algorithm_class in ("NPG", "BatchActorCritic"):
        plants["GAE without the episode's end"] = gae_without_the_episode_end
    for name in rates(config):
        plants[f"{name} x 10"] = partial(scaled, name, 10.0)
        plants[f"{name} / 10"] = partial(scaled, name, 0.1)
    return plants
