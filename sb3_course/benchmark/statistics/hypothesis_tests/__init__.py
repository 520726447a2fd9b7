"""Tests whose false alarms are known for any returns, and how often they find what is there.

====================  ====================================================================
module                contents
====================  ====================================================================
``rank_test``         new runs against stored ones: has the code changed?
``permutation_test``  two algorithms on several environments: do they differ?
``power``             how probably that test tells them apart, and the seeds that it needs
``sequential_test``   the same question, asked again after each round of seeds
====================  ====================================================================
"""
