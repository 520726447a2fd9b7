import pytest
import torch as th

from sb3_course import REINFORCE
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.envs.lecture_worlds import LectureWorld
from sb3_course.lectures.gradients import (
    KINDS,
    OPTIMAL,
    TO_GO,
    TOTAL,
    batch_gradients,
    exact_gradient,
    exact_variances,
    fisher_of,
    natural_step,
    policy_on,
    variances,
)
from sb3_course.lectures.toolkit import collect, make

THETAS = [(-0.3, 0.0), (-1.4, -1.0), (-0.9, -2.0)]


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
    """From K = 64 to 128 it halves; 32 and 16 batches determine this to a factor of 2."""
    world = TabularMDP(2048)
    model = make(REINFORCE, world, seed=1, n_episodes=2048)
    found = {
        (name, k): v
        for name, k, v, _ in variances(batch_gradients(model, collect(model), (64, 128)))
    }
    assert 1 < found[kind, 64] / found[kind, 128] < 4


@pytest.mark.parametrize("theta", THETAS)
def test_the_librarys_fisher_vector_product_equals_the_closed_form(theta):
    world, theta = LectureWorld(1), th.tensor(theta, dtype=th.float64)
    product = fisher_of(policy_on(world, theta), world, theta)
    columns = th.stack([product(row) for row in th.eye(2)], dim=1)
    assert th.allclose(columns.double(), world.fisher(*theta), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("theta", THETAS)
def test_the_gradient_equals_differences_and_the_natural_step_solves_for_it(theta):
    world, theta, h = LectureWorld(1), th.tensor(theta, dtype=th.float64), 1e-6
    _, gradient = exact_gradient(world, theta)
    for i in range(2):
        up, down = (exact_gradient(world, theta + sign * h * th.eye(2)[i])[0] for sign in (1, -1))
        assert gradient[i].item() == pytest.approx((up - down) / (2 * h), rel=1e-4, abs=1e-4)
    step = natural_step(policy_on(world, theta), world, theta, gradient).x.double()
    assert th.allclose(step, th.linalg.solve(world.fisher(*theta), gradient), rtol=1e-3)
