"""Whatever is in the place of a log: a line for the user, and no other error."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sb3_course.benchmark.logs.reading import read_logs
from sb3_course.common.errors import UserError
from tests.benchmark.logs.made_up_logs import ARGUMENTS, evaluations
from tests.benchmark.logs.test_scalars import board

MONITOR = '#{"t_start": 1.5, "env_id": "A-v1"}\nr,l,t\n1.0,5,0.5\n2.0,6,0.9\n3.5,7,1.25\n'
PROGRESS = (
    "rollout/ep_rew_mean,time/total_timesteps,time/time_elapsed,eval/mean_reward\n"
    "1.5,100,1,\n,200,,7\n2.5,200,3,\n"
)
TIDY = "algorithm,environment,seed,step,return\nA,E,0,10,1.5\nA,E,0,20,2.5\n'=B,E,1,10,3\n"


def archive():
    buffer = io.BytesIO()
    np.savez(buffer, timesteps=[10, 20], results=[[1.0], [2.0]], ep_lengths=[[3], [4]])
    return buffer.getvalue()


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """Bytes that were changed in one way or another."""
    way = draw(st.sampled_from(["flip", "cut", "insert", "repeat", "bytes"]))
    at = draw(st.integers(0, len(content) - 1))
    if way == "flip":
        for _ in range(draw(st.integers(1, 6))):
            at = draw(st.integers(0, len(content) - 1))
            content = content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
        return content
    if way == "cut":
        return content[:at]
    if way == "insert":
        numbers = st.sampled_from([b"nan", b"-1", b"1e999", b"9" * 400, b"\0", b'"', b",", b"\r"])
        return content[:at] + draw(numbers | st.binary(max_size=20)) + content[at:]
    if way == "repeat":
        return content[:at] * 2 + content[at:]
    return draw(st.binary(max_size=300))


def check(source):
    """Read, and check that what is read are finite returns at ascending steps."""
    try:
        logs = read_logs(source)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert all("\n" not in line for line in logs.problems)
    for run in logs.runs:
        assert run.points["step"].is_monotonic_increasing
        assert all(map(math.isfinite, run.points["return_mean"]))


FILES = {
    "evaluations.npz": archive(),
    "0.monitor.csv": MONITOR.encode(),
    "progress.csv": PROGRESS.encode(),
}


@given(data=st.data(), name=st.sampled_from(list(FILES)))
def test_a_file_of_a_run(tmp_path_factory, name, data):
    run = tmp_path_factory.mktemp("logs") / "ppo" / "A-v1_1"
    run.mkdir(parents=True)
    (run / name).write_bytes(data.draw(damaged(FILES[name])))
    check(run.parents[1])


@given(content=damaged(TIDY.encode()))
def test_a_table(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("logs") / "returns.csv"
    path.write_bytes(content)
    check(path)


GIVEN = {"algo": "ppo", "env": "A-v1", "seed": 3, "env_kwargs": "{g: 1}", "trained_agent": ""}


@given(content=damaged(ARGUMENTS.format(**GIVEN).encode()))
def test_arguments(tmp_path_factory, content):
    run = tmp_path_factory.mktemp("logs") / "ppo" / "A-v1_1"
    evaluations(run)
    (run / "A-v1").mkdir()
    (run / "A-v1" / "args.yml").write_bytes(content)
    check(run.parents[1])


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    (path,) = board(tmp_path_factory.mktemp("events"), [(10, 1.0), (20, 2.0), (30, 3.0)])
    return path.read_bytes()


@given(data=st.data())
def test_an_event_file(tmp_path_factory, events, data):
    run = tmp_path_factory.mktemp("logs") / "ppo" / "A-v1_1"
    run.mkdir(parents=True)
    (run / "events.out.tfevents.1").write_bytes(data.draw(damaged(events)))
    check(run.parents[1])
