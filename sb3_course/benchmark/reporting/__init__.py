"""Tables, figures and pages; they show the numbers of an analysis and compute none.

============  ============================================================================
module        its one idea
============  ============================================================================
``styles``    one color per algorithm, everywhere
``plots``     axes in, axes out
``figures``   whole figures and their files
``tables``    numbers as tables and sentences
``sections``  what a report says
``report``    figures, one page and a README
============  ============================================================================
"""
