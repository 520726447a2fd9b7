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
``scores``     normalised scores and their uncertainty
``plots``      axes in, axes out
``report``     tables, figures and one page
============== ==========================================================

Importing this package imports none of them, so that the command line starts at once.
"""
