"""From stored returns to estimates with intervals.

==============  ==========================================================================
module          its one idea
==============  ==========================================================================
``curves``      runs of unequal steps on one declared grid
``scores``      normalized scores, with fixed references
``bootstrap``   rliable's statistics and their intervals
``analysis``    every number of a report
``regression``  whether new runs learn what the stored ones did
==============  ==========================================================================
"""
