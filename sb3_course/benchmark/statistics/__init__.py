"""Statistics of returns: from runs to estimates with intervals, and to answers.

====================  =======================================================================
module                contents
====================  =======================================================================
``design``            what a report compares, whatever made the runs
``curves``            runs with different evaluation steps, on those of a grid or on common ones
``metrics``           rliable's statistics: aggregates, profiles, probability of improvement
``bootstrap``         intervals of statistics, by a stratified bootstrap
``environments``      numbers on each environment, in raw returns
``pairs``             two algorithms at a time, which needs no scale of the returns
``hypothesis_tests``  tests whose false alarms are known, their power, and rounds of seeds
``answers``           is a question settled, and how many seeds would settle it?
``scores``            normalized scores with fixed reference returns
``aggregates``        aggregates of scores over environments
``analysis``          every number of a report
``regression``        whether new runs learn what the stored ones did
``coverage``          what 95% intervals of few runs cover: less than they say
====================  =======================================================================
"""
