"""Many machines: what a scheduler starts, and whether what they share holds.

=================  ==============================================================================
module             contents
=================  ==============================================================================
``slurm``          the script of a Slurm array whose tasks work on one grid
``shared_folder``  whether locks hold in a folder, and between the machines that share it
=================  ==============================================================================
"""
