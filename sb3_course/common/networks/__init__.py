"""The actor and the critic as functions that are evaluated and stepped.

==================  ======================================================================
module              contents
==================  ======================================================================
``actors``          π_θ: sample, log-probability, policy-gradient step
``critics``         V_φ: values, regression step
``autograd``        one gradient step down a loss, for any policy
``engine``          multilayer perceptrons without autograd, over flat buffers
``architecture``    which policies the engine knows
``sampler``         actions of a policy that stays as it is
==================  ======================================================================

For SB3's own MLP policies the engine takes the same steps as autograd in a fraction of the time
(``benchmarks/speed``). Any other policy takes the autograd path.
"""
