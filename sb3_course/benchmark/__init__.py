"""The benchmark suite: from one grid file to tidy returns, interval estimates, figures and a page.

============== ==============================================================
module         its one idea
============== ==============================================================
``source``     the text of a grid: YAML that knows its lines, includes
``grid``       what is to be run: the form of the file
``checks``     whether all that it names exists
``rehearsal``  whether every constructor takes its settings
``algorithms`` from a name in a grid file to a class and its arguments
``evaluation`` measure a policy without disturbing its training
``run``        train one run
``backends``   where runs execute
``store``      what has been run: one file a run, moved into place whole
``runner``     run what is missing
``progress``   show how far it is
``status``     tell how far it is, from elsewhere
``provenance`` with what it was run
``scores``     normalised scores and their uncertainty
``plots``      axes in, axes out
``report``     tables, figures and one page
``zoo``        the results as RL Zoo's plot scripts read them
``single``     one model: train it, keep it, play it
``video``      film what it plays
============== ==============================================================

Importing this package imports none of them, so that the command line starts at once.
"""
