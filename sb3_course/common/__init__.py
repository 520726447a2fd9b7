"""What all algorithms share.

===================  =====================================================================
module               contents
===================  =====================================================================
``base_class``       what BC, DAgger and the policy gradients share
``policy_gradient``  ``PolicyGradientAlgorithm``: constructor, collection, SB3's interface
``update_steps``     the steps that every policy-gradient update takes
``networks``         the actor and the critic, stepped by autograd or by formula
``optimization``     minibatches of a regression, and the state of an optimizer
``checkpoint``       one-file checkpoints
``files``            files that are written whole or not at all, and those of the package
``validation``       checks of constructor arguments
``errors``           mistakes that a user can correct
``yaml_values``      values written as in a grid file
``numbers``          numbers such as returns as text
``evaluation``       a policy's returns, without disturbing its training
``video``            films of policies
``callbacks``        save, evaluate and show progress in long trainings
``resumable``        the state of a training, in its file and out of it
``tracking``         runs in TensorBoard, Weights & Biases, MLflow, Trackio
===================  =====================================================================
"""
