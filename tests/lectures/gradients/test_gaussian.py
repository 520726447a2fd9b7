import pytest
import torch as th

from sb3_course.envs.lecture_worlds import LectureWorld
from sb3_course.lectures.gradients.gaussian import (
    exact_gradient,
    fisher_of,
    natural_step,
    policy_on,
)

THETAS = [(-0.3, 0.0), (-1.4, -1.0), (-0.9, -2.0)]


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
    step = natural_step(policy_on(world, theta), world, theta, gradient).double()
    assert th.allclose(step, th.linalg.solve(world.fisher(*theta), gradient), rtol=1e-3)
