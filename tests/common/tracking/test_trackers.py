"""Every installed tracker for real, offline: what a run has written is read back."""

import json
import os
import sqlite3
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sb3_course.common.tracking.tracker import TRACKERS, TrackedRun, Tracking

ROOT = Path(__file__).resolve().parents[3]
INSTALLED = [name for name in TRACKERS if find_spec(name) is not None]
GRID = """
name: tiny
seeds: 1
evaluation: { n_points: 2, episodes: 2 }
environments: { CartPole-v1: { total_timesteps: 200, backend: dummy } }
algorithms: { NPG: { class: NPG, params: { n_steps: 50, gamma: 0.9 } } }
"""
RUN = "from sb3_course.benchmark import run_grid; run_grid('tiny.yaml', report=False, track={})"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder in which a grid of one run was run with all trackers that are installed."""
    folder = tmp_path_factory.mktemp("tracked")
    (folder / "tiny.yaml").write_text(GRID)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "MLFLOW", "TRACKIO"))}
    away = {"PYTHONPATH": str(ROOT), "TRACKIO_DIR": str(folder / "trackio"), "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(INSTALLED)],
        cwd=folder,
        env={**kept, **away},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def returns(folder):
    """Mean return of each evaluation by step, as the grid has stored them."""
    (file,) = folder.glob("results/tiny/runs/*.json")
    measured = json.loads(file.read_text())["measurements"]
    return {m["num_timesteps"]: sum(m["returns"]) / len(m["returns"]) for m in measured}


def needs(name):
    return pytest.mark.skipif(name not in INSTALLED, reason=f"the extra {name} is not installed")


@needs("tensorboard")
def test_tensorboard(folder, returns):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (run,) = (folder / "runs" / "tiny").iterdir()
    events = EventAccumulator(str(run)).Reload()
    found = {event.step: event.value for event in events.Scalars("eval/mean_reward")}
    assert found == pytest.approx(returns)
    assert len(events.Scalars("rollout/ep_rew_mean")) == 4
    config = json.loads((run / "config.json").read_text())
    assert config["config"]["params"] == {"n_steps": 50, "gamma": 0.9}
    assert config["tags"] == ["NPG", "CartPole-v1"]


def wandb_records(path):
    """Records of an offline run: LevelDB's log, blocks of 32 KiB of parts with headers."""
    from wandb.proto import wandb_internal_pb2

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32_768 - at % 32_768
        _, size, kind = struct.unpack("<IHB", data[at : at + 7]) if left >= 7 else (0, 0, 0)
        if kind == 0:
            at += left
            continue
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record.WhichOneof("record_type"), record


def items(entries):
    return {e.key or ".".join(e.nested_key): json.loads(e.value_json) for e in entries}


@needs("wandb")
def test_wandb_without_a_login_is_offline(folder, returns):
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    records = list(wandb_records(file))
    (run,) = (record.run for kind, record in records if kind == "run")
    assert run.project == "tiny" and run.run_id.startswith("npg_cartpole-v1_seed0_")
    assert run.display_name == "NPG · CartPole-v1 · seed 0"
    assert run.run_group == "NPG · CartPole-v1" and list(run.tags) == ["NPG", "CartPole-v1"]
    config = items(run.config.update)
    assert config["config"]["params"] == {"n_steps": 50, "gamma": 0.9}
    assert config["code"]["stable-baselines3"] and "git_commit" in config["code"]
    rows = [items(record.history.item) for kind, record in records if kind == "history"]
    found = {r["global_step"]: r["eval/mean_reward"] for r in rows if "eval/mean_reward" in r}
    assert found == pytest.approx(returns)
    assert [record.exit.exit_code for kind, record in records if kind == "exit"] == [0]


@needs("mlflow")
def test_mlflow_keeps_files(folder, returns):
    (file,) = folder.glob("mlruns/*/*/metrics/eval/mean_reward")
    rows = [line.split() for line in file.read_text().splitlines()]
    assert {int(step): float(value) for _, value, step in rows} == pytest.approx(returns)
    run = file.parents[2]
    assert (run / "params" / "config.params.gamma").read_text() == "0.9"
    assert "git_commit" in (run / "params" / "code.git_commit").name
    tags = {path.name: path.read_text() for path in (run / "tags").iterdir()}
    assert tags["group"] == "NPG · CartPole-v1" and {"NPG", "CartPole-v1"} <= tags.keys()
    assert "status: 3" in (run / "meta.yaml").read_text()  # finished


@needs("mlflow")
@pytest.mark.parametrize(
    ("given", "taken"),
    [("custom/win rate (%)", "custom/win rate ___"), ("a:b", "a_b"), ("eval/mean_reward",) * 2],
)
def test_a_name_that_mlflow_does_not_take_is_changed(given, taken):
    from mlflow.utils.validation import _validate_metric_name

    from sb3_course.common.tracking.mlflow import _named

    assert _named(given) == taken
    _validate_metric_name(taken)


@needs("mlflow")
def test_mlflow_takes_every_name_of_an_algorithm(tmp_path, monkeypatch):
    from sb3_course.common.tracking.mlflow import open_run

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    names = ("REINFORCE (value baseline)", "Ant, with contacts")
    run = TrackedRun("one", "name", "group", {}, names, continued=False)
    open_run(Tracking(("mlflow",), "project", tmp_path, False), run).finish(True)
    tags = {path.name for path in tmp_path.glob("mlruns/*/*/tags/*")}
    assert {"REINFORCE _value baseline_", "Ant_ with contacts"} <= tags


@needs("trackio")
def test_trackio_is_local(folder, returns):
    with sqlite3.connect(folder / "trackio" / "tiny.db") as database:
        query = "select step, cast(metrics as text) from metrics order by id"
        rows = [(step, json.loads(text)) for step, text in database.execute(query)]
        (config,) = database.execute("select cast(config as text) from configs").fetchone()
    found = {step: row["eval/mean_reward"] for step, row in rows if "eval/mean_reward" in row}
    assert found == pytest.approx(returns)
    assert json.loads(config)["config"]["params"] == {"n_steps": 50, "gamma": 0.9}
