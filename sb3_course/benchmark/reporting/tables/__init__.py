"""The numbers of an analysis as tables of texts.

============  ============================================================================
module        contents
============  ============================================================================
``layout``    estimates of all algorithms in columns, the best of each in bold
``returns``   returns, stability and other measures on each environment
``scores``    aggregates over environments
``pairs``     pairs of algorithms and the questions about them
``runs``      missing runs, times and versions
============  ============================================================================
"""
