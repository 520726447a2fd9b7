"""Definition of the runs: the grid file, and checks of every name and setting in it.

======================  ==================================================================
module                  contents
======================  ==================================================================
``grid``                schema of the grid file, and the runs that it defines
``search``              section ``search``: ranges of settings, seeds of trials
``yaml_source``         YAML with line numbers, and included files
``checks``              whether every name in a grid exists
``constructor_checks``  whether every constructor accepts its settings
``sections``            sections of the grid file
``field_types``         types of the grid's fields, with the limits of their values
``references``          reference returns that a grid declares for its own tasks
``selection``           what ``--only`` selects
``search_checks``       which values of a search a constructor refuses
``user_code``           the user's own code that a run is made with, and its digest
======================  ==================================================================
"""
