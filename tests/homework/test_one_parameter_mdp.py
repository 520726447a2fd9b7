import numpy as np
import pytest

from sb3_course.homework.one_parameter_mdp import (
    IMPORTANCE,
    TO_GO,
    TOTAL,
    OneParameterMDP,
    exact_moments,
)

# Derived by hand at θ = 1/2, where the number T of rewards has the factorial moments
# E[T (T-1) … (T-k+1)] = k!: the estimates are 2 T (T-1) from the total return and T (T+1) from
# the reward to go, and ∇J = 4. With θ' = 3/4 the square of the first is weighted by 2 (2/3)^T, so
# that it is 3/2 times its mean at θ = 1/3.
BY_HAND = [
    (None, TOTAL, 0.5, 4, 192),
    (None, TO_GO, 0.5, 4, 88),
    (None, IMPORTANCE, 0.75, 4, 17),
    (None, IMPORTANCE, 0.5, 4, 192),  # with its own experience it is the total return's
    (3, TOTAL, 0.5, 3 / 4, 63 / 16),  # 6 with probability 1/8, else 0
    (3, TO_GO, 0.5, 3 / 4, 63 / 16),  # the reward comes last: nothing is left out
    (3, IMPORTANCE, 0.75, 3 / 4, 37 / 48),  # 6 (2/3)³ with probability (3/4)³
]


@pytest.mark.parametrize(("horizon", "kind", "behavior", "mean", "variance"), BY_HAND)
def test_moments_are_those_derived_by_hand(horizon, kind, behavior, mean, variance):
    found = exact_moments(kind, 0.5, behavior, horizon)
    assert found == pytest.approx((mean, variance), rel=1e-9)


@pytest.mark.parametrize("theta", [0.02, 0.3, 0.9, 0.98])
@pytest.mark.parametrize(("horizon", "gradient"), [(None, lambda t: (1 - t) ** -2), (4, None)])
def test_every_estimator_is_unbiased(theta, horizon, gradient):
    step = 1e-6
    if gradient is None:  # J = θ⁴
        expected = ((theta + step) ** 4 - (theta - step) ** 4) / (2 * step)
    else:  # J = θ / (1 - θ)
        expected = gradient(theta)
    for kind in (TOTAL, TO_GO, IMPORTANCE):
        mean, _ = exact_moments(kind, theta, 0.99, horizon)
        assert mean == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("theta", "finite"), [(0.69, True), (0.7, False), (0.8, False)])
def test_importance_sampling_has_infinite_variance_where_the_series_diverges(theta, finite):
    """With θ² ≥ θ', 0.49 here, the weights grow faster than their trajectories get rare."""
    assert np.isfinite(exact_moments(IMPORTANCE, theta, 0.49).variance) == finite


@pytest.mark.parametrize("theta", [0.0, 1.0, -0.1, float("nan")])
def test_theta_outside_is_refused(theta):
    with pytest.raises(ValueError, match="between 0 and 1"):
        exact_moments(TOTAL, theta)


@pytest.mark.parametrize("horizon", [None, 2])
def test_the_world_pays_as_the_handout_says(horizon):
    world = OneParameterMDP(2, horizon)
    assert world.reset().shape == (2, 1)
    steps = []
    for actions in ([0, 1], [0, 0], [0, 0]):
        world.step_async(np.array(actions))
        _, rewards, dones, _ = world.step_wait()
        steps.append((rewards.tolist(), dones.tolist()))
    if horizon is None:  # the second copy ends, begins again and stays
        assert steps == [([1, 0], [False, True]), ([1, 1], [False] * 2), ([1, 1], [False] * 2)]
    else:  # the first one arrives with its second step
        assert steps[:2] == [([0, 0], [False, True]), ([1, 0], [True, False])]
        assert steps[2] == ([0, 1], [False, True])


@pytest.mark.parametrize(("theta", "behavior"), [(0.7745966, 0.6), (1 - 1e-9, None)])
def test_a_sum_of_too_many_terms_is_refused_at_once(theta, behavior):
    """Near the border, where the variance of importance sampling becomes infinite, and near 1."""
    kind = TOTAL if behavior is None else IMPORTANCE
    with pytest.raises(ValueError, match="too slowly for 1,000,000 of them"):
        exact_moments(kind, theta, behavior)
