import io
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from sb3_course.benchmark.execution import runner
from sb3_course.benchmark.execution.heartbeat import (
    beat,
    checkpoint_file,
    heartbeat_file,
    heartbeats,
    logs_folder,
)
from sb3_course.benchmark.execution.run_queue import RunLocks
from sb3_course.benchmark.execution.worker import Lost
from sb3_course.benchmark.storage import manifest
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.returns_table import COLUMNS, tidy
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from sb3_course.common.tracking.callback import LEFT_OUT
from tests.benchmark.helpers import InThisProcess, ended, loaded_by_sb3, tiny

QUIET = Console(quiet=True)


def run(grid, store, executor=None, retries=1, wait=True):
    """Run and return the seeds that were started, in order."""
    executor = executor or InThisProcess()
    started, start = [], executor.start
    executor.start = lambda spec: (started.append(spec.seed), start(spec))
    runner.run_all(runner.to_do(grid.runs(), store), store, executor, QUIET, retries, wait)
    return started


class Loses(InThisProcess):
    """Loses the run of seed 0 a number of times."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def poll(self, seconds):
        outcomes = super().poll(seconds)
        return [self.lose(o) if o.spec.seed == 0 and self.times > 0 else o for o in outcomes]

    def lose(self, result):
        self.times -= 1
        return Lost(result.spec, "printed before\nthe process died with exit code -9")


def test_finished_runs_are_skipped(tmp_path):
    grid, store = tiny(), Store(tmp_path)
    assert run(grid, store) == [0, 1]
    assert run(grid, store) == []
    assert run(tiny(seeds=3), store) == [2]
    store.path(grid.runs()[0]).unlink()
    assert run(grid, store) == [0]
    store.pack()
    assert run(grid, store) == []
    assert run(tiny(seeds=4), store) == [3]
    assert {p.name for p in tmp_path.iterdir()} == {"runs", "runs.jsonl", "logs", ".lock"}


def test_interrupting_keeps_what_is_done(tmp_path):
    grid, store = tiny(), Store(tmp_path)

    class Interrupted(InThisProcess):
        def start(self, spec):
            if spec.seed == 1:
                raise KeyboardInterrupt
            super().start(spec)

    with pytest.raises(KeyboardInterrupt):
        run(grid, store, Interrupted())
    assert [spec.seed for spec in runner.to_do(grid.runs(), store)] == [1]


@pytest.mark.parametrize(("times", "retries"), [(1, 1), (2, 2), (2, 1), (1, 0)])
def test_a_lost_run_is_tried_again(tmp_path, times, retries):
    grid, store = tiny(), Store(tmp_path)
    started = run(grid, store, Loses(times), retries)
    assert started.count(0) == min(times, retries) + 1
    assert started.count(1) == 1
    failures = [r for r in store.read(grid.runs()) if r.failure is not None]
    if times <= retries:
        assert failures == []
    else:
        assert [r.reason for r in failures] == ["the process died with exit code -9"]
        assert "printed before" in failures[0].failure
        assert [spec.seed for spec in runner.to_do(grid.runs(), store)] == [0]


def test_a_run_that_has_had_its_time_is_not_tried_again(tmp_path):
    class Slow(Loses):
        def lose(self, result):
            return replace(super().lose(result), at_its_limit=True)

    store = Store(tmp_path)
    assert run(tiny(), store, Slow(1), retries=1).count(0) == 1
    assert store.failed() == {tiny().runs()[0].id}


def test_a_run_that_fails_keeps_its_checkpoint_for_the_next_command(tmp_path):
    grid, store = tiny(), Store(tmp_path)
    logs_folder(tmp_path).mkdir()
    files = [checkpoint_file(logs_folder(tmp_path), spec.id) for spec in grid.runs()]
    for file in files:
        file.write_text("")

    class FullDisk(InThisProcess):
        def poll(self, seconds):
            outcomes = super().poll(seconds)
            failed = {0: "OSError: full"}
            return [ended(o.spec, failure=failed.get(o.spec.seed)) for o in outcomes]

    run(grid, store, FullDisk())
    assert [file.exists() for file in files] == [True, False]
    run(grid, store)
    assert [file.exists() for file in files] == [False, False]


def test_an_interrupted_command_leaves_no_heartbeat(tmp_path):
    """Although a run beats until it is stopped."""

    class Beats(InThisProcess):
        def poll(self, seconds):
            raise KeyboardInterrupt

        def __exit__(self, *_):
            beat(heartbeat_file(logs_folder(tmp_path), tiny().runs()[0].id), 5, 1.0)

    with pytest.raises(KeyboardInterrupt):
        run(tiny(), Store(tmp_path), Beats())
    assert list(heartbeats(logs_folder(tmp_path))) == []


def test_a_run_that_works_at_last_is_no_failure_any_more(tmp_path):
    grid, store = tiny(), Store(tmp_path)
    run(grid, store, Loses(1), retries=0)
    assert store.failed() == {grid.runs()[0].id}
    assert run(grid, store) == [0]
    assert store.failed() == set()
    assert not store.failure_path(grid.runs()[0]).exists()


class EndsElsewhere(InThisProcess):
    """Another process executes seed 0, and ends it at the fourth poll."""

    def __init__(self, monkeypatch, end):
        super().__init__()
        self.polls, self.locked, self.end = 0, True, end
        acquire = RunLocks.acquire

        def unless_locked(locks, spec):
            return not (self.locked and spec.seed == 0) and acquire(locks, spec)

        monkeypatch.setattr(RunLocks, "acquire", unless_locked)

    def poll(self, seconds):
        self.polls += 1
        if self.polls == 4:
            self.end()
            self.locked = False
        return super().poll(seconds)


@pytest.mark.parametrize(
    ("end", "started"),
    [("finishes", [1, 2]), ("is packed", [1, 2]), ("fails", [1, 2]), ("is killed", [1, 2, 0])],
)
def test_what_another_process_runs_is_left_to_it(tmp_path, monkeypatch, end, started):
    grid, store = tiny(seeds=3), Store(tmp_path)
    failure = "made to fail" if end == "fails" else None
    result = ended(grid.runs()[0], failure=failure)

    def act():
        if end != "is killed":
            store.write(result)
        if end == "is packed":
            store.pack()

    assert run(grid, store, EndsElsewhere(monkeypatch, act)) == started
    assert len(store.read(grid.runs())) == 3


def test_who_does_not_wait_leaves_when_only_others_have_runs(tmp_path, monkeypatch):
    grid, store = tiny(seeds=3), Store(tmp_path)
    others = EndsElsewhere(monkeypatch, lambda: pytest.fail("waited"))
    assert run(grid, store, others, wait=False) == [1, 2]
    assert [result.spec.seed for result in store.read(grid.runs())] == [1, 2]


def test_runs_of_a_machine_whose_locks_are_not_seen_end_this_command(tmp_path, monkeypatch):
    """Nothing is started, and the other machine's heartbeat stays."""
    asked = []
    monkeypatch.setattr(runner, "going_on", lambda files: asked.extend(files) or asked)
    with pytest.raises(UserError, match="another machine executes.*locks are not shared; start"):
        run(tiny(), Store(tmp_path))
    assert [file.name for file in asked] == [f"{tiny().runs()[0].id}.progress"]
    assert Store(tmp_path).read(tiny().runs()) == []


