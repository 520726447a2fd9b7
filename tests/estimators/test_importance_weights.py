import numpy as np
import pytest

from sb3_course.collection.rollout import Rollout
from sb3_course.estimators.importance_weights import (
    effective_sample_size,
    log_importance_weights,
    log_mixture,
    log_products,
    self_normalized,
    truncated_weights,
    weighted_returns,
)
from tests.worlds import two_episodes

RATIOS = np.array([[2.0], [3.0], [0.5], [4.0], [5.0], [np.nan]])
PRODUCTS = [2, 6, 0.5, 2, 10]
REWARDS = np.array([[1.0], [2.0], [4.0], [8.0], [16.0], [np.nan]])
GAMMA = 0.5


def column(values):
    """Make an array of shape (6, 1), the masked step's value included."""
    return np.array([[*values, 1.0]]).T


def log_weights(ratio, log_prob, behaviors, shares, rollout):
    """Weight against the mixture of some behavior policies."""
    old = log_mixture([log_products(ratio, b, rollout) for b in behaviors], shares)
    return log_importance_weights(ratio, log_products(ratio, log_prob, rollout), old, rollout)


# -- weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "weights"),
    [
        ("trajectory", [6, 6, 10, 10, 10]),
        ("per_decision", PRODUCTS),
        ("prefix", PRODUCTS),
        ("step", [2, 3, 0.5, 4, 5]),
    ],
)
def test_weights_by_hand(ratio, weights):
    rollout, behaviors = two_episodes(REWARDS), np.zeros((1, 6, 1))
    logs = log_weights(ratio, np.log(RATIOS), behaviors, np.ones(1), rollout)
    assert np.exp(rollout.flat(logs)) == pytest.approx(weights)
    assert logs[-1] == 0  # the masked step


@pytest.mark.parametrize(("ratio", "weights"), [("step", [2, 3, 0.5, 4, 5]), ("prefix", PRODUCTS)])
def test_weights_of_a_mixture_by_hand(ratio, weights):
    """Shares 1/4 and 3/4 of a policy with these weights and of one whose weights are all 1."""
    rollout = two_episodes(REWARDS)
    behaviors = np.stack([-np.log(RATIOS), np.zeros((6, 1))])
    shares = np.array([0.25, 0.75])
    logs = log_weights(ratio, np.zeros((6, 1)), behaviors, shares, rollout)
    expected = 1 / (0.25 / np.array(weights) + 0.75)
    assert np.exp(rollout.flat(logs)) == pytest.approx(expected)


def test_long_products_do_not_overflow():
    rollout, log_prob = two_episodes(REWARDS), np.full((6, 1), 500.0)
    behaviors = np.zeros((1, 6, 1))
    logs = log_weights("trajectory", log_prob, behaviors, np.ones(1), rollout)
    assert rollout.flat(logs).tolist() == [1000, 1000, 1500, 1500, 1500]


@pytest.mark.parametrize(
    ("ratio", "weights", "means"),
    [
        # The first episode keeps its last weight, 6, when the second continues alone.
        ("prefix", [2, 6, 4, 2, 10], [3, 4, 3, 4, 8]),
        ("step", [2, 6, 4, 2, 10], [4.8] * 5),
        ("trajectory", [6, 6, 10, 10, 10], [8] * 5),
    ],
)
@pytest.mark.parametrize("shift", [0.0, 2000.0])
def test_self_normalized_weights_by_hand(ratio, weights, means, shift):
    """Weights too large for floating point, too, since all is done in logarithms."""
    rollout = two_episodes(REWARDS)
    logs = self_normalized(ratio, np.log(column(weights)) + shift, rollout)
    assert np.exp(rollout.flat(logs)) == pytest.approx(np.array(weights) / means)


def side_by_side() -> Rollout:
    """Two environments: an episode of three steps; one of one step, masked from then on."""
    ends = np.array([[0, 1], [0, 1], [1, 1]], dtype=bool)
    mask = np.array([[1, 1], [1, 0], [1, 0]], dtype=bool)
    zeros = np.zeros((3, 2))
    return Rollout(zeros, zeros, zeros, ends, np.zeros_like(ends), mask, zeros[0], {})


