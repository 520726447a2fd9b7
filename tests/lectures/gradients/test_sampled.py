import pytest

from sb3_course import REINFORCE
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.lectures.gradients.sampled import (
    KINDS,
    OPTIMAL,
    TO_GO,
    TOTAL,
    batch_gradients,
    exact_variances,
    variances,
)
from sb3_course.lectures.toolkit import collect, make


def test_sampled_variances_match_the_exact_ones():
    """
    2,048 trajectories in batches of 64. The standard deviation of a variance over 32 batches and a
    few parameters is at most 15%, so a factor of 1.8 occurs by chance in less than 1 in 10,000.

    The mean and the optimal baseline are estimated from the others, which adds a little.
    """
    world = TabularMDP(2048)
    model = make(REINFORCE, world, seed=0, n_episodes=2048)
    exact = exact_variances(world, model)
    found = batch_gradients(model, collect(model), (64,))
    assert found[TOTAL, 64].shape[0] == 32
    for kind, k, variance, ratio in variances(found):
        assert 1 / 1.8 < variance / (exact[kind] / k) < 1.8, kind
        assert ratio > 0
    assert exact[OPTIMAL] < exact[TO_GO] < exact[TOTAL]
    assert set(exact) == set(KINDS)


def test_every_kind_estimates_the_same_gradient():
    """Means over 2,048 trajectories are within 5 standard errors (1 in 100,000 by chance)."""
    world = TabularMDP(2048)
    model = make(REINFORCE, world, seed=0, n_episodes=2048)
    truth = world.gradient(model.policy, model.actor_parameters) * world.horizon
    for (kind, k), gradients in batch_gradients(model, collect(model), (64,)).items():
        error = gradients.std(dim=0) / (2048 / k) ** 0.5
        assert ((gradients.mean(dim=0) - truth).abs() < 5 * error + 1e-6).all(), kind


@pytest.mark.parametrize("kind", KINDS)
def test_variance_is_inversely_proportional_to_k(kind):
    """
    From K = 16 to 64 it falls to a quarter, that of the optimal baseline, which is better estimated
    from 64, to less. Of 512 and 128 batches the standard deviation of the ratio is below 15%.
    """
    world = TabularMDP(8192)
    model = make(REINFORCE, world, seed=1, n_episodes=8192)
    found = {
        (name, k): v
        for name, k, v, _ in variances(batch_gradients(model, collect(model), (16, 64)))
    }
    ratio = found[kind, 16] / found[kind, 64]
    assert 2.6 < ratio < (20 if kind == OPTIMAL else 6.2)
