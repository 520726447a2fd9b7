"""Runs on Ray clusters whose nodes are processes of this machine."""

import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import yaml
from rich.console import Console

from sb3_course.benchmark.api import run_grid
from sb3_course.benchmark.execution import runner
from sb3_course.benchmark.execution.clusters import ray_cluster
from sb3_course.benchmark.execution.clusters.ray_cluster import RayCluster
from sb3_course.benchmark.execution.train_run import attempt
from sb3_course.benchmark.execution.worker import Lost, WorkerSettings
from sb3_course.benchmark.storage.store import Store
from sb3_course.benchmark.tuning.tuner import tune_grid
from sb3_course.common.errors import UserError
from tests.benchmark.helpers import HERE, content, tiny
from tests.benchmark.processes import ROOT, start_command
from tests.benchmark.tuning.made_up import searched

AGENTS = ("metrics_agent_port", "metrics_export_port", "runtime_env_agent_port")


def node(cpus):
    """Arguments of a node; it gives its agents 15 s for each port that they have to choose."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in AGENTS]
        ports = [each.getsockname()[1] for each in sockets]
    here = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
    return {"num_cpus": cpus, **here, **dict(zip(AGENTS, ports))}


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # a token is of the user's home
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "90")  # for a busy machine
    ray = pytest.importorskip("ray")
    from ray._private import ray_constants, utils
    from ray.cluster_utils import Cluster

    # Ray takes a loopback address for one that other machines would have to reach.
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
    # Its agents, which have 15 s to start, import less without a dashboard.
    monkeypatch.setattr(utils, "get_dashboard_dependency_error", lambda: ImportError("left out"))
    cluster = Cluster(initialize_head=True, head_node_args=node(1))
    yield cluster
    ray.shutdown()
    cluster.shutdown()


class LosesNodes(RayCluster):
    """Kills nodes once the first run has ended, while others run on them."""

    def __init__(self, address, kill, settings):
        super().__init__(None, settings, address)
        self.kill, self.lost, self.killed = kill, 0, None

    def poll(self, seconds):
        outcomes = super().poll(seconds)
        self.lost += sum(isinstance(outcome, Lost) for outcome in outcomes)
        if outcomes and self.killed is None:
            self.kill()
            self.killed = time.monotonic()
        return outcomes


TRAINING_ON_RAY = {"CartPole-v1": {"total_timesteps": 4000, "n_envs": 2, "backend": "dummy"}}


@pytest.mark.slow
def test_every_run_ends_though_a_node_is_killed(cluster, tmp_path):
    second = cluster.add_node(**node(2))
    cluster.wait_for_nodes()
    algorithms = {name: {"class": f"{HERE}:{name}"} for name in ("Raises", "Vanishes")}
    algorithms = {"A2C": {"class": "A2C"}, **algorithms}
    grid = tiny(environments=TRAINING_ON_RAY, algorithms=algorithms, seeds=4)
    store = Store(tmp_path)
    executor = LosesNodes(
        cluster.address,
        lambda: cluster.remove_node(second, allow_graceful=False),
        WorkerSettings(tmp_path / "logs", hours=1.0),
    )
    runner.run_all(grid.runs(), store, executor, Console(), retries=0)
    assert executor.lost == 4  # those that vanish: no node's death counts
    finished = [r for r in store.read(grid.runs()) if r.failure is None]
    assert [r.spec.algorithm for r in finished] == ["A2C"] * 4
    reasons = {(r.spec.algorithm, r.reason) for r in store.read(grid.runs()) if r.failure}
    assert reasons == {
        ("Raises", "ZeroDivisionError: made to fail"),
        ("Vanishes", "the process died with exit code 0"),
    }
    for result in finished[::3]:
        here = attempt(result.spec)
        assert [m.returns for m in result.measurements] == [m.returns for m in here.measurements]


@pytest.mark.parametrize(
    ("workers", "resources", "slots"),
    [
        (None, {"node:1": 1.0, "CPU": 6.0}, 6),
        (4, {"node:1": 1.0, "CPU": 6.0}, 4),
        (9, {"node:1": 1.0, "CPU": 6.0}, 9),  # what waits is what an autoscaler sees
        (None, {"node:1": 1.0}, 1),  # a head without CPUs, before any node has come
        (9, {}, 0),
        (None, {"CPU": 2.0}, 0),  # of no living node
    ],
)
def test_runs_wait_for_cpus_where_a_node_lives(tmp_path, monkeypatch, workers, resources, slots):
    cluster = RayCluster(workers, WorkerSettings(tmp_path, hours=1.0))
    cluster._ray = SimpleNamespace(cluster_resources=lambda: resources)
    cluster._head = "127.0.0.1:1"
    monkeypatch.setattr(ray_cluster, "_answers", lambda address: True)
    assert cluster.slots == slots
    monkeypatch.setattr(ray_cluster, "_answers", lambda address: False)
    assert cluster.slots == 0


class Autoscaled(RayCluster):
    """Nodes come when runs wait, as an autoscaler's do, and are lost, as those of a spot market."""

    def __init__(self, cluster, settings):
        super().__init__(4, settings, cluster.address)
        self.cluster, self.n_ended, self.lost, self.at_once = cluster, 0, 0, []
        self.node, self.taken_after = None, [2, 5]

    def poll(self, seconds):
        outcomes = super().poll(seconds)
        self.n_ended += len(outcomes)
        self.lost += sum(isinstance(outcome, Lost) for outcome in outcomes)
        self.at_once.append(len(self._busy))
        if self.node is None:  # one comes at first, and again wherever one was lost
            self.node = self.cluster.add_node(**node(2))
        elif self.taken_after and self.n_ended >= self.taken_after[0]:
            self.taken_after.pop(0)
            self.cluster.remove_node(self.node, allow_graceful=False)
            self.node = None
        return outcomes


