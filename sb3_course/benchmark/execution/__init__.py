"""Execution of runs: processes, queue, progress, without any plotting or statistics library.

=======================  =======================================================================
module                   contents
=======================  =======================================================================
``runner``               run the missing runs of a grid and store their results
``train_run``            train and evaluate one run
``worker``               what the process of a run does: its limits, its output, and why it died
``supervisor``           a process that forks one for each run, and ends all that a run leaves
``process_tree``         the processes that a run starts, and how they end with it
``executors``            where runs execute: processes of this machine, or a Ray cluster
``clusters``             many machines: Ray, Slurm, and the folder that they share
``run_queue``            which run starts next when several commands work on one grid
``rerun``                repeat stored runs, and replace them once all have finished
``heartbeat``            the progress file of a run in progress
``progress``             progress of a grid, shown by the command that runs it
``status``               progress of a grid, read from its files by any other process
``evaluation_callback``  measure a run's policy at declared environment steps
=======================  =======================================================================
"""
