"""Statistics of stored returns: from runs to estimates with intervals.

==============  ==========================================================================
module          contents
==============  ==========================================================================
``curves``      runs with different evaluation steps, interpolated on one declared grid
``scores``      normalized scores with fixed reference returns
``metrics``     rliable's statistics: aggregates, profiles, probability of improvement
``bootstrap``   intervals of statistics, by a stratified bootstrap
``analysis``    every number of a report
``regression``  whether new runs learn what the stored ones did
==============  ==========================================================================
"""
