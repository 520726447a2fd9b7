import functools
import sys
from dataclasses import dataclass, replace
from enum import Enum

import gymnasium
import numpy as np
import pytest
import torch as th
from gymnasium.envs.registration import WrapperSpec

from sb3_course.benchmark import run_grid, write_report
from sb3_course.benchmark.definition import user_code as code
from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.execution import executors
from sb3_course.benchmark.execution.rerun import other_user_code
from sb3_course.benchmark.plan import plan_grid
from sb3_course.benchmark.storage.manifest import read_manifest
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from tests.benchmark.helpers import InThisProcess, content

# -- the user's own code -------------------------------------------------------------------------

OWN = "class Mine(A2C):\n    twist = {}\n"
OPTIONAL = "try:\n    import appearing\nexcept ImportError:\n    pass\n"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's, and a grid that names it; returns what plans the grid."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(executors, "LocalProcesses", InThisProcess)
    module = tmp_path / "my_own_algorithm.py"

    def write(twist):
        module.write_text(f"from stable_baselines3 import A2C\n\n\n{OWN.format(twist)}{OPTIONAL}")

    write(1)
    grid = content(algorithms={"Mine": {"class": "my_own_algorithm:Mine"}, "A2C": {"class": "A2C"}})
    outcome = run_grid(grid, results=tmp_path / "results", report=False)
    assert not outcome.failures
    yield grid, tmp_path / "results", write
    sys.modules.pop("my_own_algorithm", None)


def test_a_changed_module_is_told_with_the_number_of_its_runs(own):
    grid, results, write = own
    assert not plan_grid(grid, results=results).todo  # nothing has changed
    write(2)
    with pytest.raises(UserError, match="2 runs with another my_own_algorithm, which has changed"):
        plan_grid(grid, results=results)
    assert not plan_grid(grid, results=results, keep=True).todo
    with pytest.warns(UserWarning, match="2 runs with another my_own_algorithm"):
        write_report(grid, results=results)
    assert len(plan_grid(grid, results=results, rerun=True).todo) == 4
    assert not plan_grid(grid, results=results, only=["algorithm=A2C"]).todo  # they name no module
    write(1)
    assert not plan_grid(grid, results=results).todo  # the same source again


def test_a_run_and_the_manifest_name_the_source(own):
    _, results, _ = own
    manifest = read_manifest(results / "tiny")
    code = manifest["user_code"]["my_own_algorithm"]
    assert code.pop("source of module that my_own_algorithm imports") is None  # nothing
    assert code.keys() == {"source of my_own_algorithm", "git_commit"}
    assert code["git_commit"] is None  # in no repository


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the user's whose module `env` imports others in every way."""
    monkeypatch.syspath_prepend(tmp_path)
    files = {
        "helper": "SCALE = 1\n",
        "lazy": "X = 1\n",
        "unused": "X = 1\n",
        "my_package/env": "import numpy, helper\nfrom .core import f\nfrom . import near\n",
        "my_package/core": "from my_package.deep.inner import g as f\n",
        "my_package/near": "def f():\n    import_module('lazy')\n    from beside.one import X\n",
        "by_name": "X = 1\n",
        "my_package/late": "X = 1\n",
        "my_package/later": "X = 1\n",
        "library/beside/__init__": "",
        "library/beside/one": "X = 1\n",
        "my_package/__init__": "ENTRY_POINT = 'my_package.made:E'\n",
        "my_package/made": "class E: pass\n",
        "my_package/deep/__init__": "import my_package.env  # a circle\n",
        "my_package/deep/inner": "import_module('..late', __package__)\n__import__('by_name')\n"
        "import_module(package='my_package', name='.later')\ng = 1\n",
        "my_package/broken": "import (\n",
    }
    (tmp_path / "my_package" / "deep").mkdir(parents=True)
    (tmp_path / "library" / "beside").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "library")
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("my_package")]:
        del sys.modules[name]


USED = [
    "helper",
    "lazy",
    "my_package/core",
    "my_package/near",
    "my_package/made",
    "library/beside/one",
    "my_package/deep/inner",
    "by_name",
    "my_package/late",
    "my_package/later",
]


