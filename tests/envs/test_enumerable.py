import numpy as np
import pytest

from sb3_course import REINFORCE
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.lectures.toolkit import make


@pytest.fixture
def tabular():
    world = TabularMDP(4)
    return world, make(REINFORCE, world, seed=0, n_episodes=4, baseline=None)


def test_dynamic_programming_agrees_with_all_trajectories(tabular):
    world, model = tabular
    probs = world.probs(model.policy)
    total = sum(
        p * np.prod(probs[list(states), list(actions)]) * sum(rewards)
        for p, states, actions, rewards in world.trajectories()
    )
    assert world.objective(probs) == pytest.approx(total)
    visits = world.visits(probs)
    assert visits.sum(axis=1) == pytest.approx(np.ones(world.horizon))
    assert (visits[:, :, None] * probs * world.reward).sum() == pytest.approx(total)
