"""What all pages have in common: one template, one sheet of styles, and what templates may call.

================  ========================================================================
file              contents
================  ========================================================================
``templates``     fills in a template; the text of names never becomes markup
``base.html.j2``  a page of one file that loads nothing, for both color schemes and print
``page.css``      its styles
``parts.html.j2`` tables, figures and legends
``report.*.j2``   page and README of a report
================  ========================================================================
"""
