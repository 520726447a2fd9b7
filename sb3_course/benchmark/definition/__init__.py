"""What is to be run: the grid file, and checks of all that it names.

======================  ==================================================================
module                  its one idea
======================  ==================================================================
``grid``                the form of the file, and the runs that it stands for
``yaml_source``         the text of a grid: YAML that knows its lines, includes
``checks``              whether everything that it names exists
``constructor_checks``  whether every constructor takes its settings
======================  ==================================================================
"""
