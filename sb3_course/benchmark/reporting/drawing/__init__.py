"""Drawings of the numbers of an analysis.

============  ============================================================================
module        contents
============  ============================================================================
``families``  which algorithms belong together, and which share a panel
``styles``    one color and dash pattern per algorithm in all figures
``plots``     single panels, drawn on given axes
``figures``   complete figures for print, and the panels of a page
``files``     style of all drawings, their files, and how a page embeds them
============  ============================================================================
"""
