"""What has been run, and with what.

=================  =======================================================================
module             its one idea
=================  =======================================================================
``result``         what came of a run
``store``          the results of a grid, as files that are moved into place whole
``returns_table``  results as one tidy table
``manifest``       with what a grid was run
``provenance``     code, versions and machine
``rl_zoo``         results as RL Zoo's plot scripts read them
=================  =======================================================================
"""
