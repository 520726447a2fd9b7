"""Baselines, and the variance that they are there to reduce."""

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import torch as th

from sb3_course.collection.observations import Array
from sb3_course.estimators.chunks import chunk_bytes, chunks

Sums: TypeAlias = tuple[th.Tensor, th.Tensor]


def leave_one_out_mean(returns: Array, group: Array) -> Array:
    r"""Compute the mean over the other members of a group: it holds no member's own return.

    .. math:: b_i = \frac{1}{K-1} \sum_{j \ne i} R_j

    A mean that includes R_i would shrink the gradient to (K-1)/K of itself. A group of one gets 0.

    :param returns: Returns R_i, of shape (M,)
    :param group: Non-negative index of each return's group, of shape (M,)
    :return: Baselines b_i, of shape (M,)
    """
    total = np.bincount(group, weights=returns).astype(np.float64)[group]  # also of no returns
    others = np.bincount(group)[group] - 1
    return np.divide(total - returns, others, out=np.zeros_like(total), where=others > 0)


def optimal_baseline_sums(pairs: Iterable[tuple[th.Tensor, th.Tensor]]) -> Sums:
    """Compute Σ_i A_i∘S_i and Σ_i S_i∘S_i, for :func:`optimal_baseline` of a part of the batch.

    :param pairs: Scores S and estimates A of some trajectories each, of shape (B, P)
    :return: Both sums over all trajectories, float64 of shape (P,)
    """
    numerator, denominator = th.zeros((), dtype=th.float64), th.zeros((), dtype=th.float64)
    for scores, estimates in pairs:
        parts = [[t.sum(0) for t in _products(*pair)] for pair in _columns(scores, estimates)]
        products, squares = (th.cat(sums) for sums in zip(*parts, strict=True))
        numerator, denominator = (
            numerator.to(products) + products,
            denominator.to(squares) + squares,
        )
    return numerator, denominator


def optimal_baseline(
    scores: th.Tensor, estimates: th.Tensor, sums: Sums | None = None
) -> th.Tensor:
    r"""Compute the leave-one-out estimate of the baseline of least variance, per parameter.

    With S = Σ_t ∇log π(a_t|s_t) and A = Σ_t ∇log π(a_t|s_t) Q̂_t of a trajectory, the variance of
    A - b∘S is least, parameter by parameter, at

    .. math:: b = \frac{E[A \circ S]}{E[S \circ S]}
        \qquad b_i = \frac{\sum_{j \ne i} A_j \circ S_j}{\sum_{j \ne i} S_j \circ S_j}

    which for total returns is lecture 5's E[(∇log π)² R] / E[(∇log π)²]. Since b_i does not depend
    on trajectory i and E[S] = 0, the gradient stays unbiased. Where all other scores are 0, so is
    b_i. Memory: the result's, since float64 is used for a few parameters at a time.

    :param scores: Score S of each of K trajectories, of shape (K, P)
    :param estimates: Estimate A of each trajectory, of shape (K, P)
    :param sums: What :func:`optimal_baseline_sums` returns for the whole batch, where these
        trajectories are a part of it only; None for their own sums
    :return: Baselines b_i, of shape (K, P), at least float32
    :raises ValueError: Fewer than two trajectories, or scores and estimates of different shapes
    """
    if scores.shape != estimates.shape:
        raise ValueError(
            f"scores and estimates must have the same shape, got {tuple(scores.shape)} and "
            f"{tuple(estimates.shape)}"
        )
    scores, estimates = _single(scores), _single(estimates)
    if sums is None:
        if len(scores) < 2:
            raise ValueError(
                f"the optimal baseline needs at least 2 trajectories, got {len(scores)}: "
                "each one's baseline is estimated from the others"
            )
        sums = optimal_baseline_sums([(scores, estimates)])
    parts = []
    for s, a, *totals in _columns(scores, estimates, sums[0][None], sums[1][None]):
        numerator, denominator = (
            total - own for total, own in zip(totals, _products(s, a), strict=True)
        )
        parts.append(th.where(denominator > 0, numerator / denominator, 0.0).to(s.dtype))
    return th.cat(parts, dim=1)


def _single(numbers: th.Tensor) -> th.Tensor:
    """Return numbers in single precision at least: half overflows, integers have no fractions."""
    return numbers if numbers.dtype in (th.float32, th.float64) else numbers.float()


