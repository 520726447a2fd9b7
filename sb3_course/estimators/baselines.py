"""Baselines, and the variance that they are there to reduce."""

import numpy as np
import torch as th

from sb3_course.collection.observations import Array


def leave_one_out_mean(returns: Array, group: Array) -> Array:
    r"""Compute the mean over the other members of a group: it holds no member's own return.

    .. math:: b_i = \frac{1}{K-1} \sum_{j \ne i} R_j

    A mean that includes R_i would shrink the gradient by (K-1)/K. A group of one gets 0.

    :param returns: Returns R_i, of shape (M,)
    :param group: Non-negative index of each return's group, of shape (M,)
    :return: Baselines b_i, of shape (M,)
    """
    total = np.bincount(group, weights=returns)[group]
    others = np.bincount(group)[group] - 1
    return np.divide(total - returns, others, out=np.zeros_like(total), where=others > 0)


def optimal_baseline(scores: th.Tensor, estimates: th.Tensor) -> th.Tensor:
    r"""Compute the leave-one-out estimate of the baseline of least variance, per parameter.

    With S = Σ_t ∇log π(a_t|s_t) and A = Σ_t ∇log π(a_t|s_t) Q̂_t of a trajectory, the variance of
    A - b∘S is least, parameter by parameter, at

    .. math:: b = \frac{E[A \circ S]}{E[S \circ S]}
        \qquad b_i = \frac{\sum_{j \ne i} A_j \circ S_j}{\sum_{j \ne i} S_j \circ S_j}

    which for total returns is lecture 5's E[(∇log π)² R] / E[(∇log π)²]. Since b_i does not depend
    on trajectory i and E[S] = 0, the gradient stays unbiased. Where all other scores are 0, so is
    b_i. Memory: a few tensors of K·P numbers.

    :param scores: Score S of each of K trajectories, of shape (K, P)
    :param estimates: Estimate A of each trajectory, of shape (K, P)
    :return: Baselines b_i, of shape (K, P)
    :raises ValueError: Fewer than two trajectories
    """
    if len(scores) < 2:
        raise ValueError(
            f"the optimal baseline needs at least 2 trajectories, got {len(scores)}: "
            "each one's baseline is estimated from the others"
        )
    numerator, denominator = (estimates * scores).double(), scores.double().square()
    numerator = numerator.sum(0) - numerator
    denominator = denominator.sum(0) - denominator
    return th.where(denominator > 0, numerator / denominator, 0.0).to(scores.dtype)


def covariance_trace(gradients: th.Tensor, lengths: th.Tensor) -> float:
    r"""Compute the variance of a gradient estimate, summed over the parameters.

    The estimate ĝ = Σ_i g_i / M is a ratio, since M = Σ_i L_i varies with the lengths of the K
    independent trajectories. To first order

    .. math:: \operatorname{tr} \operatorname{Cov}[\hat g]
        \approx \frac{K}{M^2} \sum_p \operatorname{Var}_i [g_{i,p} - \hat g_p L_i]

    (the delta method; Cochran 1977, *Sampling Techniques*, section 6.4). Where all lengths are
    equal this is exact.

    :param gradients: Gradient g_i of each trajectory, of shape (K, P), K >= 2
    :param lengths: Number of steps L_i of each trajectory, of shape (K,)
    :return: Trace of the covariance
    """
    k, g = len(gradients), gradients.double()
    lengths = lengths.to(g)
    m = lengths.sum()
    residuals = g - lengths[:, None] * (g.sum(0) / m)
    return float(residuals.var(dim=0).sum() * k / m**2)
