"""RL Zoo itself: importing it replaces Gymnasium's TimeLimit, hence in a process of its own."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sb3_course.zoo.__main__ import main

CHECKS = Path(__file__).parent / "in_zoo.py"


OPTIONS = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:cov"]


def run_checks(folder, marked):
    command = [sys.executable, "-m", "pytest", *OPTIONS, "-m", marked, str(CHECKS)]
    done = subprocess.run([*command, "--basetemp", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


NEEDS_ZOO = pytest.mark.skipif(find_spec("rl_zoo3") is None, reason="the extra zoo is missing")


@NEEDS_ZOO
def test_in_rl_zoo(tmp_path):
    run_checks(str(tmp_path / "checks"), "not slow")


@NEEDS_ZOO
@pytest.mark.slow
def test_searches_in_rl_zoo(tmp_path):
    run_checks(str(tmp_path / "checks"), "slow")


def test_without_rl_zoo_the_message_names_the_extra(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["zoo", "train"])
    monkeypatch.setitem(sys.modules, "rl_zoo3", None)
    with pytest.raises(SystemExit, match=r"rl_zoo3 is not installed: pip install 'sb3-course\[zoo"):
        main()


@pytest.mark.parametrize("words", [["trian"], [], ["--help"]])
def test_an_unknown_command_names_the_known_ones(words, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["zoo", *words])
    with pytest.raises(SystemExit, match=r"unknown command of RL Zoo .* allowed: all_plots, "):
        main()
