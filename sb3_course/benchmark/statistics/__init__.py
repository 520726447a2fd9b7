"""Statistics of stored returns: from runs to estimates with intervals.

==============  ==========================================================================
module          contents
==============  ==========================================================================
``curves``      runs with different evaluation steps, interpolated on one declared grid
``scores``      normalized scores with fixed reference returns
``bootstrap``   rliable's statistics and their confidence intervals
``analysis``    every number of a report
``regression``  whether new runs learn what the stored ones did
==============  ==========================================================================
"""
