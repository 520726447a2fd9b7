"""Runs in real processes; each test starts some, which takes seconds."""

import os
import signal
import sys
import time

import pytest
from rich.console import Console

from sb3_course.benchmark.execution import runner
from sb3_course.benchmark.execution.executors import LocalProcesses, RayCluster
from sb3_course.benchmark.execution.train_run import attempt
from sb3_course.benchmark.execution.worker import Lost, WorkerSettings
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from tests.benchmark.helpers import HERE, tiny

TRAINING = {"total_timesteps": 200, "n_envs": 2, "backend": "dummy"}
BROKEN = {
    "Exits": "SystemExit: made to leave",
    "Interrupts": "KeyboardInterrupt",
    "Vanishes": "the process died with exit code 0",
    "Raises": "ZeroDivisionError: made to fail",
    "Dies": "the process died with exit code 7",
    "EatsMemory": "Unable to allocate 128. MiB for an array",
}


def run(specs, folder, workers, **limits):
    store = Store(folder)
    executor = LocalProcesses(workers, WorkerSettings(folder / "logs", **limits))
    runner.run_all(specs, store, executor, Console(quiet=True), retries=0)
    return store


def test_every_kind_of_failure_costs_its_own_run_alone(tmp_path):
    """One raises, one kills its process, one eats memory, rewards are NaN, the rest works."""
    algorithms = {name: {"class": f"{HERE}:{name}"} for name in BROKEN}
    algorithms |= {"A2C": {"class": "A2C"}, "REINFORCE": {"class": "REINFORCE"}}
    environments = {"CartPole-v1": TRAINING, f"{HERE}:NaNRewards-v0": TRAINING}
    grid = tiny(algorithms=algorithms, environments=environments, seeds=1)
    specs = [s for s in grid.runs() if s.algorithm not in BROKEN or "NaN" not in s.environment]
    store = run(specs, tmp_path, workers=2, hours=1.0, gib=2.0)
    failures = {result.spec.names: result for result in store.read(specs) if result.failure}
    for name, reason in BROKEN.items():
        assert reason in failures[name, "CartPole-v1"].reason
    for name in ("Raises", "EatsMemory"):  # where it was raised
        assert "in train" in failures[name, "CartPole-v1"].failure
    for name in ("A2C", "REINFORCE"):
        assert "nan" in failures[name, f"{HERE}:NaNRewards-v0"].reason.lower()
    assert len(failures) == len(BROKEN) + 2
    works = [result for result in store.read(specs) if result.failure is None]
    assert [result.spec.algorithm for result in works] == ["A2C", "REINFORCE"]
    for result in works:
        here = attempt(result.spec)
        assert [m.returns for m in result.measurements] == [m.returns for m in here.measurements]
        assert result.made_with["torch"]


def test_a_run_that_never_returns_is_stopped_with_a_traceback(tmp_path):
    specs = tiny(algorithms={"Hangs": {"class": f"{HERE}:Hangs"}}, seeds=1).runs()
    (result,) = run(specs, tmp_path, workers=1, hours=0.002).read(specs)
    assert result.reason == "stopped at the time limit of 0.002 hours (time_limit)"
    assert "most recent call first" in result.failure


def test_a_process_that_is_killed_between_two_runs_is_replaced(tmp_path):
    specs = tiny().runs()
    settings = WorkerSettings(tmp_path, hours=1.0)
    with LocalProcesses(1, settings) as executor:
        executor.start(specs[0])
        while not (ended := executor.poll(0.5)):
            pass
        assert ended[0].failure is None
        (supervisor,) = executor._free
        os.kill(supervisor.pid, signal.SIGKILL)
        outcomes = []
        executor.start(specs[1])
        while not outcomes:
            outcomes = executor.poll(0.5)
        if isinstance(outcomes[0], Lost):  # its death was noticed only after the start
            executor.start(specs[1])
            while not (outcomes := executor.poll(0.5)):
                pass
        assert outcomes[0].failure is None


@pytest.fixture
def cluster(monkeypatch):
    ray = pytest.importorskip("ray")
    from ray._private import ray_constants
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Ray takes a loopback address for one that other machines would have to reach.
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "node_ip_address": "127.0.0.1"},
    )
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
    node = cluster.add_node(num_cpus=2, node_ip_address="127.0.0.1")
    cluster.wait_for_nodes()
    algorithms = {name: {"class": f"{HERE}:{name}"} for name in ("Raises", "Vanishes")}
    algorithms = {"A2C": {"class": "A2C"}, **algorithms}
    grid = tiny(environments=TRAINING_ON_RAY, algorithms=algorithms, seeds=4)
    store = Store(tmp_path)
    executor = LosesNodes(
        cluster.address,
        lambda: cluster.remove_node(node, allow_graceful=False),
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
