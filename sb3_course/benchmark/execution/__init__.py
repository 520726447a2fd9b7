"""Runs happen: processes, queue, progress. No module here loads a plotting or statistics library.

===============  =========================================================================
module           its one idea
===============  =========================================================================
``runner``       run what is missing, and keep the results
``train_run``    train and measure one run
``worker``       the process that runs execute in, and its limits
``executors``    where runs execute: processes of this machine, or a Ray cluster
``run_queue``    which run starts next, when several commands share a grid
``rerun``        run stored runs again, and replace them once all have finished
``heartbeat``    the sign of life that a running run leaves
``progress``     the state of a grid, live
``status``       the state of a grid, from another process
===============  =========================================================================
"""