class WithoutSlots(InThisProcess):
    """Has no slot at first, as a cluster whose nodes are still starting."""

    def __init__(self):
        super().__init__()
        self.slots = 0

    def poll(self, seconds):
        self.slots = 1
        return super().poll(seconds)


def test_who_does_not_wait_for_others_waits_for_slots(tmp_path):
    assert run(tiny(), Store(tmp_path), WithoutSlots(), wait=False) == [0, 1]


def test_a_run_that_failed_long_ago_is_tried_again(tmp_path):
    grid, store = tiny(), Store(tmp_path)
    store.write(RunResult(spec=grid.runs()[0], failure="made to fail"))
    assert run(grid, store) == [0, 1]


def test_the_longest_runs_go_first(tmp_path):
    environments = {
        "CartPole-v1": {"total_timesteps": 100},
        "Acrobot-v1": {"total_timesteps": 300},
        "Pendulum-v1": {"total_timesteps": 400, "n_envs": 2},
    }
    specs = runner.to_do(tiny(environments=environments, seeds=1).runs(), Store(tmp_path))
    assert [s.environment for s in specs] == ["Acrobot-v1", "Pendulum-v1", "CartPole-v1"]


def test_the_table_is_tidy_sorted_and_the_same_again(tmp_path):
    algorithms = {"B": {"class": "A2C"}, "A": {"class": "A2C"}}
    grid, tables = tiny(algorithms=algorithms), []
    for name in ("one", "two"):
        store = Store(tmp_path / name)
        run(grid, store)
        tables.append(tidy(store.read(grid.runs())))
    table = tables[0]
    assert list(table.columns) == COLUMNS
    assert len(table) == 2 * 2 * 3
    assert table["algorithm"].is_monotonic_increasing
    assert len(json.loads(table["episode_returns"][0])) == 3
    without_time = [t.drop(columns="wall_time").to_csv() for t in tables]
    assert without_time[0] == without_time[1]


def test_the_manifest_adds_up(tmp_path):
    manifest.write_manifest(tiny(), tmp_path, "sb3-course run a.yaml", 2, 0.0)
    manifest.write_manifest(tiny(), tmp_path, "sb3-course run a.yaml", 1, 0.0)
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert written["commands"] == ["sb3-course run a.yaml"]
    assert written["grid"]["algorithms"]["A2C"]["class"] == "A2C"
    assert written["versions"]["stable-baselines3"]
    assert written["workers"] == 1


def test_execution_loads_no_plotting_or_statistics_library():
    code = (
        "import importlib, pkgutil, sys; import sb3_course.benchmark.execution.runner as runner;"
        "from sb3_course.benchmark import execution;"
        "names = [module.name for module in pkgutil.iter_modules(execution.__path__)];"
        "assert 'runner' in names;"
        "[importlib.import_module(f'sb3_course.benchmark.execution.{name}') for name in names];"
        "print(*{'matplotlib', 'seaborn', 'scipy', 'rliable', 'pandas'} & sys.modules.keys())"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    assert set(loaded.stdout.split()) <= loaded_by_sb3()


def test_what_a_tracker_said_is_shown(tmp_path):
    store, spec = Store(tmp_path / "tiny"), tiny(seeds=1).runs()[0]
    line = f"wandb: OSError: no network; {LEFT_OUT}"

    class Tells(InThisProcess):
        def start(self, spec):
            (logs_folder(store.folder) / f"{spec.id}.log").write_text(f"printed\n{line}\n")
            super().start(spec)

    console = Console(record=True, width=200, file=io.StringIO())
    runner.run_all([spec], store, Tells(), console)
    assert f"{spec.label}: {line}" in console.export_text()
