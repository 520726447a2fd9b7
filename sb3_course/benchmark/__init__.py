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
``worker``     the process that runs execute in, and its limits
``backends``   where runs execute: this machine's processes, or a Ray cluster
``store``      what has been run: one file a run, moved into place whole
``claims``     which run starts next, when several commands share a grid
``runner``     run what is missing
``renewal``    run what is stored anew, and replace it once all of it has ended
``regression`` do new runs learn what the stored ones did
``heartbeat``  the sign of life that a running run leaves
``progress``   show how far it is
``status``     tell how far it is, from elsewhere
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
``zoo``        the results as RL Zoo's plot scripts read them
``single``     one model: train it, keep it, play it
``video``      film what it plays
============== ==============================================================

Importing this package imports none of them, so that the command line starts at once.
"""
