"""The policy-gradient family that Stable-Baselines3 leaves out, on Stable-Baselines3's API."""

from importlib.metadata import version

__version__ = version("sb3-course")

ALGORITHMS = ("REINFORCE",)

from sb3_course.common.checkpoint import load  # noqa: E402
from sb3_course.envs import make_vec_env  # noqa: E402
from sb3_course.reinforce import REINFORCE  # noqa: E402

__all__ = ["ALGORITHMS", "REINFORCE", "__version__", "load", "make_vec_env"]
