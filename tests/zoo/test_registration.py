"""RL Zoo itself: importing it replaces Gymnasium's TimeLimit, hence in a process of its own."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

CHECKS = Path(__file__).parent / "in_zoo.py"


@pytest.mark.skipif(find_spec("rl_zoo3") is None, reason="the extra zoo is not installed")
def test_in_rl_zoo(tmp_path):
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:cov", "-m", "not slow"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(CHECKS), "--basetemp", str(tmp_path / "t")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_without_rl_zoo_the_message_names_the_extra():
    hidden = "import sys; sys.modules['rl_zoo3'] = None; sys.argv[1:] = ['train']; import runpy; "
    run = hidden + "runpy.run_module('sb3_course.zoo', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True)
    assert done.stderr == "rl_zoo3 is not installed: pip install 'sb3-course[zoo]'\n"
    assert done.returncode == 1


def test_an_unknown_command_names_the_known_ones():
    command = [sys.executable, "-m", "sb3_course.zoo", "trian"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr.startswith("sb3_course.zoo: unknown command of RL Zoo 'trian'")
    assert "train" in done.stderr and done.returncode == 1
