"""Models for other programs and other people: exported policies, model cards, the Hub.

===============  ================================================================================
module           content
===============  ================================================================================
``graph``        the policy as one graph, from raw observations to actions
``export``       ONNX and TorchScript files of it
``exported``     what such a file computes, compared with the model
===============  ================================================================================
"""