def test_masked_steps_of_one_environment_do_not_touch_the_other_ones_weights():
    rollout, logs = side_by_side(), np.log([[2.0, 5.0], [3.0, 7.0], [0.5, 7.0]])
    weights = {
        "trajectory": [[3, 5], [3, 1], [3, 1]],
        "prefix": [[2, 5], [6, 1], [3, 1]],
        "step": [[2, 5], [3, 1], [0.5, 1]],
    }
    for ratio, expected in weights.items():
        behaviors = np.zeros((1, 3, 2))
        got = log_weights(ratio, logs, behaviors, np.ones(1), rollout)
        assert np.exp(got) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(
    ("ratio", "means"),
    [
        ("prefix", [[3.5, 3.5], [5.5, None], [4, None]]),
        ("trajectory", [[4, 4], [4, None], [4, None]]),
        ("step", [[4, 4], [4, None], [4, None]]),
    ],
)
def test_self_normalized_weights_of_two_environments_by_hand(ratio, means):
    """The second episode keeps its weight, 5, after its end; what is masked counts nowhere."""
    rollout, weights = side_by_side(), np.array([[2.0, 5.0], [6.0, 70.0], [3.0, 70.0]])
    if ratio == "trajectory":
        weights[:, 0] = 3
    logs = self_normalized(ratio, np.log(weights), rollout)
    expected = (weights / np.array(means, dtype=float))[rollout.mask]
    assert np.exp(logs[rollout.mask]) == pytest.approx(expected)
    assert not logs[~rollout.mask].any()


@pytest.mark.parametrize("ratio", ["trajectory", "prefix", "step"])
def test_normalized_weights_are_in_range_however_unlikely_all_episodes_became(ratio):
    rollout = side_by_side()
    logs = np.where(rollout.mask, -1000.0, 0.0)
    assert truncated_weights(self_normalized(ratio, logs, rollout)) == pytest.approx(1.0)


# -- returns -------------------------------------------------------------------------------------

TO_GO = column([2, 2, 12, 16, 16])  # of the rewards 1, 2 and 4, 8, 16 with discount 1/2
WEIGHTS = column([3, 5, 2, 7, 11])


@pytest.mark.parametrize("ratio", ["trajectory", "prefix", "step"])
@pytest.mark.parametrize(
    ("reward_to_go", "total"), [(True, [2, 2, 12, 16, 16]), (False, [2, 2, 12, 12, 12])]
)
def test_a_return_is_weighted_as_a_whole(ratio, reward_to_go, total):
    rollout = two_episodes(REWARDS)
    returns = weighted_returns(ratio, WEIGHTS, TO_GO, rollout, GAMMA, reward_to_go)
    assert rollout.flat(returns).tolist() == [w * q for w, q in zip([3, 5, 2, 7, 11], total)]


def test_each_reward_is_weighted_by_its_own_time():
    rollout = two_episodes(REWARDS)
    returns = weighted_returns("per_decision", WEIGHTS, TO_GO, rollout, GAMMA, True)
    expected = [
        3 * 1 + 5 * 2 / 2,
        5 * 2,
        2 * 4 + 7 * 8 / 2 + 11 * 16 / 4,
        7 * 8 + 11 * 16 / 2,
        11 * 16,
    ]
    assert rollout.flat(returns) == pytest.approx(expected)


def test_rewards_before_a_step_are_weighted_by_the_time_of_the_step():
    """Of a total return, discounted from the trajectory's start."""
    rollout = two_episodes(REWARDS)
    returns = weighted_returns("per_decision", WEIGHTS, TO_GO, rollout, GAMMA, False)
    expected = [
        3 * 1 + 5 * 2 / 2,
        5 * 1 + 5 * 2 / 2,
        2 * 4 + 7 * 8 / 2 + 11 * 16 / 4,
        7 * 4 + 7 * 8 / 2 + 11 * 16 / 4,
        11 * 4 + 11 * 8 / 2 + 11 * 16 / 4,
    ]
    assert rollout.flat(returns) == pytest.approx(expected)


def test_weights_of_one_change_no_return():
    rollout, ones = two_episodes(REWARDS), np.ones((6, 1))
    for reward_to_go, expected in ((True, [2, 2, 12, 16, 16]), (False, [2, 2, 12, 12, 12])):
        for ratio in ("trajectory", "per_decision", "prefix", "step"):
            returns = weighted_returns(ratio, ones, TO_GO, rollout, GAMMA, reward_to_go)
            assert rollout.flat(returns) == pytest.approx(expected)


# -- effective sample size -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "share"),
    [([1, 1, 1, 1], 1), ([1, 0, 0, 0], 1 / 4), ([3, 1], 16 / 20), ([0, 0, 0], 0), ([], 0)]
    + [([3 * size, size], 16 / 20) for size in (1e-200, 1e200)],
)
def test_effective_sample_size_by_hand(weights, share):
    assert effective_sample_size(np.array(weights, dtype=float)) == pytest.approx(share)


@pytest.mark.parametrize("limit", [0, -1.0, np.nan])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(ValueError, match="max_weight must be a positive number or None, got"):
        truncated_weights(np.zeros(3), limit)


def test_weights_of_half_precision_are_those_of_double():
    assert truncated_weights(np.array([0, 20], np.float16)).tolist() == np.exp([0, 20]).tolist()
    assert truncated_weights(np.array([])).shape == (0,)
    with pytest.raises(FloatingPointError, match="an importance weight is e"):
        truncated_weights(np.array([0.0, np.nan]))