@pytest.mark.slow
def test_runs_wait_for_nodes_that_come_and_are_made_again_where_nodes_are_lost(cluster, tmp_path):
    """The head has one CPU; a node with two comes, and is lost twice."""
    grid, store = tiny(environments=TRAINING_ON_RAY, seeds=8), Store(tmp_path)
    executor = Autoscaled(cluster, WorkerSettings(tmp_path / "logs", hours=1.0))
    runner.run_all(grid.runs(), store, executor, Console(), retries=0)
    results = store.read(grid.runs())
    assert [result.failure for result in results] == [None] * 8
    assert executor.lost == 0  # a node's death is no fault of a run
    assert executor.taken_after == []
    assert max(executor.at_once) == 4  # more than there ever were CPUs
    here = attempt(results[-1].spec)
    assert [m.returns for m in results[-1].measurements] == [m.returns for m in here.measurements]


BARE = """
from importlib.util import find_spec
assert find_spec("torch") is not None
found = find_spec("sb3_course")  # a folder of data, without the package, has no loader
assert found is None or found.loader is None, "the package is installed"
"""


@pytest.fixture
def bare_python(tmp_path):
    """Interpreter that has the dependencies, but not this package."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    (site,) = (tmp_path / "bare").glob("lib/python*/site-packages")
    # A folder in a .pth file is searched, but its own .pth files, of editable installs, are not.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = tmp_path / "bare" / "bin" / "python"
    elsewhere = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([python, "-c", BARE], check=True, cwd=tmp_path, env=elsewhere)
    return python, elsewhere


@pytest.mark.slow
def test_workers_get_the_package_and_the_users_module_from_the_runtime_environment(
    bare_python, tmp_path, request
):
    """A cluster whose Python lacks both; its one node is that of `ray start`."""
    python, elsewhere = bare_python
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "my_algorithm.py").write_text(
        "from stable_baselines3 import A2C\n\n\nclass Mine(A2C):\n    pass\n"
    )
    grid = content(algorithms={"Mine": {"class": "my_algorithm:Mine"}}, seeds=1)
    (mine / "grid.yaml").write_text(yaml.safe_dump(grid))
    brought = {"working_dir": ".", "py_modules": [str(ROOT / "sb3_course")]}
    (mine / "environment.yaml").write_text(yaml.safe_dump(brought))
    start = ["-m", "ray.scripts.scripts", "start", "--head", "--num-cpus=1", "--port=0"]
    short = tempfile.TemporaryDirectory(prefix="r")  # the path of a socket is
    request.addfinalizer(short.cleanup)
    where = [f"--temp-dir={short.name}", "--node-ip-address=127.0.0.1", "--block"]
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "300"}
    quiet["RAY_AUTH_MODE"] = "disabled"  # a token is of the user's home
    with (tmp_path / "ray.log").open("w") as log:
        head = subprocess.Popen(
            [python, *start, "--include-dashboard=false", *where],
            env=elsewhere | quiet,
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        )
    try:
        address = address_in(tmp_path / "ray.log", head)
        words = ["run", "grid.yaml", "--executor", "ray", "--address", address]
        without = start_command(words, mine, "without").wait()
        assert without != 0
        assert "sb3_course" in (mine / "without").read_text()
        command = start_command([*words, "--runtime-env", "environment.yaml"], mine)
        assert command.wait() == 0, (mine / "log").read_text()
    finally:
        head.terminate()
        head.wait()
    assert "1 runs" in (mine / "log").read_text()


def address_in(log, process):
    """Wait until Ray says where its head is."""
    while process.poll() is None:
        if found := re.search(r"--address='([^']+)'", log.read_text()):
            return found[1]
        time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.mark.parametrize(
    ("runtime_env", "words"),
    [
        ({"pips": ["numpy"]}, "--runtime-env: unknown key 'pips'.*pip"),
        ({"pip": 3}, "--runtime-env: .*pip"),
        ({"working_dir": 3}, "--runtime-env: .*working_dir"),
    ],
)
def test_what_ray_would_refuse_is_told_before_it_starts(tmp_path, runtime_env, words):
    pytest.importorskip("ray")
    cluster = RayCluster(1, WorkerSettings(tmp_path, hours=1.0), runtime_env=runtime_env)
    with pytest.raises(UserError, match=words):
        cluster.__enter__()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["raylet", "gcs_server"])
def test_a_command_whose_cluster_has_died_says_so_and_keeps_what_is_done(cluster, tmp_path, what):
    grid, store = tiny(environments=TRAINING_ON_RAY, seeds=9), Store(tmp_path)
    executor = LosesNodes(
        cluster.address,
        getattr(cluster.head_node, f"kill_{what}"),
        WorkerSettings(tmp_path / "logs", hours=1.0),
    )
    with pytest.raises(UserError, match="no node of the Ray cluster at .* is alive; finished runs"):
        runner.run_all(grid.runs(), store, executor, Console(), retries=0)
    assert time.monotonic() - executor.killed < 30.0
    assert [r.failure for r in store.read(grid.runs())].count(None) >= 1


def test_ray_that_is_not_installed_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError) as raised:
        RayCluster(1, WorkerSettings(tmp_path, hours=1.0)).__enter__()
    assert raised.value.name == "ray"  # of which the command line makes the name of the extra


def fake_ray(monkeypatch, init):
    """Put a module in the place of Ray's."""
    ray = SimpleNamespace(
        init=init,
        get_runtime_context=lambda: SimpleNamespace(gcs_address="127.0.0.1:1"),
        remote=lambda **_: lambda function: function,
        shutdown=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)


