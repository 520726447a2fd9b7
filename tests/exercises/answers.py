"""What students might hand in: right answers in several forms, and wrong ones with their cause.

A wrong answer is the first right one with an edit, as one would make the mistake.
"""

import inspect
from pathlib import Path

from sb3_course.exercises import worksheet
from sb3_course.exercises.checking import check
from sb3_course.exercises.themes import EXERCISES

HEADER = """import math
import numpy as np
import torch
from torch import Tensor
"""
PATH = Path("answers.py")


def verdict(name, source):
    """Judge the source of one function."""
    namespace = {}
    exec(compile(HEADER + source, str(PATH), "exec"), namespace)
    return check(EXERCISES[name], namespace[name], PATH)


def edited(source, *edits):
    """Make edits, each of which has to apply exactly once."""
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


def given(name):
    """Return a function of the worksheet without its docstring."""
    function = getattr(worksheet, name)
    source = inspect.getsource(function)
    start = source.index('"""')
    return source[:start] + source[source.index('"""', start + 3) + 3 :]
