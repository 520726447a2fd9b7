"""Stored results, and what they were made with.

=================  ============================================================================
module             contents
=================  ============================================================================
``result``         the result of a run
``store``          the results of a grid
``grids``          a grid that has been run, found by its file or by the folder of its results
``run_files``      one file per run, one file for all once the grid has finished
``returns_table``  results as one tidy table
``derived``        files that are made from results
``manifest``       what a grid was run with
``provenance``     code, versions and machine
``references``     returns of random actions that were measured for a grid
``rounds``         rounds in which seeds were added to a grid
``rl_zoo``         results as RL Zoo's plot scripts read them
=================  ============================================================================
"""
