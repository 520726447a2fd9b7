"""What every test begins with, wherever it runs and whatever ran before it."""

import os
import shutil
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"  # also of processes that a test starts: sums differ with it
KEYS = os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="sb3-course-tests-")

import pytest
import torch as th
from hypothesis import settings

th.set_num_threads(1)
settings.register_profile(
    "tests", deadline=None, derandomize="FUZZ_EXAMPLES" not in os.environ, database=None
)
settings.load_profile("tests")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder of this user's key."""
    shutil.rmtree(KEYS, ignore_errors=True)
