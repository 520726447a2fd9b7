from dataclasses import replace

import pytest
import torch as th

from sb3_course.envs.lecture_worlds import LectureWorld
from sb3_course.lectures.natural_path import (
    KINDS,
    NATURAL,
    QUICK,
    conclude,
    exact_path,
    kl_of_step,
    measure,
)


def test_a_chosen_kl_is_nearly_the_kl_of_every_step():
    """By the second order, which is exact to a part of about the step's length, √(2ε) = 0.14."""
    path = exact_path(replace(QUICK, n_updates=20), LectureWorld(1), NATURAL)
    assert path["kl"].tolist() == pytest.approx([QUICK.target_kl] * 20, rel=0.14)
    assert path["kl"].nunique() > 10
    assert path["objective"].is_monotonic_increasing


def test_the_kl_is_that_of_two_gaussians():
    world, theta = LectureWorld(1), th.tensor([-0.4, -1.5], dtype=th.float64)
    step = th.tensor([0.03, 0.2], dtype=th.float64)
    states = world.second_moments(*theta).sqrt()  # whose mean square is that of the steps
    before, after = (
        th.distributions.Normal(k * states, log_std.exp()) for k, log_std in (theta, theta + step)
    )
    expected = th.distributions.kl_divergence(before, after).mean().item()
    assert kl_of_step(world, theta, step) == pytest.approx(expected)


def test_the_claim_holds():
    """Without the sampled paths all numbers are exact and the test is deterministic."""
    table = measure(replace(QUICK, n_seeds=0, n_updates=120, grid=5))
    assert set(table["kind"]) == set(KINDS)
    assert conclude(table).holds