@pytest.mark.parametrize("name", [*USED, "my_package/deep/__init__", "my_package/__init__"])
def test_a_module_that_the_users_own_imports_is_told_when_it_changes(package, name):
    before = code.user_code(["my_package.env"])
    with (package / f"{name}.py").open("a") as file:
        file.write("# changed\n")
    after = code.user_code(["my_package.env"])
    assert {key for key in after if after[key] != before[key]} == {
        "source of module that my_package.env imports"
    }


def test_an_import_that_appears_or_vanishes_is_a_change(own, tmp_path):
    grid, results, _ = own
    helper = tmp_path / "appearing.py"
    helper.write_text("X = 1\n")
    with pytest.raises(UserError, match="2 runs with another module that my_own_algorithm imports"):
        plan_grid(grid, results=results)
    helper.unlink()
    assert not plan_grid(grid, results=results).todo


@pytest.mark.parametrize("name", ["unused", "my_package/broken"])
def test_what_is_not_imported_is_none_of_a_runs_code(package, name):
    before = code.user_code(["my_package.env"])
    (package / f"{name}.py").write_text("# changed\n")
    assert code.user_code(["my_package.env"]) == before


def test_a_package_that_cannot_be_imported_is_told_elsewhere(package):
    (package / "my_package" / "__init__.py").write_text("1 / 0\n")
    assert code.user_code(["my_package.env"]) == {}


def test_of_an_installed_package_the_version_counts(package, monkeypatch):
    installed = package / "site-packages"
    installed.mkdir()
    (package / "my_package").rename(installed / "my_package")
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setattr(code, "_distributions", lambda top: {f"{top}-from-an-index"})
    monkeypatch.setattr(code, "version", lambda name: "1.0")
    found = code.user_code(["my_package.env"])
    assert found.pop("source of package my_package-from-an-index") == "1.0"
    assert found.keys() == {"source of my_package.env"}


def test_a_warning_about_the_users_source_is_not_told_again(package, recwarn):
    (package / "helper.py").write_text("import re\nre.compile('\\d')\n")
    code.user_code(["my_package.env"])
    assert not recwarn.list


def test_modules_that_are_broken_or_of_sb3_have_no_imports_of_the_users(package):
    broken = code.user_code(["my_package.broken"])
    assert list(broken) == [
        "source of my_package.broken",
        "source of module that my_package.broken imports",  # its package
    ]
    assert list(code.user_code(["stable_baselines3.common.monitor"])) == [
        "source of stable_baselines3.common.monitor"
    ]


TASK = """import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv


class Task(CartPoleEnv):
    def __init__(self, length=1, render_mode=None):
        super().__init__(render_mode=render_mode)


gymnasium.register("MyTask-v0", Task, {how})
"""


