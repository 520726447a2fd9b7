"""Definition of the runs: the grid file, and checks of every name and setting in it.

======================  ==================================================================
module                  contents
======================  ==================================================================
``grid``                schema of the grid file, and the runs that it defines
``search``              section ``search``: ranges of settings, seeds of trials
``yaml_source``         YAML with line numbers, and included files
``checks``              whether every name in a grid exists
``constructor_checks``  whether every constructor accepts its settings
======================  ==================================================================
"""
