"""The benchmark suite: from one grid file to tidy returns, interval estimates, figures and a page.

============== ==========================================================
module         its one idea
============== ==========================================================
``grid``       what is to be run, and whether that makes sense
``algorithms`` from a name in a grid file to a class and its arguments
``evaluation`` measure a policy without disturbing its training
``run``        train one run
``backends``   where runs execute
``store``      what has been run: one file a run, moved into place whole
``runner``     run what is missing
``progress``   show how far it is
``provenance`` with what it was run
``curves``     runs of unequal steps on one declared grid
``scores``     normalised scores, with fixed references
``bootstrap``  rliable's statistics and their intervals
``analysis``   every number of a report
``styles``     one colour an algorithm, everywhere
``plots``      axes in, axes out
``figures``    whole figures and their files
``tables``     numbers as tables and sentences
``sections``   what a report says
``report``     figures, one page and a README
============== ==========================================================

Importing this package imports none of them, so that the command line starts at once.
"""
