"""Tables, figures and pages that display the numbers of an analysis and compute none themselves.

============  ============================================================================
module        contents
============  ============================================================================
``drawing``   figures: styles, panels and files
``tables``    numbers as tables
``sections``  all sections of a report
``page``      templates and styles of all pages
``content``   what a report consists of: sections, pictures and tables
``numbers``   how numbers are written
``answers``   results in sentences
``sources``   which logs the returns were read from
``report``    figures, one page and a README
============  ============================================================================
"""
