"""The command ``sb3-course``, which parses arguments and prints; importable functions do the work.

============  ==================================================================================
module        content
============  ==================================================================================
``app``       all commands together, and how errors are reported
``grids``     ``run``, ``demo``, ``status``, ``regression``
``reports``   ``report``
``models``    ``train``, ``enjoy``
``lessons``   ``imitate``, ``figures``
``terminal``  exit codes, and functions that print
============  ==================================================================================

Commands import what they need when they run, so that help and usage errors appear at once.
"""