def test_a_ray_that_does_not_start_is_told_in_a_line(monkeypatch, tmp_path):
    def init(**_):
        raise Exception("The current node timed out during startup.\nThis could happen because")

    fake_ray(monkeypatch, init)
    with pytest.raises(UserError, match="Ray did not start on this machine: .* timed out"):
        RayCluster(1, WorkerSettings(tmp_path, hours=1.0)).__enter__()


def test_sigterm_stays_what_the_command_makes_of_it(monkeypatch, tmp_path):
    """Ray installs a handler of its own, with a dump in place of an interruption."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        fake_ray(monkeypatch, lambda **_: signal.signal(signal.SIGTERM, signal.SIG_IGN))
        with RayCluster(1, WorkerSettings(tmp_path, hours=1.0)):
            assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("foo", "--address: given 'foo'; allowed: HOST:PORT, ray://HOST:PORT, or auto"),
        ("foo:bar", "--address: given 'foo:bar'; allowed"),
        ("127.0.0.1:1", "no Ray cluster answers at '127.0.0.1:1'"),
    ],
)
@pytest.mark.parametrize("call", [run_grid, tune_grid])
def test_an_address_that_leads_nowhere_leaves_nothing_behind(tmp_path, call, address, words):
    grid = searched() if call is tune_grid else content()
    with pytest.raises(UserError, match=words):
        call(grid, results=tmp_path / "results", executor="ray", address=address)
    assert not list(tmp_path.rglob("*"))


def test_time_in_rays_queue_is_no_time_of_the_run(monkeypatch, tmp_path):
    """A run that waited for longer than its limit, and whose node was lost, is started again."""

    class RayError(Exception):
        pass

    def get(reference):
        raise RayError("The node on which it ran is lost.")

    fake_ray(monkeypatch, lambda **_: None)
    ray = sys.modules["ray"]
    ray.exceptions = SimpleNamespace(RayError=RayError)
    ray.get, ray.wait = get, lambda references, **_: (references, [])
    ray.remote = lambda **_: lambda function: SimpleNamespace(remote=lambda *_: "reference")
    monkeypatch.setattr(RayCluster, "slots", 1)
    with RayCluster(1, WorkerSettings(tmp_path, hours=1.0)) as cluster:
        cluster.start(tiny().runs()[0])
        clock = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: clock + 7200)
        (outcome,) = cluster.poll(0.0)
    assert not outcome.at_its_limit
    assert outcome.reason.endswith("The node on which it ran is lost.")
