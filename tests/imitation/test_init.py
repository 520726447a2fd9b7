"""What an import of the imitation learners loads."""

import json
import subprocess
import sys

from tests.benchmark.helpers import loaded_by_sb3


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


def test_the_missing_extra_is_named():
    code = (
        "import importlib.util as util; find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'imitation' else find(name, *rest)\n"
        "import sb3_course\n"
        "try:\n    sb3_course.BC\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install --no-deps imitation" in done.stdout, done.stderr
