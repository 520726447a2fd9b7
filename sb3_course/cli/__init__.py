"""The command ``sb3-course``, which parses arguments and prints; importable functions do the work.

Commands import what they need when they run, so that help and usage errors appear at once.
"""
