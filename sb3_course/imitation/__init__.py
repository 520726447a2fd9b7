"""Imitation learning: behavioral cloning and DAgger, on the ``imitation`` package's data types.

==================  =============================================================
module              its one idea
==================  =============================================================
``bc``              fit a policy to an expert's actions
``dagger``          in rounds: act, ask the expert, fit
``beta``            how often the expert acts in a round
``dataset``         what has been demonstrated, in memory that does not move
``demonstrations``  demonstrations from wherever they come
``experts``         experts from wherever they come
``cs285``           the homework's files, read without executing anything
``video``           policies at work, side by side, as a small film
``command``         ``sb3-course imitate``
==================  =============================================================
"""

from importlib.util import find_spec

if find_spec("imitation") is None:
    raise ImportError(
        "BC and DAgger need the extra 'imitation': pip install 'sb3-course[imitation]'",
        name="imitation",
    )

from sb3_course.imitation.bc import BC
from sb3_course.imitation.beta import ExponentialBeta, LinearBeta
from sb3_course.imitation.cs285 import load_cs285_demonstrations, load_cs285_expert
from sb3_course.imitation.dagger import DAgger
from sb3_course.imitation.demonstrations import load_demonstrations
from sb3_course.imitation.experts import as_expert, demonstrate, load_expert

__all__ = [
    "BC",
    "DAgger",
    "ExponentialBeta",
    "LinearBeta",
    "as_expert",
    "demonstrate",
    "load_cs285_demonstrations",
    "load_cs285_expert",
    "load_demonstrations",
    "load_expert",
]
