import numpy as np
import pytest

from sb3_course.estimators.returns import (
    gae,
    next_values,
    reward_to_go,
    running_sum,
    td_errors,
    total_return,
)

# One environment: an episode of two steps that terminates, then one of three that a limit cuts.
REWARDS = np.array([[1.0], [2.0], [4.0], [8.0], [16.0]])
ENDS = np.array([[False], [True], [False], [False], [True]])
TRAJECTORY = np.array([[0], [0], [1], [1], [1]])
VALUES = np.array([[10.0], [20.0], [30.0], [40.0], [50.0]])
BOOTSTRAP_VALUES = np.array([[0.0], [0.0], [0.0], [0.0], [60.0]])


def test_reward_to_go_by_hand():
    returns = reward_to_go(REWARDS, ENDS, gamma=0.5)
    assert returns.ravel().tolist() == [1 + 0.5 * 2, 2, 4 + 0.5 * 8 + 0.25 * 16, 8 + 0.5 * 16, 16]


@pytest.mark.parametrize("kind", [int, np.int8, np.uint8, float, np.float32, list])
def test_ends_may_be_zeros_and_ones_of_any_type(kind):
    ends = ENDS.astype(int).tolist() if kind is list else ENDS.astype(kind)
    np.testing.assert_array_equal(
        reward_to_go(REWARDS, ends, 0.5), reward_to_go(REWARDS, ENDS, 0.5)
    )
    np.testing.assert_array_equal(gae(REWARDS, ends, 0.5, 0.9), gae(REWARDS, ENDS, 0.5, 0.9))
    np.testing.assert_array_equal(
        running_sum(REWARDS.astype(int), ends), running_sum(REWARDS, ENDS)
    )


def test_reward_to_go_adds_the_discounted_value_after_a_cut_only():
    bootstrap_values = np.array([[0.0], [0.0], [0.0], [0.0], [100.0]])
    returns = reward_to_go(REWARDS, ENDS, 0.5, bootstrap_values)
    assert returns.ravel().tolist() == [2, 2, 12 + 0.125 * 100, 16 + 0.25 * 100, 16 + 0.5 * 100]


def test_values_of_single_precision_are_discounted_in_double():
    """0.99 in single precision is off by 1e-8, which a return of a million would show."""
    bootstrap_values = np.array([[1_234_567]], dtype=np.float32)
    returns = reward_to_go(np.zeros((1, 1)), np.array([[True]]), 0.99, bootstrap_values)
    assert returns.item() == 0.99 * 1_234_567


def test_an_episode_that_goes_on_at_the_edge_of_the_batch():
    """The first step follows nothing, and what follows the last one is its bootstrap value."""
    ends = np.array([[False], [True], [False], [False], [False]])
    assert reward_to_go(REWARDS, ends, 0.5).ravel().tolist() == [2, 2, 12, 16, 16]
    assert running_sum(REWARDS, ends).ravel().tolist() == [1, 3, 4, 12, 28]


def test_next_values_inside_the_batch_of_an_episode_that_a_limit_cut():
    bootstrap_values = np.array([[0.0], [70.0], [0.0], [0.0], [60.0]])
    got = next_values(VALUES, ENDS, bootstrap_values)
    assert got.ravel().tolist() == [20, 70, 40, 50, 60]


def test_reward_to_go_does_not_change_its_arguments():
    rewards, ends = REWARDS.copy(), ENDS.copy()
    reward_to_go(rewards, ends, 0.5)
    assert (rewards == REWARDS).all() and (ends == ENDS).all()


def test_environments_are_independent():
    """Two environments side by side, the second with the episodes in the other order."""
    order = [2, 3, 4, 0, 1]
    rewards, ends = np.hstack([REWARDS, REWARDS[order]]), np.hstack([ENDS, ENDS[order]])
    alone = reward_to_go(REWARDS, ENDS, 0.5)
    together = reward_to_go(rewards, ends, 0.5)
    assert together[:, 0].tolist() == alone.ravel().tolist()
    assert together[:, 1].tolist() == alone[order].ravel().tolist()


def test_total_return_is_the_first_reward_to_go():
    to_go = reward_to_go(REWARDS, ENDS, 0.5)
    assert total_return(to_go, TRAJECTORY).ravel().tolist() == [2, 2, 12, 12, 12]


def test_total_return_ignores_masked_steps():
    trajectory = np.array([[-1, 0], [-1, 0], [1, 0]])
    to_go = np.array([[7.0, 1.0], [7.0, 2.0], [5.0, 3.0]])
    totals = total_return(to_go, trajectory)
    assert totals[:, 1].tolist() == [1, 1, 1]
    assert totals[2, 0] == 5


def test_next_values_and_td_errors_by_hand():
    following = next_values(VALUES, ENDS, BOOTSTRAP_VALUES)
    assert following.ravel().tolist() == [20, 0, 40, 50, 60]
    deltas = td_errors(REWARDS, VALUES, following, gamma=0.5)
    assert deltas.ravel().tolist() == [1, -18, -6, -7, -4]


def test_gae_by_hand():
    deltas = np.array([[1.0], [-18.0], [-6.0], [-7.0], [-4.0]])
    advantages = gae(deltas, ENDS, gamma=0.5, gae_lambda=0.5)
    assert advantages.ravel().tolist() == [1 - 18 / 4, -18, -6 - 7 / 4 - 4 / 16, -7 - 1, -4]


def test_gae_with_lambda_0_and_1_is_the_td_error_and_the_monte_carlo_advantage():
    deltas = td_errors(REWARDS, VALUES, next_values(VALUES, ENDS, BOOTSTRAP_VALUES), 0.5)
    assert (gae(deltas, ENDS, 0.5, 0.0) == deltas).all()
    to_go = reward_to_go(REWARDS, ENDS, 0.5, BOOTSTRAP_VALUES)
    assert gae(deltas, ENDS, 0.5, 1.0) == pytest.approx(to_go - VALUES)


def test_running_sum_by_hand():
    assert running_sum(REWARDS, ENDS).ravel().tolist() == [1, 3, 4, 12, 28]


@pytest.mark.parametrize(
    ("call", "given"),
    [
        (lambda a, b: td_errors(a, a, b, 0.9), r"rewards \(4,\), values \(4,\), next_values"),
        (lambda a, b: reward_to_go(a, b, 0.9), r"rewards \(4,\), ends \(4, 1\)"),
        (lambda a, b: reward_to_go(a, a, 0.9, b), r"bootstrap_values \(4, 1\)"),
        (lambda a, b: next_values(a, b, a), r"ends \(4, 1\)"),
        (lambda a, b: gae(b, a, 0.9, 0.9), r"deltas \(4, 1\), ends \(4,\)"),
        (lambda a, b: running_sum(a, b), r"values \(4,\), ends \(4, 1\)"),
    ],
)
def test_arrays_of_different_shapes_are_refused(call, given):
    with pytest.raises(ValueError, match=given + ".*; allowed: the same for all"):
        call(np.zeros(4), np.zeros((4, 1)))


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_all_is_computed_in_double_precision(kind):
    ones, ends = np.ones((4, 1), kind), np.zeros((4, 1))
    after = next_values(ones, ends, ones)
    results = (
        reward_to_go(ones, ends, 0.9),
        after,
        td_errors(ones, ones, ones, 0.9),
        gae(ones, ends, 0.9, 0.9),
        running_sum(ones, ends),
    )
    assert {result.dtype for result in results} == {np.dtype(np.float64)}
    assert td_errors(ones, ones, ones, 0.9)[0, 0] == pytest.approx(0.9, abs=1e-12)
