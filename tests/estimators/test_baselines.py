import numpy as np
import pytest
import torch as th

from sb3_course.estimators.baselines import (
    GradientMoments,
    covariance_trace,
    leave_one_out_mean,
    optimal_baseline,
)


def test_leave_one_out_mean_by_hand():
    returns = np.array([1.0, 2.0, 6.0, 10.0])
    means = leave_one_out_mean(returns, np.array([0, 0, 0, 1]))
    assert means.tolist() == [4, 3.5, 1.5, 0]
    assert leave_one_out_mean(returns, np.array([0, 0, 1, 1])).tolist() == [2, 1, 10, 6]
    assert leave_one_out_mean(np.array([]), np.array([], dtype=int)).shape == (0,)


def test_optimal_baseline_by_hand():
    scores = th.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
    estimates = th.tensor([[5.0, 0.0], [7.0, 0.0], [9.0, 2.0]])
    baseline = optimal_baseline(scores, estimates)
    assert baseline[0].tolist() == pytest.approx([(14 + 27) / (4 + 9), 2])
    assert baseline[2].tolist() == pytest.approx([(5 + 14) / (1 + 4), 0])  # no score but 0


def test_optimal_baseline_of_two_trajectories_is_each_others():
    scores, estimates = th.tensor([[1.0], [2.0]]), th.tensor([[5.0], [7.0]])
    baseline = optimal_baseline(scores, estimates)
    assert baseline.tolist() == [[3.5], [5.0]]
    assert baseline.dtype == scores.dtype


def test_optimal_baseline_does_not_depend_on_the_trajectorys_own_estimate():
    scores = th.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
    estimates = th.tensor([[5.0, 0.0], [7.0, 0.0], [9.0, 2.0]])
    before = optimal_baseline(scores, estimates)
    estimates[0] = 1e6
    after = optimal_baseline(scores, estimates)
    assert th.equal(before[0], after[0])
    assert not th.equal(before[1], after[1])


def test_optimal_baseline_minimizes_the_variance():
    generator = th.Generator().manual_seed(0)
    scores = th.randn(20_000, 3, generator=generator, dtype=th.float64)
    returns = 5 + th.randn(20_000, 1, generator=generator, dtype=th.float64) + scores[:, :1]
    estimates = returns * scores
    least = (estimates - optimal_baseline(scores, estimates) * scores).var(0)
    optimum = (estimates * scores).mean(0) / scores.square().mean(0)
    for shift in (-0.3, 0.3):
        assert (least < (estimates - (optimum + shift) * scores).var(0)).all()


def test_optimal_baseline_of_one_trajectory_is_refused():
    with pytest.raises(ValueError, match="at least 2 trajectories, got 1: each one's"):
        optimal_baseline(th.ones(1, 3), th.ones(1, 3))


def test_covariance_trace_of_equal_lengths_is_that_of_the_mean_over_transitions():
    gradients = th.tensor([[1.0, 0.0], [3.0, 4.0]])
    assert covariance_trace(gradients, th.tensor([5, 5])) == pytest.approx((2 + 8) * 2 / 100)


def test_covariance_trace_is_zero_where_every_batch_gives_the_same_update():
    """Gradients in proportion to lengths: their sum over the number of transitions is constant."""
    lengths = th.arange(1, 20)
    gradients = lengths[:, None] * th.tensor([[1.0, -2.0]])
    assert covariance_trace(gradients, lengths) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("correlation", [-1.0, 0.0, 1.0])
def test_covariance_trace_is_that_of_simulated_batches(correlation):
    """Lengths vary and gradients vary with them: 20,000 batches of 40 trajectories."""
    generator = th.Generator().manual_seed(0)
    lengths = th.randint(1, 20, (20_000, 40), generator=generator).double()
    noise = th.randn(20_000, 40, generator=generator, dtype=th.float64)
    gradients = noise * 3 + correlation * (lengths - 10) + 0.5 * lengths
    true = (gradients.sum(1) / lengths.sum(1)).var().item()
    estimates = [covariance_trace(gradients[i, :, None], lengths[i]) for i in range(500)]
    assert sum(estimates) / 500 == pytest.approx(true, rel=0.1)


OTHERS = [th.float16, th.bfloat16, th.float64, th.int64, th.uint8]


@pytest.mark.parametrize("dtype", OTHERS, ids=str)
def test_numbers_of_every_type_have_the_same_estimates(dtype):
    """Products of half precision overflow, and baselines of integers are no integers."""
    scores = 50 * th.tensor([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0], [3.0, 2.0]])
    estimates = 60 * th.tensor([[3.0, 1.0], [1.0, 1.0], [2.0, 4.0], [2.0, 2.0]])
    found = optimal_baseline(scores.to(dtype), estimates.to(dtype))
    assert found.is_floating_point()
    assert th.allclose(found.float(), optimal_baseline(scores, estimates))
    lengths, moments = th.tensor([1, 4, 2, 2]), GradientMoments()
    for rows in (slice(2), slice(2, 4)):
        moments.add(estimates[rows].to(dtype), lengths[rows])
    assert moments.total.tolist() == estimates.sum(0).tolist()
    expected = covariance_trace(estimates, lengths)
    assert moments.covariance_trace() == pytest.approx(expected, rel=1e-5)
    assert covariance_trace(estimates, lengths.numpy()) == expected


@pytest.mark.parametrize("lengths", [[1, 2], [[1, 2, 3]], [1, 2, 3, 4], 3])
def test_there_is_one_length_of_each_trajectory(lengths):
    with pytest.raises(ValueError, match="one length of each of the 3 trajectories"):
        covariance_trace(th.ones(3, 2), th.tensor(lengths))


@pytest.mark.parametrize("lengths", [[], [3], [0, 0]])
def test_the_variance_needs_two_trajectories_with_steps(lengths):
    with pytest.raises(ValueError, match="needs at least 2 trajectories with steps"):
        covariance_trace(th.ones(len(lengths), 2), th.tensor(lengths, dtype=th.int64))


@pytest.mark.parametrize("shape", [(4, 1), (1, 2), (4,)])
def test_scores_and_estimates_of_different_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"the same shape, got \(4, 2\) and"):
        optimal_baseline(th.ones(4, 2), th.ones(shape))
