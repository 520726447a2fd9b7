import numpy as np
import pytest
import torch as th

from sb3_course.exercises.worlds import deviation, score_table, softmax, variance, world


def test_all_trajectories_are_there():
    w = world()
    assert w.states.shape == w.actions.shape == w.rewards.shape == (3, 216)
    assert w.p.sum() == pytest.approx(1.0)
    assert (w.p[:, None] * w.scores.sum(axis=0)).sum(axis=0) == pytest.approx(np.zeros(6))


def test_the_gradient_is_that_of_the_objective_by_dynamic_programming():
    w, h = world(), 1e-6
    for gamma in (1.0, 0.9):
        slopes = []
        for i in range(w.theta.size):
            ends = []
            for sign in (1, -1):
                theta = w.theta.copy()
                theta.flat[i] += sign * h
                values = w.mdp.action_values(softmax(theta), gamma)[1]
                ends.append(w.mdp.start @ values[0])
            slopes.append((ends[0] - ends[1]) / (2 * h))
        assert w.gradient(gamma) == pytest.approx(slopes, rel=1e-6)


def test_scores_are_the_derivatives_of_log_pi():
    theta = th.tensor(world().theta, requires_grad=True)
    table = score_table(world().probs)
    for s in range(3):
        for a in range(2):
            log_pi = th.log_softmax(theta, dim=1)[s, a]
            (score,) = th.autograd.grad(log_pi, theta)
            assert table[s, a] == pytest.approx(score.numpy().ravel())


def test_rewards_to_go_are_unbiased_and_total_returns_vary_more():
    w = world()
    to_go = w.rewards[::-1].cumsum(axis=0)[::-1]
    right = w.estimates(to_go)
    assert deviation(right, w.p, w.gradient(), right) == ""
    total = w.estimates(np.broadcast_to(to_go[0], to_go.shape))
    assert "unbiased, with" in deviation(total, w.p, w.gradient(), right)
    assert variance(total, w.p) > variance(right, w.p)


def test_what_is_biased_is_told_by_how_much():
    w = world()
    right = w.estimates(w.rewards[::-1].cumsum(axis=0)[::-1])
    assert "is 0.5 times the true" in deviation(right / 2, w.p, w.gradient(), right)
    biased = right + 0.1 * np.linalg.norm(w.gradient()) * np.eye(6)[0]
    assert "off by 0.1 of" in deviation(biased, w.p, w.gradient(), right)
