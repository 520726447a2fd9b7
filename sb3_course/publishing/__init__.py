"""Models for other programs and other people: exported policies, model cards, the Hub.

=================  =============================================================================
module             content
=================  =============================================================================
``graph``          the policy as one graph, from raw observations to actions
``export``         ONNX and TorchScript files of it
``exported``       what such a file computes, compared with the model
``card``           a folder with a model, its evaluation, a video and its card
``readme``         the text of the card, with what the Hub reads
``configuration``  what a model was trained with, as plain data
``hub``            the upload to the Hugging Face Hub
=================  =============================================================================
"""