def _products(scores: th.Tensor, estimates: th.Tensor) -> Sums:
    """Compute A∘S and S∘S in float64."""
    return (estimates * scores).double(), scores.double().square()


def _columns(*matrices: th.Tensor) -> Iterable[tuple[th.Tensor, ...]]:
    """Yield blocks of columns, of which float64 copies are small."""
    rows, columns = matrices[0].shape
    most = chunk_bytes(matrices[0].device) // (8 * max(1, rows))
    for part in chunks(columns, max(1, most)) if columns else [slice(0)]:
        yield tuple(matrix[:, part] for matrix in matrices)


class GradientMoments:
    r"""The sum of trajectories' gradients, and the variance of the estimate, block by block.

    The estimate ĝ = Σ_i g_i / M is a ratio, since M = Σ_i L_i varies with the lengths of the K
    independent trajectories. To first order

    .. math:: \operatorname{tr} \operatorname{Cov}[\hat g]
        \approx \frac{K}{M^2} \sum_p \operatorname{Var}_i [g_{i,p} - \hat g_p L_i]

    (the delta method; Cochran 1977, *Sampling Techniques*, section 6.4). Where all lengths are
    equal and the g_i independent, its expectation is exact. A baseline from the other trajectories
    makes the g_i depend on each other a little, and with few of them this is too small: with the
    mean of the others and episodes of one step, by ‖∇J‖² / (K - 1)². The residuals
    r_i = g_i - ĝ L_i sum to 0, so their squares suffice: Σ r² = Σ g² - 2 ĝ Σ L g + ĝ² Σ L².

    :ivar total: Σ_i g_i, of shape (P,)
    """

    def __init__(self) -> None:
        self.total = th.zeros(())
        self._squares = self._by_length = th.zeros((), dtype=th.float64)
        self._lengths = th.zeros(0, dtype=th.float64)

    def add(self, gradients: th.Tensor, lengths: th.Tensor) -> None:
        """Take the gradients of some trajectories.

        :param gradients: Gradient g_i of each trajectory, of shape (B, P)
        :param lengths: Number of steps L_i of each trajectory, of shape (B,)
        :raises ValueError: There is not one length of each trajectory
        """
        gradients = _single(gradients)
        lengths = th.as_tensor(lengths).to(gradients.device, th.float64)
        if lengths.shape != gradients.shape[:1]:
            raise ValueError(
                f"there must be one length of each of the {len(gradients)} trajectories, got "
                f"lengths of shape {tuple(lengths.shape)}"
            )
        parts = [(g.double().square().sum(0), lengths @ g.double()) for (g,) in _columns(gradients)]
        squares, by_length = (th.cat(sums) for sums in zip(*parts, strict=True))
        self.total = self.total.to(gradients) + gradients.sum(0)
        self._squares = self._squares.to(squares) + squares
        self._by_length = self._by_length.to(squares) + by_length
        self._lengths = th.cat([self._lengths.to(lengths), lengths])

    def covariance_trace(self) -> float:
        """Compute the variance of the estimate, summed over the parameters.

        :return: Trace of the covariance
        :raises ValueError: Fewer than two trajectories, or all of length 0
        """
        k, m = len(self._lengths), self._lengths.sum()
        if k < 2 or m <= 0:
            raise ValueError(
                f"the variance needs at least 2 trajectories with steps, got {k} with {m:g} steps"
            )
        mean = self.total.double() / m
        squares = self._squares - 2 * mean * self._by_length
        squares += mean.square() * self._lengths.square().sum()
        return float(squares.clamp_min(0).sum() / (k - 1) * k / m**2)


def covariance_trace(gradients: th.Tensor, lengths: th.Tensor) -> float:
    """Compute the variance of a gradient estimate, as :class:`GradientMoments` does.

    :param gradients: Gradient g_i of each trajectory, of shape (K, P), K >= 2
    :param lengths: Number of steps L_i of each trajectory, of shape (K,)
    :return: Trace of the covariance
    :raises ValueError: Fewer than two trajectories, not one length of each, or all of length 0
    """
    moments = GradientMoments()
    moments.add(gradients, lengths)
    return moments.covariance_trace()
