"""The command ``sb3-course``, which parses arguments and prints; importable functions do the work.

==============  ================================================================================
module          content
==============  ================================================================================
``app``         all commands together, and how errors are reported
``running``     ``run``, ``demo``
``grids``       ``status``, ``references``, ``regression``
``reports``     ``report``
``models``      ``train``, ``enjoy``
``publishing``  ``export``, ``card``
``lessons``     ``imitate``, ``figures``
``options``     arguments that several commands have
``terminal``    exit codes, and functions that print
==============  ================================================================================

Commands import what they need when they run, so that help and usage errors appear at once.
"""
