from dataclasses import replace

import numpy as np

from sb3_course.lectures.likelihood import (
    CENTERED,
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
    0.2. Weights R move the maximum by Var(R) / E[R], about 0.5, in any seed; a baseline moves it
    further, by about 2.5.
    """
    table = learn(replace(QUICK, n_updates=60), seed=0)
    returns = table[(table["part"] == "return") & (table["x"] == 60)].set_index("kind")["value"]
    mean = table.loc[table["part"] == "demonstrators", "value"].mean()
    assert abs(returns[UNIT] - mean) < 0.6
    assert 0.2 < returns[RETURN] - returns[UNIT] < 1
    assert returns[CENTERED] > mean + 1
