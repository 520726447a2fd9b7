"""Many machines: where runs execute, what a scheduler starts, and whether what they share holds.

=================  ==============================================================================
module             contents
=================  ==============================================================================
``ray_cluster``    runs as tasks on the machines of a Ray cluster
``slurm``          the script of a Slurm array whose tasks work on one grid
``shared_folder``  whether locks hold in a folder, and between the machines that share it
=================  ==============================================================================
"""
