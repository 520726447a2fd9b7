"""The page on the studies of a grid, with the templates and drawings of reports.

===============  =========================================================================
module           contents
===============  =========================================================================
``importance``   how much each hyper-parameter has to do with a good return
``figures``      history, slices and sensitivity, as panels
``sections``     sections of the page, and writing it
===============  =========================================================================
"""
