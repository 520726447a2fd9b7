"""Tables, figures and pages that display the numbers of an analysis and compute none themselves.

============  ============================================================================
module        contents
============  ============================================================================
``styles``    one color and dash pattern per algorithm in all figures
``plots``     single panels, drawn on given axes
``figures``   complete figures and their files
``content``   what a report consists of: sections, pictures and tables
``tables``    numbers as tables
``answers``   results in sentences
``sources``   which logs the returns were read from
``sections``  all sections of a report
``report``    figures, one page and a README
============  ============================================================================
"""
