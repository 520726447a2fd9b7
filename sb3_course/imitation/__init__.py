"""Imitation learning: behavioral cloning and DAgger, on the ``imitation`` package's data types.

==================  ==============================================================
module              content
==================  ==============================================================
``bc``              behavioral cloning: fit a policy to an expert's actions
``dagger``          DAgger: act, query the expert and fit, in rounds
``beta``            schedules of how often the expert acts in a round
``dataset``         observations and the expert's actions, and minibatches of them
``demonstrations``  demonstrations from files and other libraries
``fitting``         observations and actions that fit an environment's spaces
``experts``         experts from files and models
``cs285``           files of CS285's homework
``plain_pickle``    pickles of plain data, read without executing anything
``command``         ``sb3-course imitate``: the homework in one call
``demonstrated``    what learns from demonstrations, and their place in its file
``normalization``   raw observations under a ``VecNormalize``
``rounds``          the parts of a round of DAgger
==================  ==============================================================
"""

from importlib.util import find_spec

if find_spec("imitation") is None:
    raise ImportError(
        "BC and DAgger need imitation: pip install --no-deps imitation==1.0.1 (with its "
        "dependencies, pip would go back to Gymnasium 0.29)",
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