@pytest.fixture
def task(tmp_path, monkeypatch):
    """An environment of the user's, registered with arguments; returns what registers it anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(executors, "LocalProcesses", InThisProcess)
    module = tmp_path / "my_own_task.py"
    module.write_text(TASK.format(how="max_episode_steps=9, kwargs={'length': 2}"))
    grid = content(
        seeds=1,
        environments={"my_own_task:MyTask-v0": {"total_timesteps": 200, "n_envs": 2}},
    )
    outcome = run_grid(grid, results=tmp_path / "results", report=False)
    assert not outcome.failures
    spec = gymnasium.registry["MyTask-v0"]

    def register(**changes):
        gymnasium.registry["MyTask-v0"] = replace(spec, **changes)

    yield grid, tmp_path / "results", register
    sys.modules.pop("my_own_task", None)
    gymnasium.registry.pop("MyTask-v0", None)


class Kind(Enum):
    EASY = 1
    HARD = 2


@dataclass
class Layout:
    walls: tuple
    kind: Kind = Kind.EASY


@pytest.mark.parametrize(
    ("some", "others"),
    [
        ({(0, 1): 1.0, 2: "a", None: 3}, {(0, 1): 2.0, 2: "a", None: 3}),
        ({1, 2}, {1, 3}),
        ({frozenset("abc"), frozenset("xyz")}, {frozenset("abc")}),
        ({print: 1}, {len: 1}),
        (np.asarray(["SF", "FG"], dtype="c"), np.asarray(["SF", "GF"], dtype="c")),
        (np.array([1 + 2j]), np.array([1 + 3j])),
        (np.array([print], dtype=object), np.array([len], dtype=object)),
        (np.longdouble(1), np.longdouble(2)),
        (np.float32, np.float64),
        (np.ndarray, th.Tensor),
        (b"a", b"b"),
        (th.zeros(100, 100), th.eye(100)),
        (Kind.EASY, Kind.HARD),
        (Layout((1, 2)), Layout((1, 3))),
        (Layout((1, 2)), Layout((1, 2), Kind.HARD)),
        (functools.partial(print, 1), functools.partial(print, 2)),
    ],
)
def test_arguments_of_every_kind_are_compared(task, some, others):
    _, _, register = task
    digests = []
    for value in (some, some, others):
        register(kwargs={"length": value})
        digests.append(code.of_user("my_own_task:MyTask-v0"))
    assert digests[0] == digests[1] != digests[2]


def test_an_argument_that_shows_its_address_is_the_same_in_another_process(task):
    _, _, register = task
    digests = []
    for _ in range(2):
        register(kwargs={"length": np.random.default_rng(0), "kind": object()})
        digests.append(code.of_user("my_own_task:MyTask-v0"))
    assert digests[0] == digests[1]


@pytest.mark.parametrize("kind", ["entry_point", "vector_entry_point", "wrapper"])
def test_the_module_that_defines_an_environment_is_told_when_it_changes(task, kind, tmp_path):
    """The grid names the module that registers it."""
    _, _, register = task
    made = tmp_path / "made_elsewhere.py"
    made.write_text("class Task: pass\n")
    point = "made_elsewhere:Task"
    wrapper = WrapperSpec("Mine", point, {})
    register(**({"additional_wrappers": (wrapper,)} if kind == "wrapper" else {kind: point}))
    before = code.of_user("my_own_task:MyTask-v0")
    made.write_text("class Task: changed = True\n")
    after = code.of_user("my_own_task:MyTask-v0")
    assert {key for key in after if after[key] != before[key]} == {"source of made_elsewhere"}


def test_new_runs_with_another_registration_wait_apart(task):
    grid, results, register = task
    before = plan_grid(grid, results=results, rerun=True).store.folder
    assert plan_grid(grid, results=results, rerun=True).store.folder == before
    register(kwargs={"length": 3})
    assert plan_grid(grid, results=results, rerun=True).store.folder != before


@pytest.mark.parametrize(
    "changes",
    [
        {"kwargs": {"length": 3}},
        {"kwargs": {"length": np.array([2.0])}},
        {"max_episode_steps": 8},
        {"entry_point": "elsewhere:Task"},
    ],
)
def test_another_registration_is_told_like_another_module(task, changes):
    """The source of the module that a grid names does not hold what it was registered with."""
    grid, results, register = task
    assert not plan_grid(grid, results=results).todo
    register(**changes)
    with pytest.raises(UserError, match="1 runs with another registration of my_own_task:MyTask"):
        plan_grid(grid, results=results)
    assert not plan_grid(grid, results=results, keep=True).todo
    register()
    assert not plan_grid(grid, results=results).todo


@pytest.mark.parametrize("name", ["my_own_task:MyTask-v0", "Mine"])
def test_what_registers_an_environment_is_imported_whatever_a_grid_calls_it(task, name, tmp_path):
    settings = {"id": "my_own_task:MyTask-v0", "total_timesteps": 200}
    runs = load_grid(content(seeds=1, environments={name: settings})).runs()
    sys.modules.pop("my_own_task"), gymnasium.registry.pop("MyTask-v0")
    assert other_user_code(runs, Store(tmp_path / "none")) == ""
    assert "MyTask-v0" in gymnasium.registry


@pytest.mark.parametrize(
    ("data", "modules"),
    [
        ("my.module:Class", {"my.module"}),
        ("A2C", set()),
        ("sb3_course.envs.dilemmas:Dilemmas-v0", set()),
        ("NPG, small: steps", set()),
        ({"policy": "mine:P", "kwargs": [{"extractor": "other:E"}]}, {"mine", "other"}),
        ({"environments": {"my.tasks:Maze/Large-v0": {}}}, {"my.tasks"}),
        (3, set()),
    ],
)
def test_modules_are_found_at_any_depth(data, modules):
    assert code.user_modules(data) == modules
