"""What an import of the imitation learners loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmark.helpers import loaded_by_sb3

ROOT = Path(__file__).resolve().parents[2]


def modules_after(statement):
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_learners_load_no_benchmark_engine():
    loaded = modules_after("from sb3_course import DAgger")
    assert "sb3_course.imitation.dagger" in loaded
    assert {"pydantic", "pandas"} & set(loaded) <= loaded_by_sb3()
    assert not [name for name in loaded if name.startswith("sb3_course.benchmark")]


WITHOUT = (
    "import importlib.util as util, sys; find = util.find_spec\n"
    "util.find_spec = lambda name, *rest: None if name == 'imitation' else find(name, *rest)\n"
    "from sb3_course.cli.app import invoke\n"
    "sys.exit(invoke(sys.argv[1:]))"
)
BC_FILE = str(ROOT / "tests" / "data" / "checkpoints_0_1_0" / "last" / "BC.zip")


@pytest.mark.parametrize(
    "words",
    [
        ["enjoy", BC_FILE, "--trust", "--episodes", "1"],
        ["export", BC_FILE, "--onnx", "--trust"],
        ["card", BC_FILE, "--trust"],
        ["imitate", "CartPole-v1", "--expert", "none.zip"],
        ["homework", "hw1", "--files", "."],
    ],
)
def test_commands_name_the_missing_extra_in_one_line(words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2, done.stderr
    assert "pip install --no-deps imitation" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
