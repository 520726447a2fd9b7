"""The lectures' estimators as pure functions; each may be imported alone.

========================  ======================================================================
module                    contents
========================  ======================================================================
``returns``               reward to go, total return, TD errors, GAE, next values
``baselines``             leave-one-out mean, optimal baseline, variance of the estimate
``importance_weights``    experience of one policy reweighted to another
``trajectory_gradients``  the gradient of each trajectory by itself
``chunks``                how many transitions are evaluated at a time
``natural_gradient``      Fisher-vector product, conjugate gradient, step length
========================  ======================================================================
"""

from sb3_course.estimators.baselines import (
    GradientMoments,
    covariance_trace,
    leave_one_out_mean,
    optimal_baseline,
    optimal_baseline_sums,
)
from sb3_course.estimators.importance_weights import (
    effective_sample_size,
    log_importance_weights,
    log_mixture,
    log_products,
    self_normalized,
    truncated_weights,
    weighted_returns,
)
from sb3_course.estimators.returns import (
    gae,
    next_values,
    reward_to_go,
    running_sum,
    td_errors,
    total_return,
)

__all__ = [
    "GradientMoments",
    "covariance_trace",
    "effective_sample_size",
    "gae",
    "leave_one_out_mean",
    "log_importance_weights",
    "log_mixture",
    "log_products",
    "next_values",
    "optimal_baseline",
    "optimal_baseline_sums",
    "reward_to_go",
    "running_sum",
    "self_normalized",
    "td_errors",
    "total_return",
    "truncated_weights",
    "weighted_returns",
]
