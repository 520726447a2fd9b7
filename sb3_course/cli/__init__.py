"""The command ``sb3-course``: it parses and prints; the work is done by importable functions.

============  ==================================================================================
module        its commands
============  ==================================================================================
``app``       all of them, and what becomes of errors
``grids``     ``run``, ``demo``, ``status``, ``report``, ``regression``
``models``    ``train``, ``enjoy``
``lessons``   ``imitate``, ``figures``
``terminal``  exit codes, and lines for people
============  ==================================================================================

Commands import what they need when they run, so that help and mistakes answer at once.
"""
