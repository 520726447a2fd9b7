from dataclasses import replace

import numpy as np

from sb3_course.lectures.likelihood import (
    QUICK,
    RETURN,
    TOLERANCE,
    UNIT,
    compare,
    demonstrate,
    join,
    learn,
)


def test_gradients_agree_within_a_millionth():
    table = compare(replace(QUICK, train_steps=1024), "CartPole-v1", seed=0)
    assert table.loc[table["part"] == "difference", "value"].item() < TOLERANCE
    gradients = table[table["part"] == "gradient"]
    assert np.allclose(gradients["x"], gradients["value"], atol=1e-5)
    assert gradients["x"].abs().max() > 1e-3


def test_demonstrations_are_of_both_kinds():
    _, rollout, (good, poor) = demonstrate(QUICK, seed=0)
    half = QUICK.n_episodes // 2
    returns = rollout.rewards.sum(axis=0)
    assert rollout.n_trajectories == QUICK.n_episodes
    assert good > poor
    assert returns[:half].mean() > returns[half:].mean()
    assert join([rollout]).n_trajectories == QUICK.n_episodes


def test_likelihood_learns_the_average_and_weighting_learns_more():
    """
    The demonstrators' returns differ by 4 and the standard error of the average of 200 episodes is
    0.2: with any seed, the weighted policy is better than the other by about 2.5.
    """
    table = learn(replace(QUICK, n_updates=60), seed=0)
    returns = table[(table["part"] == "return") & (table["x"] == 60)].set_index("kind")["value"]
    mean = table.loc[table["part"] == "demonstrators", "value"].mean()
    assert abs(returns[UNIT] - mean) < 0.6
    assert returns[RETURN] > mean + 1
