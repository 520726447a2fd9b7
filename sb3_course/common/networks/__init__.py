"""The actor and the critic as functions that are evaluated and stepped.

====================  ======================================================================
module                contents
====================  ======================================================================
``actors``            π_θ: sample, log-probability, policy-gradient step
``critics``           V_φ: values, regression step
``autograd``          policy gradients, and one gradient step down a loss, for any policy
``engine``            multilayer perceptrons without autograd: passes and gradients by formula
``heads``             the distributions over actions, with their gradients
``step``              an optimizer's step down such a gradient
``fisher``            the Fisher-vector product by formula
``architecture``      which policies the engine knows
``structure``         whether a policy is still what it was
``parameter_groups``  which parameters are the actor's and which the critic's
====================  ======================================================================

For SB3's own MLP policies the engine takes the same steps as autograd, to the last bit, in a
fraction of the time (``benchmarks/speed``). Any other policy takes the autograd path.
"""
