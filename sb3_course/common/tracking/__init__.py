"""Runs in experiment trackers: TensorBoard, Weights & Biases, MLflow, Trackio.

=================  ==================================================================
module             what it holds
=================  ==================================================================
``tracker``        what is tracked of a run, and what every tracker can do
``callback``       the callback that passes a training's log on to trackers
``film``           the video of the trained policy
``tensorboard``    one module for each tracker, imported if it is asked for
``wandb``
``mlflow``
``trackio``
``code``           commit and versions, which the trackers show
=================  ==================================================================
"""
