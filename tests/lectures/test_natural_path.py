from dataclasses import replace

import pytest
import torch as th

from sb3_course.envs.lecture_worlds import LectureWorld
from sb3_course.lectures.natural_path import (
    KINDS,
    NATURAL,
    QUICK,
    conclude,
    exact_gradient,
    exact_path,
    fisher_of,
    measure,
    natural_step,
    policy_on,
)

THETAS = [(-0.3, 0.0), (-1.4, -1.0), (-0.9, -2.0)]


@pytest.mark.parametrize("theta", THETAS)
def test_the_librarys_fisher_product_is_the_closed_form(theta):
    world, theta = LectureWorld(1), th.tensor(theta, dtype=th.float64)
    product = fisher_of(policy_on(world, theta), world, theta)
    columns = th.stack([product(row) for row in th.eye(2)], dim=1)
    assert th.allclose(columns.double(), world.fisher(*theta), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("theta", THETAS)
def test_gradient_and_natural_step(theta):
    world, theta, h = LectureWorld(1), th.tensor(theta, dtype=th.float64), 1e-6
    _, gradient = exact_gradient(world, theta)
    for i in range(2):
        up, down = (exact_gradient(world, theta + sign * h * th.eye(2)[i])[0] for sign in (1, -1))
        assert gradient[i].item() == pytest.approx((up - down) / (2 * h), rel=1e-4, abs=1e-4)
    step = natural_step(policy_on(world, theta), world, theta, gradient).x.double()
    assert th.allclose(step, th.linalg.solve(world.fisher(*theta), gradient), rtol=1e-3)


def test_a_chosen_kl_is_the_kl_of_every_step():
    path = exact_path(replace(QUICK, n_updates=20), LectureWorld(1), NATURAL)
    assert path["kl"].tolist() == pytest.approx([QUICK.target_kl] * 20, rel=1e-6)
    assert path["objective"].is_monotonic_increasing


def test_the_claim_holds():
    """Exact numbers, so that chance has no say; the sampled paths are left out."""
    table = measure(replace(QUICK, n_seeds=0, n_updates=120, grid=5))
    assert set(table["kind"]) == set(KINDS)
    assert conclude(table).holds
