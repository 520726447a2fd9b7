"""Policy gradients that figures compare: sampled with each kind of weight, and exact.

================  ===========================================================================
module            content
================  ===========================================================================
``sampled``       estimates from K trajectories, and their exact variance in small worlds
``gaussian``      the lecture's linear Gaussian policy: exact gradient, natural step
================  ===========================================================================
"""
