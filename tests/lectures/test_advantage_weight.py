from dataclasses import replace

import numpy as np
import pytest

from sb3_course.lectures.advantage_weight import (
    QUICK,
    WEIGHTS,
    conclude,
    learn,
    measure,
    model_of,
    optimum,
    variance,
)
from sb3_course.lectures.toolkit import collect


@pytest.mark.parametrize("weight", WEIGHTS)
def test_every_weight_has_the_same_expectation(weight):
    """4,000 episodes: within 5 standard errors (1 in 10,000 by chance for all parameters)."""
    config = replace(QUICK, horizon=3)
    world, model = model_of(replace(config, n_states=3, n_actions=2), weight, 0, 4000)
    rollout = collect(model)
    to_go = model.returns_to_go(rollout)
    q_hat = model.q_hat(rollout, to_go)
    weights = model.to_tensor(q_hat - model.baselines(rollout, q_hat, to_go))
    (gradients,) = model.trajectory_gradients(rollout, weights[:, None])
    truth = world.gradient(model.policy, model.actor_parameters) * world.horizon
    error = gradients.double().std(dim=0) / 4000**0.5
    assert ((gradients.double().mean(dim=0) - truth).abs() < 5 * error + 1e-6).all()


def test_the_advantage_has_the_lowest_variance():
    """Factors of ten and a hundred from 1,000 episodes each are far beyond chance."""
    found = {w: variance(model_of(QUICK, w, 0, 1000)[1]) for w in WEIGHTS}
    sampled, with_v, exact, advantage = (found[w] for w in WEIGHTS)
    assert advantage < 0.3 * with_v < 0.3 * 0.5 * sampled
    assert advantage < 0.1 * exact


def test_returns_stay_below_the_optimum():
    returns = learn(replace(QUICK, n_updates=5), WEIGHTS[3], 0, 1.0)
    best = optimum(model_of(QUICK, WEIGHTS[0], 0, 1)[0])
    assert len(returns) == 6
    assert returns[0] < returns[-1] < best


def test_a_conclusion_can_be_false():
    table = measure(replace(QUICK, n_seeds=2, n_updates=3, n_variance=100, learning_rates=(0.1,)))
    swapped = table.replace({"weight": dict(zip(WEIGHTS, reversed(WEIGHTS), strict=True))})
    assert not conclude(swapped).holds
    assert np.isfinite(list(conclude(swapped).numbers.values())).all()
