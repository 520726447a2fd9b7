"""A grid on a Ray cluster of two nodes, which are processes of this machine."""

import pytest
from rich.console import Console

from sb3_course.benchmark.execution import runner
from sb3_course.benchmark.execution.executors import Lost, RayCluster
from sb3_course.benchmark.execution.train_run import attempt
from sb3_course.benchmark.execution.worker import WorkerSettings
from sb3_course.benchmark.storage.store import Store
from tests.benchmark.helpers import HERE, tiny

ray = pytest.importorskip("ray")


@pytest.fixture
def cluster(monkeypatch):
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


class LosesANode(RayCluster):
    """Kills a node once the first run has ended, while others run on it."""

    def __init__(self, cluster, node, settings):
        super().__init__(None, settings, cluster.address)
        self.cluster, self.node, self.lost = cluster, node, 0

    def poll(self, seconds):
        outcomes = super().poll(seconds)
        self.lost += sum(isinstance(outcome, Lost) for outcome in outcomes)
        if outcomes and self.node is not None:
            self.cluster.remove_node(self.node, allow_graceful=False)
            self.node = None
        return outcomes


@pytest.mark.slow
def test_every_run_ends_though_a_node_is_killed(cluster, tmp_path):
    node = cluster.add_node(num_cpus=2, node_ip_address="127.0.0.1")
    cluster.wait_for_nodes()
    training = {"CartPole-v1": {"total_timesteps": 4000, "n_envs": 2, "backend": "dummy"}}
    algorithms = {"A2C": {"class": "A2C"}, "Raises": {"class": f"{HERE}:Raises"}}
    grid = tiny(environments=training, algorithms=algorithms, seeds=6)
    store = Store(tmp_path)
    executor = LosesANode(cluster, node, WorkerSettings(tmp_path / "logs", hours=1.0))
    runner.run_all(grid.runs(), store, executor, Console(), retries=2)
    assert executor.lost >= 1  # two runs of three were on the node that was killed
    finished = [r for r in store.read(grid.runs()) if r.failure is None]
    assert [r.spec.algorithm for r in finished] == ["A2C"] * 6
    assert [r.reason for r in store.failures(grid.runs())] == [
        "ZeroDivisionError: made to fail"
    ] * 6
    for result in finished[::3]:
        here = attempt(result.spec)
        assert [m.returns for m in result.measurements] == [m.returns for m in here.measurements]
