import json
from functools import partial

import pytest
from rich.console import Console

from sb3_course.benchmark import backends, runner
from sb3_course.benchmark.errors import UserError
from sb3_course.benchmark.run import attempt
from sb3_course.benchmark.store import COLUMNS, Store, tidy
from tests.benchmark.helpers import HERE, in_this_process, tiny

QUIET = Console(quiet=True)


def run(grid, store, backend=in_this_process):
    return runner.run_all(runner.to_do(grid.runs(), store), store, backend, QUIET)


def test_finished_runs_are_skipped(tmp_path):
    grid, store = tiny(), Store(tmp_path)
    assert len(run(grid, store)) == 2
    assert run(grid, store) == []
    assert len(run(tiny(seeds=3), store)) == 1
    store.path(grid.runs()[0]).unlink()
    assert [r.spec.seed for r in run(grid, store)] == [0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs"]


def test_interrupting_keeps_what_is_done(tmp_path):
    grid, store = tiny(), Store(tmp_path)

    def interrupted(specs, folder):
        yield [attempt(specs[0])]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(grid, store, interrupted)
    assert [spec.seed for spec in runner.to_do(grid.runs(), store)] == [1]


def test_failures_are_recorded_and_the_rest_goes_on(tmp_path):
    """In processes: one algorithm raises, one kills its worker, one works."""
    algorithms = {
        "Raises": {"class": f"{HERE}:Raises"},
        "Dies": {"class": f"{HERE}:Dies"},
        "Works": {"class": "A2C"},
    }
    grid, store = tiny(algorithms=algorithms, seeds=1), Store(tmp_path)
    results = run(grid, store, partial(backends.local_processes, workers=2))
    failures = {r.spec.algorithm: r.failure for r in results}
    assert "ZeroDivisionError: made to fail" in failures["Raises"]
    assert "Traceback" in failures["Raises"]
    assert "exit code 7" in failures["Dies"]
    assert failures["Works"] is None
    assert [r.failure for r in store.read(grid.runs())] == [failures[a] for a in algorithms]
    assert len(runner.to_do(grid.runs(), store)) == 2
    works = next(r for r in results if r.spec.algorithm == "Works")
    here = attempt(works.spec)
    assert [m.returns for m in here.measurements] == [m.returns for m in works.measurements]


def test_the_longest_runs_go_first(tmp_path):
    environments = {
        "CartPole-v1": {"total_timesteps": 100},
        "Acrobot-v1": {"total_timesteps": 300},
        "Pendulum-v1": {"total_timesteps": 400, "n_envs": 2},
    }
    specs = runner.to_do(tiny(environments=environments, seeds=1).runs(), Store(tmp_path))
    assert [s.environment for s in specs] == ["Acrobot-v1", "Pendulum-v1", "CartPole-v1"]


def test_select():
    specs = tiny(algorithms={"A": {"class": "A2C"}, "B": {"class": "A2C"}}, seeds=3).runs()
    chosen = runner.select(specs, ["algorithm=A", "seed=0", "seed=2"])
    assert [(s.algorithm, s.seed) for s in chosen] == [("A", 0), ("A", 2)]
    assert runner.select(specs, []) == specs
    with pytest.raises(UserError, match="allowed: A, B"):
        runner.select(specs, ["algorithm=C"])
    with pytest.raises(UserError, match="did you mean 'seed'"):
        runner.select(specs, ["sed=0"])


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
    runner.write_manifest(tiny(), tmp_path, "sb3-course run a.yaml", 2, 0.0)
    manifest = runner.write_manifest(tiny(), tmp_path, "sb3-course run a.yaml", 1, 0.0)
    assert manifest["commands"] == ["sb3-course run a.yaml"]
    assert manifest["grid"]["algorithms"]["A2C"]["class"] == "A2C"
    assert manifest["versions"]["stable-baselines3"]
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest
