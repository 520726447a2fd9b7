"""The homeworks of CS285 (fall 2023) as stored experiments: imitation, and policy gradients.

=====================  =====================================================================
module                 content
=====================  =====================================================================
``hw1``                behavioral cloning and DAgger, with a student's copies of the files
``experiments``        the experiments of homework 2, whose grids are in ``grids``
``hw2``                running, drawing and checking them
``expectations``       what was expected, and what the runs have reached
``learning_curves``    figures in the handout's form
``own_returns``        returns that a student brings
``one_parameter_mdp``  the processes of the analysis, solved exactly
``analysis``           exact and sampled gradients in them
``imitation_runs``     runs of imitation that are stored as they end
=====================  =====================================================================
"""
