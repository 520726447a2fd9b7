"""Runs in real processes; each test starts some, which takes seconds."""

import os
import signal

from rich.console import Console

from sb3_course.benchmark.execution import runner
from sb3_course.benchmark.execution.executors import LocalProcesses
from sb3_course.benchmark.execution.supervisor import Supervisor
from sb3_course.benchmark.execution.train_run import attempt
from sb3_course.benchmark.execution.worker import Lost, WorkerSettings
from sb3_course.benchmark.storage.store import Store
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


def test_ctrl_c_while_a_process_starts_reaches_the_command_alone(tmp_path, capfd):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    supervisor = Supervisor(WorkerSettings(tmp_path, hours=1.0))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    os.kill(supervisor.pid, signal.SIGINT)  # it has imported nothing yet
    assert supervisor.start(tiny().runs()[0])
    while (outcome := supervisor.outcome()) is None:
        assert supervisor.connection.poll(60)
    supervisor.stop()
    assert outcome.failure is None
    assert "KeyboardInterrupt" not in capfd.readouterr().err


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
