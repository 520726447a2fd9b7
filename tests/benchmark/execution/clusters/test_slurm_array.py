"""A Slurm array of 8 tasks over one folder, which are killed and started again as Slurm does it."""

import os
import random
import re
import shlex
import signal
import subprocess
import time
from contextlib import suppress

import pytest
import yaml

from sb3_course.benchmark.storage.store import Store
from tests.benchmark.helpers import content, tiny
from tests.benchmark.processes import (
    COMMAND,
    ENVIRONMENT,
    command_line,
    descendants,
    is_running,
    start_command,
)

pytestmark = pytest.mark.slow

TASKS, KILLS = 8, 12
TRAINING = {"total_timesteps": 4000, "n_envs": 2, "backend": "dummy", "normalize": True}
GRID = {
    "seeds": 6,
    "environments": {"CartPole-v1": TRAINING, "Acrobot-v1": TRAINING},
    "algorithms": {"A2C": {"class": "A2C"}, "REINFORCE": {"class": "REINFORCE"}},
    "checkpoint_every": 250,
}
N_RUNS = 24
PROGRAMS = {
    "sb3-course": f'exec {shlex.join(COMMAND)} "$@"',
    "sbatch": 'echo "$*" >> submitted; wc -l < submitted',
    "scontrol": 'touch "requeued-$2"',
}


class Task:
    """One task of the array, in a session of its own."""

    def __init__(self, folder, number, restarts=0):
        self.folder, self.number, self.restarts = folder, number, restarts
        self.log = f"task-{number}-{restarts}.log"
        slurm = {"SLURM_JOB_ID": str(number), "SLURM_RESTART_COUNT": str(restarts)}
        path = f"{folder / 'programs'}:{os.environ['PATH']}"
        with (folder / self.log).open("w") as stream:
            self.process = subprocess.Popen(
                ["bash", "job.sh", "run"],
                cwd=folder,
                env={**ENVIRONMENT, **slurm, "PATH": path},
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def everyone(self):
        return [self.process.pid, *descendants(self.process.pid)]

    def again(self):
        return Task(self.folder, self.number, self.restarts + 1)

    def runs_out_of_time(self):
        """Slurm warns the script alone; it stops its command and asks to be started again."""
        self.process.send_signal(signal.SIGUSR1)
        code = self.process.wait()
        asked = self.folder / f"requeued-{self.number}"
        assert asked.exists() == (code != 0), (self.folder / self.log).read_text()
        asked.unlink(missing_ok=True)
        return self.again()

    def is_preempted(self):
        """Slurm signals all processes, and kills what is left after a while."""
        everyone = send(signal.SIGTERM, self.everyone())
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2.0)
        send(signal.SIGKILL, [*everyone, *self.everyone()])
        self.process.wait()
        assert not (self.folder / f"requeued-{self.number}").exists()
        return self.again()

    def loses_its_node(self):
        """Everything is gone at once."""
        send(signal.SIGKILL, self.everyone())
        self.process.wait()
        return self.again()


def send(number, pids):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    return pids


def returns(folder):
    """Read what came of each run; all have to be there."""
    specs = tiny(**GRID).runs()
    results = Store(folder / "results" / "tiny").read(specs)
    assert (len(results), {r.failure for r in results}) == (N_RUNS, {None})
    return {r.spec.id: [(m.step, m.returns, m.lengths) for m in r.measurements] for r in results}


def with_grid(folder):
    folder.mkdir()
    (folder / "grid.yaml").write_text(yaml.safe_dump(content(**GRID)))
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = with_grid(tmp_path_factory.mktemp("calm") / "grid")
    assert start_command(["run", "grid.yaml", "--workers", "2"], folder).wait() == 0
    return returns(folder)


@pytest.fixture
def folder(tmp_path):
    folder = with_grid(tmp_path / "array")
    programs = folder / "programs"
    programs.mkdir()
    for name, body in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    words = ["slurm", "grid.yaml", "--array", str(TASKS), "--time", "60"]
    assert start_command(words, folder, "job.sh").wait() == 0
    return folder


def test_a_killed_and_requeued_array_ends_equal_to_an_undisturbed_grid(folder, undisturbed):
    moments = random.Random(int(os.environ.get("ARRAY_SEED", "0")))
    results = folder / "results" / "tiny"
    ended, kept = (results / "runs").glob, (results / "logs").glob
    tasks = [Task(folder, number) for number in range(TASKS)]
    fates, inside, seen = [], 0, set()
    for at_least in sorted(moments.choices(range(N_RUNS - TASKS), k=KILLS)):
        while len(list(ended("*.json"))) < at_least and any(
            t.process.poll() is None for t in tasks
        ):
            time.sleep(0.05)
        time.sleep(moments.random())
        alive = [i for i, task in enumerate(tasks) if task.process.poll() is None]
        if not alive:
            break
        inside += bool(list(kept("*.zip")))
        i = moments.choice(alive)
        seen.update(tasks[i].everyone())
        fate = moments.choice(["runs_out_of_time", "is_preempted", "loses_its_node"])
        fates.append(fate)
        tasks[i] = getattr(tasks[i], fate)()
    seen.update(pid for task in tasks for pid in task.everyone())
    codes = [task.process.wait() for task in tasks]
    assert codes == [0] * TASKS, [(folder / task.log).read_text() for task in tasks]
    assert returns(folder) == undisturbed
    assert len(fates) >= KILLS // 2 and inside > 0
    logs = [path.read_text() for path in folder.glob("task-*.log")]
    done = [run for log in logs for run in re.findall(r"\] (.*): return", log)]
    assert len(done) == len(set(done)), "a run was done twice"
    assert list((results / "logs").glob("*.zip")) == []
    assert [p for p in seen if is_running(p) and "sb3_course" in command_line(p)] == []
    report = subprocess.run(
        ["bash", "job.sh", "report"],
        cwd=folder,
        env={**ENVIRONMENT, "PATH": f"{folder / 'programs'}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert report.stdout.strip() == "results/tiny/report.html"
    print(f"{len(fates)} ends of {TASKS} tasks: {', '.join(fates)}; checkpoints at {inside}")
