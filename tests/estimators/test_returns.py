import numpy as np
import pytest
import torch as th

from sb3_course import estimators

# One environment: an episode of two steps that terminates, then one of three that a limit cuts.
REWARDS = np.array([[1.0], [2.0], [4.0], [8.0], [16.0]])
ENDS = np.array([[False], [True], [False], [False], [True]])
TRAJECTORY = np.array([[0], [0], [1], [1], [1]])


def test_reward_to_go_by_hand():
    returns = estimators.reward_to_go(REWARDS, ENDS, gamma=0.5)
    assert returns.ravel().tolist() == [1 + 0.5 * 2, 2, 4 + 0.5 * 8 + 0.25 * 16, 8 + 0.5 * 16, 16]


def test_reward_to_go_adds_the_discounted_value_behind_a_cut_only():
    cut_values = np.array([[0.0], [0.0], [0.0], [0.0], [100.0]])
    returns = estimators.reward_to_go(REWARDS, ENDS, 0.5, cut_values)
    assert returns.ravel().tolist() == [2, 2, 12 + 0.125 * 100, 16 + 0.25 * 100, 16 + 0.5 * 100]


def test_reward_to_go_leaves_the_rewards_as_they_are():
    rewards = REWARDS.copy()
    estimators.reward_to_go(rewards, ENDS, 0.5)
    assert (rewards == REWARDS).all()


def test_total_return_is_the_first_reward_to_go():
    to_go = estimators.reward_to_go(REWARDS, ENDS, 0.5)
    assert estimators.total_return(to_go, TRAJECTORY).ravel().tolist() == [2, 2, 12, 12, 12]


def test_total_return_ignores_masked_steps():
    trajectory = np.array([[-1, 0], [-1, 0], [1, 0]])
    to_go = np.array([[7.0, 1.0], [7.0, 2.0], [5.0, 3.0]])
    totals = estimators.total_return(to_go, trajectory)
    assert totals[:, 1].tolist() == [1, 1, 1]
    assert totals[2, 0] == 5


def test_leave_one_out_mean_by_hand():
    returns = np.array([1.0, 2.0, 6.0, 10.0])
    means = estimators.leave_one_out_mean(returns, np.array([0, 0, 0, 1]))
    assert means.tolist() == [4, 3.5, 1.5, 0]


def test_optimal_baseline_by_hand_and_from_the_others_alone():
    scores = th.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
    estimates = th.tensor([[5.0, 0.0], [7.0, 0.0], [9.0, 2.0]])
    baseline = estimators.optimal_baseline(scores, estimates)
    assert baseline[0].tolist() == pytest.approx([(14 + 27) / (4 + 9), 2])
    assert baseline[2].tolist() == pytest.approx([(5 + 14) / (1 + 4), 0])
    estimates[0] = 1e6
    assert th.equal(estimators.optimal_baseline(scores, estimates)[0], baseline[0])


def test_optimal_baseline_minimizes_the_variance():
    generator = th.Generator().manual_seed(0)
    scores = th.randn(20_000, 3, generator=generator, dtype=th.float64)
    returns = 5 + th.randn(20_000, 1, generator=generator, dtype=th.float64) + scores[:, :1]
    estimates = returns * scores
    best = (estimates - estimators.optimal_baseline(scores, estimates) * scores).var(0)
    at = (estimates * scores).mean(0) / scores.square().mean(0)
    for shift in (-0.3, 0.3):
        assert (best < (estimates - (at + shift) * scores).var(0)).all()


def test_optimal_baseline_refuses_one_trajectory():
    with pytest.raises(ValueError, match="at least 2 trajectories, got 1"):
        estimators.optimal_baseline(th.ones(1, 3), th.ones(1, 3))


def test_covariance_trace_is_that_of_the_mean_over_transitions():
    gradients = th.tensor([[1.0, 0.0], [3.0, 4.0]])
    assert estimators.covariance_trace(gradients, 10) == pytest.approx((2 + 8) * 2 / 100)


VALUES = np.array([[10.0], [20.0], [30.0], [40.0], [50.0]])
CUT_VALUES = np.array([[0.0], [0.0], [0.0], [0.0], [60.0]])


def test_next_values_and_td_errors_by_hand():
    following = estimators.next_values(VALUES, ENDS, CUT_VALUES)
    assert following.ravel().tolist() == [20, 0, 40, 50, 60]
    deltas = estimators.td_errors(REWARDS, VALUES, following, gamma=0.5)
    assert deltas.ravel().tolist() == [1, -18, -6, -7, -4]


def test_gae_by_hand():
    deltas = np.array([[1.0], [-18.0], [-6.0], [-7.0], [-4.0]])
    gae = estimators.gae(deltas, ENDS, gamma=0.5, gae_lambda=0.5)
    assert gae.ravel().tolist() == [1 - 18 / 4, -18, -6 - 7 / 4 - 4 / 16, -7 - 1, -4]


def test_gae_is_the_td_error_and_the_monte_carlo_advantage_at_its_ends():
    following = estimators.next_values(VALUES, ENDS, CUT_VALUES)
    deltas = estimators.td_errors(REWARDS, VALUES, following, 0.5)
    assert (estimators.gae(deltas, ENDS, 0.5, 0.0) == deltas).all()
    to_go = estimators.reward_to_go(REWARDS, ENDS, 0.5, CUT_VALUES)
    assert estimators.gae(deltas, ENDS, 0.5, 1.0) == pytest.approx(to_go - VALUES)


def test_running_sum_by_hand():
    assert estimators.running_sum(REWARDS, ENDS).ravel().tolist() == [1, 3, 4, 12, 28]
